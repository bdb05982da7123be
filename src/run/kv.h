/*
 * kv.h: the cache of keys and values, one sequence of positions.
 *
 * Layout   For each layer and key/value head: keys in tiles of 8 positions, [tiles][head_dim][8], so that one load is a
 *          dimension of eight keys and scores need no sums across lanes; values [positions][head_dim]. Rotary turns are
 *          applied before a key is stored. Types: F32; F16 (to nearest even, clamped to ±65504); Q8: int8 with one float32
 *          scale for each key and value of a head (max|x| / 127).
 * Memory   All carved from the session's arena; nothing grows. It is not filled beforehand: positions that no sequence
 *          reaches take no pages.
 */
#ifndef NOOK_RUN_KV_H
#define NOOK_RUN_KV_H

#include "core/arena.h"
#include "kernels/vec.h"

typedef enum nk_kv_type { NK_KV_F16 = 0, NK_KV_F32 = 1, NK_KV_Q8 = 2 } nk_kv_type;
#define NK_KV_TYPE_NAMES "f16|f32|q8"

typedef struct nk_kv {
  nk_kv_type type;
  uint32_t n_layers, n_heads, head_dim;
  uint32_t positions; /* room, a multiple of NK_KV_TILE */
  uint8_t *keys;      /* [layer][head][positions / 8][head_dim][8] elements */
  uint8_t *values;    /* [layer][head][positions][head_dim] elements */
  float *key_scales, *value_scales; /* Q8: [layer][head][positions] */
} nk_kv;

void nk_kv_carve(nk_kv *kv, nk_arena *arena, nk_kv_type type, uint32_t n_layers, uint32_t n_heads, uint32_t head_dim,
                 uint32_t positions);

/* Clears the tiles that begin in positions [first, first + n), before anything is stored there: reads are of whole
   tiles. */
void nk_kv_open(const nk_kv *kv, uint32_t first, uint32_t n);

/* Stores key and value [head_dim] of one head at `position`. */
void nk_kv_put(const nk_kv *kv, const nk_vec *vec, uint32_t layer, uint32_t head, uint32_t position, const float *key,
               const float *value);

/* Tile `tile` as float32: keys [head_dim, 8], values [8, head_dim]. Returns the cache itself where it is F32, else fills
   `scratch` [8 · head_dim]. */
const float *nk_kv_keys(const nk_kv *kv, const nk_vec *vec, uint32_t layer, uint32_t head, uint32_t tile, float *scratch);
const float *nk_kv_values(const nk_kv *kv, const nk_vec *vec, uint32_t layer, uint32_t head, uint32_t tile, float *scratch);

#endif
