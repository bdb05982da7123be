/*
 * k_scales.h: the 12 bytes of Q4_K and Q5_K that hold eight 6-bit scales and eight 6-bit minima. Private to kernels/.
 *
 * Bytes 0..3: scales 0..3 in the low six bits; bytes 4..7: minima 0..3 likewise. Bytes 8..11: low nibbles are the low four
 * bits of scales 4..7, high nibbles those of minima 4..7; their upper two bits are the top bits of bytes 0..3 and 4..7.
 */
#ifndef NOOK_KERNELS_K_SCALES_H
#define NOOK_KERNELS_K_SCALES_H

#include <stdint.h>

static inline int32_t nk_k_scale(const uint8_t *scales, uint32_t sub, uint32_t lane) {
  if (sub < 4) return scales[8 * sub + lane] & 63;
  return (scales[8 * (sub + 4) + lane] & 15) | (scales[8 * (sub - 4) + lane] >> 2 & 0x30);
}

static inline int32_t nk_k_minimum(const uint8_t *scales, uint32_t sub, uint32_t lane) {
  if (sub < 4) return scales[8 * (sub + 4) + lane] & 63;
  return scales[8 * (sub + 4) + lane] >> 4 | (scales[8 * sub + lane] >> 2 & 0x30);
}

#endif
