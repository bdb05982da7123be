/* kv.c: see kv.h. */
#include "run/kv.h"

#include <math.h>
#include <string.h>

#include "model/config.h"

static size_t element_bytes(nk_kv_type type) { return type == NK_KV_F32 ? 4 : type == NK_KV_F16 ? 2 : 1; }

/* The first element of (layer, head) in an array of positions × head_dim elements a head. */
static size_t head_start(const nk_kv *kv, uint32_t layer, uint32_t head) {
  return ((size_t)layer * kv->n_heads + head) * kv->positions * kv->head_dim;
}

static size_t scale_start(const nk_kv *kv, uint32_t layer, uint32_t head) {
  return ((size_t)layer * kv->n_heads + head) * kv->positions;
}

void nk_kv_carve(nk_kv *kv, nk_arena *arena, nk_kv_type type, uint32_t n_layers, uint32_t n_heads, uint32_t head_dim,
                 uint32_t positions) {
  uint64_t rounded = ((uint64_t)positions + NK_KV_TILE - 1) / NK_KV_TILE * NK_KV_TILE;
  uint64_t slots = (uint64_t)n_layers * n_heads * rounded;
  *kv = (nk_kv){.type = type, .n_layers = n_layers, .n_heads = n_heads, .head_dim = head_dim,
                .positions = (uint32_t)rounded};
  kv->keys = nk_arena_take_raw(arena, slots, head_dim * element_bytes(type));
  kv->values = nk_arena_take_raw(arena, slots, head_dim * element_bytes(type));
  if (type == NK_KV_Q8) {
    kv->key_scales = nk_arena_take_raw(arena, slots, sizeof(float));
    kv->value_scales = nk_arena_take_raw(arena, slots, sizeof(float));
  }
}

void nk_kv_open(const nk_kv *kv, uint32_t first, uint32_t n) {
  uint32_t tile = (first + NK_KV_TILE - 1) / NK_KV_TILE, end = (first + n + NK_KV_TILE - 1) / NK_KV_TILE;
  if (tile >= end) return;
  size_t at = (size_t)tile * NK_KV_TILE, count = (size_t)(end - tile) * NK_KV_TILE;
  size_t bytes = kv->head_dim * element_bytes(kv->type);
  for (uint32_t layer = 0; layer < kv->n_layers; layer++) {
    for (uint32_t head = 0; head < kv->n_heads; head++) {
      size_t start = scale_start(kv, layer, head) + at;
      memset((uint8_t *)kv->keys + start * bytes, 0, count * bytes);
      memset((uint8_t *)kv->values + start * bytes, 0, count * bytes);
      if (kv->type != NK_KV_Q8) continue;
      memset(kv->key_scales + start, 0, count * sizeof(float));
      memset(kv->value_scales + start, 0, count * sizeof(float));
    }
  }
}

/* Scale of a Q8 vector; 0 for a vector of zeros. A vector that is not finite becomes zeros: its logits are NaN already. */
static float q8_scale(const float *x, uint32_t n) {
  float top = 0.0f;
  for (uint32_t i = 0; i < n; i++) {
    float magnitude = fabsf(x[i]);
    if (magnitude > top) top = magnitude;
  }
  return isfinite(top) ? top / 127.0f : 0.0f;
}

static int8_t q8_of(float x, float scale) {
  if (scale == 0.0f || !isfinite(x)) return 0;
  float q = rintf(x / scale);
  return (int8_t)(q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q);
}

void nk_kv_put(const nk_kv *kv, const nk_vec *vec, uint32_t layer, uint32_t head, uint32_t position, const float *key,
               const float *value) {
  uint32_t n = kv->head_dim;
  size_t value_at = head_start(kv, layer, head) + (size_t)position * n;
  size_t key_at = head_start(kv, layer, head) + (size_t)(position / NK_KV_TILE) * n * NK_KV_TILE + position % NK_KV_TILE;
  switch (kv->type) {
    case NK_KV_F32: {
      float *keys = (float *)(void *)kv->keys + key_at;
      for (uint32_t d = 0; d < n; d++) keys[(size_t)d * NK_KV_TILE] = key[d];
      memcpy((float *)(void *)kv->values + value_at, value, n * sizeof *value);
      return;
    }
    case NK_KV_F16: {
      uint16_t *keys = (uint16_t *)(void *)kv->keys + key_at;
      uint16_t halves[NK_MAX_HEAD_DIM];
      vec->f32_to_f16(halves, key, n);
      for (uint32_t d = 0; d < n; d++) keys[(size_t)d * NK_KV_TILE] = halves[d];
      vec->f32_to_f16((uint16_t *)(void *)kv->values + value_at, value, n);
      return;
    }
    case NK_KV_Q8: {
      float key_scale = q8_scale(key, n), value_scale = q8_scale(value, n);
      int8_t *keys = (int8_t *)kv->keys + key_at, *values = (int8_t *)kv->values + value_at;
      for (uint32_t d = 0; d < n; d++) keys[(size_t)d * NK_KV_TILE] = q8_of(key[d], key_scale);
      for (uint32_t d = 0; d < n; d++) values[d] = q8_of(value[d], value_scale);
      kv->key_scales[scale_start(kv, layer, head) + position] = key_scale;
      kv->value_scales[scale_start(kv, layer, head) + position] = value_scale;
      return;
    }
  }
}

const float *nk_kv_keys(const nk_kv *kv, const nk_vec *vec, uint32_t layer, uint32_t head, uint32_t tile, float *scratch) {
  uint32_t n = kv->head_dim * NK_KV_TILE;
  size_t at = head_start(kv, layer, head) + (size_t)tile * n;
  switch (kv->type) {
    case NK_KV_F32: return (const float *)(const void *)kv->keys + at;
    case NK_KV_F16: vec->f16_to_f32(scratch, (const uint16_t *)(const void *)kv->keys + at, n); return scratch;
    case NK_KV_Q8:
      vec->q8_tile_to_f32(scratch, (const int8_t *)kv->keys + at,
                          kv->key_scales + scale_start(kv, layer, head) + (size_t)tile * NK_KV_TILE, n);
      return scratch;
  }
  return scratch;
}

const float *nk_kv_values(const nk_kv *kv, const nk_vec *vec, uint32_t layer, uint32_t head, uint32_t tile,
                          float *scratch) {
  uint32_t n = kv->head_dim * NK_KV_TILE;
  size_t at = head_start(kv, layer, head) + (size_t)tile * n;
  switch (kv->type) {
    case NK_KV_F32: return (const float *)(const void *)kv->values + at;
    case NK_KV_F16: vec->f16_to_f32(scratch, (const uint16_t *)(const void *)kv->values + at, n); return scratch;
    case NK_KV_Q8: {
      const int8_t *values = (const int8_t *)kv->values + at;
      const float *scales = kv->value_scales + scale_start(kv, layer, head) + (size_t)tile * NK_KV_TILE;
      for (uint32_t j = 0; j < NK_KV_TILE; j++) {
        for (uint32_t d = 0; d < kv->head_dim; d++) {
          scratch[(size_t)j * kv->head_dim + d] = (float)values[(size_t)j * kv->head_dim + d] * scales[j];
        }
      }
      return scratch;
    }
  }
  return scratch;
}
