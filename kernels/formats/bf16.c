/* bf16.c: BF16. Packed as [cols][8 rows] of 16 bits; the upper half of a float32. */
#include "kernels/scalar/scalar.h"

void nk_bf16_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols) {
  memset(group, 0, row_bytes * NK_GROUP_ROWS);
  for (uint32_t k = 0; k < cols; k++)
    for (uint32_t r = 0; r < n_rows; r++)
      memcpy(group + ((size_t)k * NK_GROUP_ROWS + r) * 2, rows + r * row_bytes + (size_t)2 * k, 2);
}

void nk_bf16_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols) {
  for (uint32_t k = 0; k < cols; k++) memcpy(row + (size_t)2 * k, group + ((size_t)k * NK_GROUP_ROWS + lane) * 2, 2);
}

void nk_bf16_gather(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k) {
  for (uint32_t k = 0; k < n_k; k++) {
    uint16_t bits = nk_get16(group + ((size_t)(k0 + k) * NK_GROUP_ROWS + lane) * 2);
    out[k] = nk_float_of_bits((uint32_t)bits << 16);
  }
}

NK_SCALAR_FLOAT(bf16)
