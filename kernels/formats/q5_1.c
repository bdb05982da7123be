/*
 * q5_1.c: Q5_1. File block of 32: f16 d, f16 m, 4 bytes of fifth bits, 16 bytes of nibbles (fives.h); w = d q + m.
 * Packed, 8 rows × 32: 160 bytes of levels, f16 d [8], f16 m [8] = 192 bytes.
 */
#include "kernels/formats/fives.h"
#include "kernels/scalar/scalar.h"

enum { BLOCK = 24, PACKED = 192, SCALES = NK_FIVES_BYTES, MINIMA = SCALES + 16 };

void nk_q5_1_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols) {
  memset(group, 0, row_bytes * NK_GROUP_ROWS);
  for (uint32_t b = 0; b < cols / 32; b++, group += PACKED) {
    for (uint32_t r = 0; r < n_rows; r++) {
      const uint8_t *block = rows + r * row_bytes + (size_t)b * BLOCK;
      nk_fives_pack(group, block + 4, r);
      memcpy(group + SCALES + 2 * r, block, 2);
      memcpy(group + MINIMA + 2 * r, block + 2, 2);
    }
  }
}

void nk_q5_1_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols) {
  for (uint32_t b = 0; b < cols / 32; b++, row += BLOCK, group += PACKED) {
    memcpy(row, group + SCALES + 2 * lane, 2);
    memcpy(row + 2, group + MINIMA + 2 * lane, 2);
    nk_fives_unpack(row + 4, group, lane);
  }
}

static void levels(int32_t *q, float *scale, float *minimum, const uint8_t *group, uint32_t lane, uint32_t block) {
  const uint8_t *packed = group + (size_t)block * PACKED;
  nk_fives_levels(q, packed, lane);
  *scale = nk_half_to_f32(nk_get16(packed + SCALES + 2 * lane));
  *minimum = nk_half_to_f32(nk_get16(packed + MINIMA + 2 * lane));
}

NK_SCALAR_LEVELS(q5_1, levels, true)
