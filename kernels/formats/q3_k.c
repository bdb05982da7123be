/*
 * q3_k.c: Q3_K. File block of 256: 32 bytes of third bits, 64 bytes of low bit pairs, 12 bytes of sixteen 6-bit scales s,
 * f16 d; w = d (s - 32) (q - 4), with one s for 16 elements. Bit b of third byte i belongs to element 32b + i; in each half
 * of 128 elements, byte i < 32 of pairs holds i, i + 32, i + 64 and i + 96. Scale j has its low nibble in byte j % 8 (low
 * for j < 8), its two top bits in byte 8 + j % 4 at bit 2 (j / 4).
 * Packed (super.h): d, the 12 bytes, and for each 32 elements three vectors of rows 0..3 and three of rows 4..7, in which
 * two steps make one of 6 bits: 880 bytes.
 */
#include "kernels/formats/super.h"

static const nk_super shape = NK_SHAPE_Q3_K;
enum { PAIRS = 32 };

static void read(uint32_t *steps, const uint8_t *block) {
  NK_NO_UNROLL
  for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++) {
    NK_NO_UNROLL
    for (uint32_t i = 0; i < NK_STEPS; i++) {
      uint32_t low = nk_word(block + PAIRS + 32 * (b / 4) + 4 * i) >> 2 * (b % 4), third = nk_word(block + 4 * i) >> b;
      steps[NK_STEPS * b + i] = (low & NK_BYTES_OF(3u)) | (third & NK_BYTES_OF(1u)) << 2;
    }
  }
}

static void write(uint8_t *block, const uint32_t *steps) {
  NK_NO_UNROLL
  for (uint32_t i = 0; i < NK_STEPS; i++) {
    uint32_t low[2] = {0, 0}, thirds = 0;
    NK_NO_UNROLL
    for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++) {
      low[b / 4] |= (steps[NK_STEPS * b + i] & NK_BYTES_OF(3u)) << 2 * (b % 4);
      thirds |= (steps[NK_STEPS * b + i] >> 2 & NK_BYTES_OF(1u)) << b;
    }
    nk_put_word(block + 4 * i, thirds);
    NK_NO_UNROLL
    for (uint32_t n = 0; n < 2; n++) nk_put_word(block + PAIRS + 32 * n + 4 * i, low[n]);
  }
}

static void put(uint8_t *packed, uint32_t lane, const uint32_t *steps) {
  uint32_t six[4];
  for (uint32_t i = 0; i < 4; i++) six[i] = steps[2 * i] | steps[2 * i + 1] << 3;
  nk_put_sixes(packed + 48 * (lane / 4) + 4 * (lane % 4), six);
}

static void get(uint32_t *steps, const uint8_t *packed, uint32_t lane) {
  uint32_t six[4];
  nk_get_sixes(six, packed + 48 * (lane / 4) + 4 * (lane % 4));
  for (uint32_t i = 0; i < 4; i++) {
    steps[2 * i] = six[i] & NK_BYTES_OF(7u);
    steps[2 * i + 1] = six[i] >> 3 & NK_BYTES_OF(7u);
  }
}

static int32_t scale(const uint8_t *scales, uint32_t sub, uint32_t lane) {
  int32_t low = scales[8 * (sub % 8) + lane] >> 4 * (sub / 8) & 15;
  int32_t high = scales[64 + 8 * (sub % 4) + lane] >> 2 * (sub / 4) & 3;
  return (low | high << 4) - 32;
}

NK_SUPER_FORMAT(q3_k, shape, read, write, put, get, get, scale, NULL)
NK_SUPER_PRODUCT(q3_k, shape, get, scale, NULL)
