/*
 * q4_0.c: Q4_0. File block of 32: f16 d, 16 bytes of levels (nibbles.h); w = d (q - 8).
 * Packed, 8 rows × 32: 128 bytes of nibbles, f16 d [8] = 144 bytes.
 *
 * The product treats it as Q4_1 with minimum -8 d, which is exact in float32. Dequantization multiplies (q - 8) by d, one
 * exact product that also keeps the sign of a zero.
 */
#include "kernels/formats/nibbles.h"
#include "kernels/scalar/scalar.h"

enum { BLOCK = 18, PACKED = 144, SCALES = NK_NIBBLES_BYTES };

void nk_q4_0_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols) {
  memset(group, 0, row_bytes * NK_GROUP_ROWS);
  for (uint32_t b = 0; b < cols / 32; b++, group += PACKED) {
    for (uint32_t r = 0; r < n_rows; r++) {
      const uint8_t *block = rows + r * row_bytes + (size_t)b * BLOCK;
      nk_nibbles_pack(group, block + 2, r);
      memcpy(group + SCALES + 2 * r, block, 2);
    }
  }
}

void nk_q4_0_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols) {
  for (uint32_t b = 0; b < cols / 32; b++, row += BLOCK, group += PACKED) {
    memcpy(row, group + SCALES + 2 * lane, 2);
    nk_nibbles_unpack(row + 2, group, lane);
  }
}

/* For dequantization: w = d (q - 8). */
static void centred(int32_t *q, float *scale, float *minimum, const uint8_t *group, uint32_t lane, uint32_t block) {
  const uint8_t *packed = group + (size_t)block * PACKED;
  for (uint32_t k = 0; k < 32; k++) q[k] = (int32_t)nk_nibble_get(packed, lane, k) - 8;
  *scale = nk_half_to_f32(nk_get16(packed + SCALES + 2 * lane));
  *minimum = 0.0f;
}

/* For the product: w = d q - 8 d. */
static void levels(int32_t *q, float *scale, float *minimum, const uint8_t *group, uint32_t lane, uint32_t block) {
  centred(q, scale, minimum, group, lane, block);
  for (uint32_t k = 0; k < 32; k++) q[k] += 8;
  *minimum = *scale * -8.0f;
}

NK_SCALAR_GATHER(q4_0, centred, false)
NK_SCALAR_PRODUCT(q4_0, levels, true)
