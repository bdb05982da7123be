/*
 * iq4_nl.c: IQ4_NL. File block of 32: f16 d, 16 bytes of indices (nibbles.h); w = d value[index], the 16 values being those
 * of llama.cpp's format, -127 to 113, close together near zero.
 * Packed, 8 rows × 32: 128 bytes of nibbles, f16 d [8] = 144 bytes, as Q4_0.
 *
 * The product takes value + 127 (0..240) as its level and -127 d as its minimum: levels that aren't negative are what the
 * relaxed dot product needs (relaxed/iq4_nl.c).
 */
#include "kernels/formats/iq4_nl.h"
#include "kernels/formats/nibbles.h"
#include "kernels/scalar/scalar.h"

enum { BLOCK = 18, PACKED = 144, SCALES = NK_NIBBLES_BYTES };

const uint8_t nk_iq4_nl_levels[16] = {0, 23, 44, 62, 78, 92, 105, 117, 128, 140, 152, 165, 180, 196, 216, 240};

void nk_iq4_nl_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols) {
  memset(group, 0, row_bytes * NK_GROUP_ROWS);
  for (uint32_t b = 0; b < cols / 32; b++, group += PACKED) {
    for (uint32_t r = 0; r < n_rows; r++) {
      const uint8_t *block = rows + r * row_bytes + (size_t)b * BLOCK;
      nk_nibbles_pack(group, block + 2, r);
      memcpy(group + SCALES + 2 * r, block, 2);
    }
  }
}

void nk_iq4_nl_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols) {
  for (uint32_t b = 0; b < cols / 32; b++, row += BLOCK, group += PACKED) {
    memcpy(row, group + SCALES + 2 * lane, 2);
    nk_nibbles_unpack(row + 2, group, lane);
  }
}

/* For the product: w = d level - 127 d. */
static void levels(int32_t *q, float *scale, float *minimum, const uint8_t *group, uint32_t lane, uint32_t block) {
  const uint8_t *packed = group + (size_t)block * PACKED;
  for (uint32_t k = 0; k < 32; k++) q[k] = nk_iq4_nl_levels[nk_nibble_get(packed, lane, k)];
  *scale = nk_half_to_f32(nk_get16(packed + SCALES + 2 * lane));
  *minimum = *scale * -127.0f;
}

/* For dequantization: w = d value. */
static void values(int32_t *q, float *scale, float *minimum, const uint8_t *group, uint32_t lane, uint32_t block) {
  levels(q, scale, minimum, group, lane, block);
  for (uint32_t k = 0; k < 32; k++) q[k] -= 127;
  *minimum = 0.0f;
}

NK_SCALAR_GATHER(iq4_nl, values, false)
NK_SCALAR_PRODUCT(iq4_nl, levels, true)
