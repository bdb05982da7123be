/*
 * q5_0.c: Q5_0. File block of 32: f16 d, 4 bytes of fifth bits, 16 bytes of nibbles (fives.h); w = d (q - 16).
 * Packed, 8 rows × 32: 160 bytes of levels, f16 d [8] = 176 bytes.
 *
 * The product treats it as Q5_1 with minimum -16 d, which is exact in float32. Dequantization multiplies (q - 16) by d.
 */
#include "kernels/formats/fives.h"
#include "kernels/scalar/scalar.h"

enum { BLOCK = 22, PACKED = 176, SCALES = NK_FIVES_BYTES };

void nk_q5_0_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols) {
  memset(group, 0, row_bytes * NK_GROUP_ROWS);
  for (uint32_t b = 0; b < cols / 32; b++, group += PACKED) {
    for (uint32_t r = 0; r < n_rows; r++) {
      const uint8_t *block = rows + r * row_bytes + (size_t)b * BLOCK;
      nk_fives_pack(group, block + 2, r);
      memcpy(group + SCALES + 2 * r, block, 2);
    }
  }
}

void nk_q5_0_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols) {
  for (uint32_t b = 0; b < cols / 32; b++, row += BLOCK, group += PACKED) {
    memcpy(row, group + SCALES + 2 * lane, 2);
    nk_fives_unpack(row + 2, group, lane);
  }
}

/* For the product: w = d q - 16 d. */
static void levels(int32_t *q, float *scale, float *minimum, const uint8_t *group, uint32_t lane, uint32_t block) {
  const uint8_t *packed = group + (size_t)block * PACKED;
  nk_fives_levels(q, packed, lane);
  *scale = nk_half_to_f32(nk_get16(packed + SCALES + 2 * lane));
  *minimum = *scale * -16.0f;
}

/* For dequantization: w = d (q - 16). */
static void centred(int32_t *q, float *scale, float *minimum, const uint8_t *group, uint32_t lane, uint32_t block) {
  levels(q, scale, minimum, group, lane, block);
  for (uint32_t k = 0; k < 32; k++) q[k] -= 16;
  *minimum = 0.0f;
}

NK_SCALAR_GATHER(q5_0, centred, false)
NK_SCALAR_PRODUCT(q5_0, levels, true)
