/*
 * q4_k.c: Q4_K. File block of 256: f16 d, f16 dmin, 12 bytes with eight 6-bit scales s and eight 6-bit minima m, 128 bytes
 * of levels; w = d s q - dmin m, with one s and m for 32 elements. Byte i of the c-th 32 bytes of levels holds elements
 * 64c + i and 64c + 32 + i.
 * Packed (super.h): d, dmin, the 12 bytes, and for each 32 elements their nibbles: 1152 bytes.
 */
#include "kernels/formats/k_scales.h"
#include "kernels/formats/super.h"

static const nk_super shape = NK_SHAPE_Q4_K;
enum { LEVELS = 16 }; /* in the file's block */

static void read(uint32_t *steps, const uint8_t *block) {
  NK_NO_UNROLL
  for (uint32_t c = 0; c < 4; c++) {
    NK_NO_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
      uint32_t v = nk_word(block + LEVELS + 32 * c + 4 * i);
      steps[16 * c + i] = v & NK_BYTES_OF(15u);
      steps[16 * c + 8 + i] = v >> 4 & NK_BYTES_OF(15u);
    }
  }
}

static void write(uint8_t *block, const uint32_t *steps) {
  NK_NO_UNROLL
  for (uint32_t c = 0; c < 4; c++)
    NK_NO_UNROLL
    for (uint32_t i = 0; i < 8; i++)
      nk_put_word(block + LEVELS + 32 * c + 4 * i, steps[16 * c + i] | steps[16 * c + 8 + i] << 4);
}

NK_SUPER_FORMAT(q4_k, shape, read, write, nk_put_nibbles, nk_get_nibbles, nk_get_nibbles, nk_k_scale, nk_k_minimum)
NK_SUPER_PRODUCT(q4_k, shape, nk_get_nibbles, nk_k_scale, nk_k_minimum)
