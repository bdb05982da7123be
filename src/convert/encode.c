/* encode.c: see encode.h. */
#include "convert/encode.h"

#include <math.h>
#include <string.h>

#include "kernels/formats.h"

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

float nk_from_half(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = half & 0x7FFFu;
  if (rest >= 0x7C00u) return float_of(sign | 0x7F800000u | (rest & 0x3FFu) << 13); /* infinity, NaN */
  /* The exponent is then 112 too small, which an exact multiplication by 2^112 makes good, subnormals included. */
  return float_of(sign | bits_of(float_of(rest << 13) * float_of(0x77800000u)));
}

void nk_decode(float *out, const uint8_t *in, nk_dtype type, size_t n, size_t stride) {
  if (type == NK_DTYPE_F32) {
    for (size_t i = 0; i < n; i++) {
      const uint8_t *at = in + 4 * stride * i;
      out[i] = float_of((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
    }
    return;
  }
  for (size_t i = 0; i < n; i++) {
    const uint8_t *at = in + 2 * stride * i;
    uint32_t bits = (uint32_t)at[0] | (uint32_t)at[1] << 8;
    out[i] = type == NK_DTYPE_BF16 ? float_of(bits << 16) : nk_from_half((uint16_t)bits);
  }
}

uint64_t nk_encoded_bytes(uint32_t type, uint64_t n) {
  return type == NK_TYPE_F32 ? 4 * n : type == NK_TYPE_F16 ? 2 * n : n / NK_Q8_0_BLOCK * (NK_Q8_0_BLOCK + 2);
}

static void put_half(uint8_t *out, float value) {
  uint16_t half = nk_half_from_f32(value);
  out[0] = (uint8_t)half;
  out[1] = (uint8_t)(half >> 8);
}

/* x · inverse is in [-127.5, 127.5]: halves away from zero. */
static uint8_t nearest(float x) {
  float magnitude = fabsf(x), whole = floorf(magnitude);
  whole += floorf(2.0f * (magnitude - whole));
  return (uint8_t)(int8_t)(x < 0.0f ? -whole : whole);
}

static void encode_q8_0(uint8_t *out, const float *in) {
  float most = 0.0f;
  for (unsigned i = 0; i < NK_Q8_0_BLOCK; i++) most = fabsf(in[i]) > most ? fabsf(in[i]) : most;
  float scale = most / 127.0f, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  if (!isfinite(inverse)) inverse = 0.0f; /* a scale below 2^-128 is 0 as a half anyway */
  put_half(out, scale);
  for (unsigned i = 0; i < NK_Q8_0_BLOCK; i++) out[2 + i] = nearest(in[i] * inverse);
}

bool nk_encode(uint8_t *out, const float *in, uint32_t type, size_t n, size_t *bad) {
  /* 65520 is half-way to the number that follows the largest half; Q8_0's scale is a half. */
  float limit = type == NK_TYPE_F32 ? INFINITY : type == NK_TYPE_F16 ? 65520.0f : 65504.0f * 127.0f;
  for (size_t i = 0; i < n; i++) {
    if (fabsf(in[i]) < limit) continue; /* NaN is not */
    *bad = i;
    return false;
  }
  for (size_t i = 0; i < n; i += type == NK_TYPE_Q8_0 ? NK_Q8_0_BLOCK : 1) {
    if (type == NK_TYPE_Q8_0) {
      encode_q8_0(out + i / NK_Q8_0_BLOCK * (NK_Q8_0_BLOCK + 2), in + i);
    } else if (type == NK_TYPE_F16) {
      put_half(out + 2 * i, in[i]);
    } else {
      uint32_t bits = bits_of(in[i]);
      for (unsigned b = 0; b < 4; b++) out[4 * i + b] = (uint8_t)(bits >> (8 * b));
    }
  }
  return true;
}
