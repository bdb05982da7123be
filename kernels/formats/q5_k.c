/*
 * q5_k.c: Q5_K. File block of 256: f16 d, f16 dmin, 12 bytes of scales and minima as Q4_K's, 32 bytes of fifth bits, 128
 * bytes of low nibbles as Q4_K's; w = d s q - dmin m. Bit b of fifth byte i belongs to element 32b + i.
 * Packed (super.h): d, dmin, the 12 bytes, and for each 32 elements their nibbles and two vectors (rows 0..3, 4..7) of
 * fifth bits, bit i of a byte for step i: 1408 bytes.
 */
#include "kernels/formats/k_scales.h"
#include "kernels/formats/super.h"

static const nk_super shape = NK_SHAPE_Q5_K;
enum { FIFTHS = 16, LEVELS = 48, PACKED_FIFTHS = 128 };

static void read(uint32_t *steps, const uint8_t *block) {
  NK_NO_UNROLL
  for (uint32_t c = 0; c < 4; c++) {
    NK_NO_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
      uint32_t v = nk_word(block + LEVELS + 32 * c + 4 * i), fifth = nk_word(block + FIFTHS + 4 * i) >> 2 * c;
      steps[16 * c + i] = (v & NK_BYTES_OF(15u)) | (fifth & NK_BYTES_OF(1u)) << 4;
      steps[16 * c + 8 + i] = (v >> 4 & NK_BYTES_OF(15u)) | (fifth >> 1 & NK_BYTES_OF(1u)) << 4;
    }
  }
}

static void write(uint8_t *block, const uint32_t *steps) {
  NK_NO_UNROLL
  for (uint32_t i = 0; i < 8; i++) {
    uint32_t fifths = 0;
    NK_NO_UNROLL
    for (uint32_t c = 0; c < 4; c++) {
      uint32_t low = steps[16 * c + i], high = steps[16 * c + 8 + i];
      nk_put_word(block + LEVELS + 32 * c + 4 * i, (low & NK_BYTES_OF(15u)) | (high & NK_BYTES_OF(15u)) << 4);
      fifths |= ((low >> 4 & NK_BYTES_OF(1u)) | (high >> 4 & NK_BYTES_OF(1u)) << 1) << 2 * c;
    }
    nk_put_word(block + FIFTHS + 4 * i, fifths);
  }
}

static void put(uint8_t *packed, uint32_t lane, const uint32_t *steps) {
  uint32_t fifths = 0;
  nk_put_nibbles(packed, lane, steps);
  for (uint32_t i = 0; i < NK_STEPS; i++) fifths |= (steps[i] >> 4 & NK_BYTES_OF(1u)) << i;
  nk_put_word(packed + PACKED_FIFTHS + 4 * lane, fifths);
}

static void get(uint32_t *steps, const uint8_t *packed, uint32_t lane) {
  uint32_t fifths = nk_word(packed + PACKED_FIFTHS + 4 * lane);
  nk_get_nibbles(steps, packed, lane);
  for (uint32_t i = 0; i < NK_STEPS; i++) steps[i] |= (fifths >> i & NK_BYTES_OF(1u)) << 4;
}

NK_SUPER_FORMAT(q5_k, shape, read, write, put, get, get, nk_k_scale, nk_k_minimum)
NK_SUPER_PRODUCT(q5_k, shape, get, nk_k_scale, nk_k_minimum)
