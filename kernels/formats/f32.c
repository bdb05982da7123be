/* f32.c: F32. Packed as [cols][8 rows] float32, little-endian: the panel of the float tiles as it is. */
#include "kernels/scalar/scalar.h"

void nk_f32_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols) {
  memset(group, 0, row_bytes * NK_GROUP_ROWS);
  for (uint32_t k = 0; k < cols; k++)
    for (uint32_t r = 0; r < n_rows; r++)
      memcpy(group + ((size_t)k * NK_GROUP_ROWS + r) * 4, rows + r * row_bytes + (size_t)4 * k, 4);
}

void nk_f32_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols) {
  for (uint32_t k = 0; k < cols; k++) memcpy(row + (size_t)4 * k, group + ((size_t)k * NK_GROUP_ROWS + lane) * 4, 4);
}

void nk_f32_gather(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k) {
  for (uint32_t k = 0; k < n_k; k++) out[k] = nk_get_f32(group + ((size_t)(k0 + k) * NK_GROUP_ROWS + lane) * 4);
}

NK_SCALAR_FLOAT(f32)
