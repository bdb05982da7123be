/*
 * nibbles.h: the packed order of 4-bit levels, shared by the 4-bit formats. Private to kernels/.
 *
 * File: a row's 32 levels are 16 bytes, byte i = level i | level (i + 16) << 4.
 * Packed: 8 rows × 32 levels are 8 vectors of 16 bytes. Vector j (0..3) holds rows 0..3, vector 4 + j rows 4..7; in a
 * vector, bytes 4r .. 4r+3 belong to row r (of its four), low nibbles are k = 8j .. 8j+3, high nibbles k = 8j+4 .. 8j+7. So
 * one 32-bit splat of four int8 activations meets four rows at once, and the 16-bit lanes hold the pairs (8j, 8j+2), (8j+1,
 * 8j+3), ….
 */
#ifndef NOOK_KERNELS_NIBBLES_H
#define NOOK_KERNELS_NIBBLES_H

#include "kernels/formats.h"

#define NK_NIBBLES_BYTES 128u /* 8 rows × 32 levels */

/* The packed byte that holds level k (0..31) of row `lane`, and the shift to it. */
static inline uint32_t nk_nibble_byte(uint32_t lane, uint32_t k) {
  return 64u * (lane / 4u) + 16u * (k / 8u) + 4u * (lane % 4u) + k % 4u;
}
static inline uint32_t nk_nibble_shift(uint32_t k) { return k & 4u; }

static inline uint32_t nk_nibble_get(const uint8_t *packed, uint32_t lane, uint32_t k) {
  return (uint32_t)(packed[nk_nibble_byte(lane, k)] >> nk_nibble_shift(k)) & 15u;
}

/* One row's 16 file bytes to its place in packed, and back, as four words of four bytes (no carry crosses a byte). */
static inline void nk_nibbles_pack(uint8_t *packed, const uint8_t *file, uint32_t lane) {
  const uint32_t low = 0x0F0F0F0Fu;
  uint8_t *to = packed + 64u * (lane / 4u) + 4u * (lane % 4u);
  uint32_t f[4], p[4];
  memcpy(f, file, 16);
  p[0] = (f[0] & low) | (f[1] & low) << 4;
  p[1] = (f[2] & low) | (f[3] & low) << 4;
  p[2] = (f[0] >> 4 & low) | (f[1] & ~low);
  p[3] = (f[2] >> 4 & low) | (f[3] & ~low);
  for (uint32_t j = 0; j < 4; j++) memcpy(to + 16 * j, &p[j], 4);
}

static inline void nk_nibbles_unpack(uint8_t *file, const uint8_t *packed, uint32_t lane) {
  const uint32_t low = 0x0F0F0F0Fu;
  const uint8_t *from = packed + 64u * (lane / 4u) + 4u * (lane % 4u);
  uint32_t f[4], p[4];
  for (uint32_t j = 0; j < 4; j++) memcpy(&p[j], from + 16 * j, 4);
  f[0] = (p[0] & low) | (p[2] & low) << 4;
  f[1] = (p[0] >> 4 & low) | (p[2] & ~low);
  f[2] = (p[1] & low) | (p[3] & low) << 4;
  f[3] = (p[1] >> 4 & low) | (p[3] & ~low);
  memcpy(file, f, 16);
}

#endif
