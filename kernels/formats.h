/*
 * formats.h: what a block format must bring, and the table of them. Private to kernels/.
 *
 * A row group is 8 rows × cols, packed by the format: its bytes are a permutation of the bits of the 8 rows' blocks, so
 * packing can be undone. Formats of 32 (or 256) elements a block are packed block column by block column; float formats as
 * [cols][8 rows], which is already the panel that the float tiles read.
 */
#ifndef NOOK_KERNELS_FORMATS_H
#define NOOK_KERNELS_FORMATS_H

#include <string.h>

#include "kernels/kernels.h"

enum {
#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales) NK_FORMAT_##name,
#include "kernels/formats.def"
#undef NK_FORMAT
  NK_FORMAT_COUNT
};

#define NK_EXPONENT_HALF 0x7C00u
#define NK_EXPONENT_BRAIN 0x7F80u

struct nk_format {
  const char *name;
  uint32_t index; /* NK_FORMAT_<name> */
  uint32_t type, block, block_bytes;
  bool is_float;
  uint32_t exponent_mask;        /* of a scale: all ones there means Inf or NaN */
  uint32_t scale_at, n_scales;   /* 16-bit floating-point fields of a block: offset of the first, count */
  /* Packs n_rows (1..8) rows, `row_bytes` apart, into one row group; missing rows become zero bits. */
  void (*pack)(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols);
  /* Row `lane` (0..7) of a row group as the file had it. */
  void (*unpack)(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols);
  /* out[i] = W[lane, k0 + i] for i < n_k; k0 is a multiple of 32. This is the specification of dequantization. */
  void (*gather)(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k);
};

#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales)                           \
  void nk_##symbol##_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols); \
  void nk_##symbol##_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols);                    \
  void nk_##symbol##_gather(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k);
#include "kernels/formats.def"
#undef NK_FORMAT

/* Little-endian fields at any address. */
static inline uint16_t nk_get16(const uint8_t *p) { return (uint16_t)(p[0] | (uint32_t)p[1] << 8); }
static inline void nk_put16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)(v & 0xFFu);
  p[1] = (uint8_t)(v >> 8);
}
static inline float nk_get_f32(const uint8_t *p) {
  float v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void nk_put_f32(uint8_t *p, float v) { memcpy(p, &v, sizeof v); }
static inline float nk_float_of_bits(uint32_t bits) {
  float v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

/* Every finite f16 exactly: sign, exponent and fraction move to their places in a float, whose exponent is then 112 too
   low; the multiplication mends it, and normalizes subnormals. (Inf and NaN come out as large numbers: packing refuses
   them.) */
static inline float nk_half_to_f32(uint16_t h) {
  uint32_t sign_extended = (uint32_t)h | ((h & 0x8000u) != 0 ? 0xFFFF0000u : 0u);
  return nk_float_of_bits((sign_extended << 13) & 0x8FFFE000u) * 0x1p112f;
}

/* The nearest f16, ties to even. What would round beyond 65504 is clamped there, infinity too; NaN stays NaN. */
static inline uint16_t nk_half_from_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return (uint16_t)(sign | 0x7e00u); /* NaN */
  if (bits >= 0x477ff000u) return (uint16_t)(sign | 0x7bffu); /* would round beyond 65504: clamped */
  if (bits < 0x38800000u) { /* below 2^-14: subnormal half, unit 2^-24; adding 0.5 puts that unit at the last bit */
    float magnitude, sum;
    memcpy(&magnitude, &bits, sizeof magnitude);
    sum = magnitude + 0.5f;
    uint32_t rounded;
    memcpy(&rounded, &sum, sizeof rounded);
    return (uint16_t)(sign | (rounded - 0x3f000000u));
  }
  uint32_t odd = bits >> 13 & 1u;
  return (uint16_t)(sign | ((bits + 0xfffu + odd - 0x38000000u) >> 13));
}

#endif
