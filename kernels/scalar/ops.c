/*
 * scalar/ops.c: the specification of the format-independent kernels: quantization of activations and the float tiles.
 * Plain loops, one rounding an operation (-ffp-contract=off), sums over k or r strictly ascending.
 */
#include "kernels/act.h"
#include "kernels/ops.h"

static float tamed(float x) {
  if (x != x) return 0.0f;
  if (x > NK_ACT_HUGE) return NK_ACT_HUGE;
  return x < -NK_ACT_HUGE ? -NK_ACT_HUGE : x;
}

static void quantize(uint8_t *act, uint32_t slot, uint32_t slots, const float *x, uint32_t n_blocks) {
  for (uint32_t b = 0; b < n_blocks; b++, x += NK_ACT_BLOCK, act += nk_act_block_bytes(1, slots)) {
    int8_t *q = (int8_t *)act + slot * NK_ACT_BLOCK;
    uint8_t *scales = act + slots * NK_ACT_BLOCK;
    float largest = 0.0f, scale = 0.0f, inverse = 0.0f;
    int32_t sums[2] = {0, 0};
    for (uint32_t i = 0; i < NK_ACT_BLOCK; i++) {
      float v = tamed(x[i]), size = v < 0.0f ? -v : v;
      if (size > largest) largest = size;
    }
    if (largest >= NK_ACT_TINY) {
      scale = largest / 127.0f;
      inverse = 1.0f / scale;
    }
    for (uint32_t i = 0; i < NK_ACT_BLOCK; i++) {
      float scaled = tamed(x[i]) * inverse, rounded = scaled + NK_ROUND_MAGIC;
      q[i] = (int8_t)(int32_t)(rounded - NK_ROUND_MAGIC);
      sums[i / (NK_ACT_BLOCK / 2)] += q[i];
    }
    nk_put_f32(scales + 4 * slot, scale);
    nk_put_f32(scales + 4 * (slots + slot), scale * (float)(sums[0] + sums[1]));
    for (uint32_t i = 0; i < 2; i++) nk_put16(scales + 4 * (2 * slots + slot) + 2 * i, (uint16_t)(sums[i] & 0xFFFF));
  }
}

static void dequantize(float *x, const uint8_t *act, uint32_t slot, uint32_t slots, uint32_t n_blocks) {
  for (uint32_t b = 0; b < n_blocks; b++, x += NK_ACT_BLOCK, act += nk_act_block_bytes(1, slots)) {
    const int8_t *q = (const int8_t *)act + slot * NK_ACT_BLOCK;
    float scale = nk_get_f32(act + slots * NK_ACT_BLOCK + 4 * slot);
    for (uint32_t i = 0; i < NK_ACT_BLOCK; i++) x[i] = scale * (float)q[i];
  }
}

static void tile_one(float *y, const float *panel, const float *x, uint32_t n_k, bool first) {
  for (uint32_t r = 0; r < NK_GROUP_ROWS; r++) {
    float sum = first ? 0.0f : y[r];
    for (uint32_t k = 0; k < n_k; k++) {
      float product = x[k] * panel[(size_t)k * NK_GROUP_ROWS + r];
      sum = sum + product;
    }
    y[r] = sum;
  }
}

static void tile(float *y, size_t ldy, const float *panel, const float *x, size_t ldx, uint32_t n_k, bool first) {
  for (uint32_t t = 0; t < NK_QUAD; t++) tile_one(y + t * ldy, panel, x + t * ldx, n_k, first);
}

static void tile_band(float *y, const float *panel, size_t panel_stride, const float *x, uint32_t n_k, bool first) {
  for (uint32_t i = 0; i < NK_BAND; i++) tile_one(y + i * NK_GROUP_ROWS, panel + i * panel_stride, x, n_k, first);
}

static void transpose(float *to, const float *from, size_t ld, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t t = 0; t < NK_QUAD; t++) to[i * NK_QUAD + t] = from[t * ld + i];
}

/* dx[k] += Σ_r dy[r · step] panel[r][k], k < n_k */
static void add_rows(float *dx, const float *panel, const float *dy, uint32_t step, uint32_t n_r, uint32_t n_k) {
  for (uint32_t k = 0; k < n_k; k++) {
    float sum = dx[k];
    for (uint32_t r = 0; r < n_r; r++) {
      float product = dy[(size_t)r * step] * *NK_PANEL_T_AT(panel, r, k);
      sum = sum + product;
    }
    dx[k] = sum;
  }
}

static void tile_t_one(float *dx, const float *panel, const float *dy, uint32_t n_r) {
  add_rows(dx, panel, dy, 1, n_r, NK_PANEL_T_K);
}

static void tile_t(float *dx, size_t lddx, const float *panel, const float *dy, uint32_t n_r) {
  for (uint32_t t = 0; t < NK_QUAD; t++) add_rows(dx + t * lddx, panel, dy + t, NK_QUAD, n_r, NK_TILE_T_K);
}

const nk_ops nk_scalar_ops = {
    .isa = NK_ISA_SCALAR,
    .act_value_bytes = 1,
    .quantize = quantize,
    .dequantize = dequantize,
    .tile = tile,
    .tile_band = tile_band,
    .tile_one = tile_one,
    .transpose = transpose,
    .tile_t = tile_t,
    .tile_t_one = tile_t_one,
    .kernels =
        {
#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales) &nk_scalar_##symbol,
#include "kernels/formats.def"
#undef NK_FORMAT
        },
};
