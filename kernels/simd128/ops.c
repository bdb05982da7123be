/* simd128/ops.c: the format-independent kernels of the base SIMD, and its table. Activations are int16 (act.h). */
#include "kernels/simd128/common.h"
#include "kernels/simd128/tiles.h"

static void quantize(uint8_t *act, uint32_t slot, uint32_t slots, const float *x, uint32_t n_blocks) {
  for (uint32_t b = 0; b < n_blocks; b++, x += NK_ACT_BLOCK, act += nk_act_block_bytes(2, slots)) {
    uint8_t *values = act + slot * NK_ACT_BLOCK * 2, *scales = act + slots * NK_ACT_BLOCK * 2;
    v128_t q[8];
    quantize_block(q, scales, slot, slots, x);
    for (uint32_t i = 0; i < 4; i++) {
      v128_t even = wasm_i32x4_shuffle(q[2 * i], q[2 * i + 1], 0, 2, 4, 6);
      v128_t odd = wasm_i32x4_shuffle(q[2 * i], q[2 * i + 1], 1, 3, 5, 7);
      wasm_v128_store(values + 16 * i, wasm_i16x8_narrow_i32x4(even, odd));
    }
  }
}

static void dequantize(float *x, const uint8_t *act, uint32_t slot, uint32_t slots, uint32_t n_blocks) {
  for (uint32_t b = 0; b < n_blocks; b++, x += NK_ACT_BLOCK, act += nk_act_block_bytes(2, slots)) {
    const uint8_t *values = act + slot * NK_ACT_BLOCK * 2;
    v128_t scale = wasm_v128_load32_splat(act + slots * NK_ACT_BLOCK * 2 + 4 * slot);
    for (uint32_t i = 0; i < 4; i++) {
      v128_t even = wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_load16x4(values + 16 * i)));
      v128_t odd = wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_load16x4(values + 16 * i + 8)));
      wasm_v128_store(x + 8 * i, wasm_i32x4_shuffle(even, odd, 0, 4, 1, 5));
      wasm_v128_store(x + 8 * i + 4, wasm_i32x4_shuffle(even, odd, 2, 6, 3, 7));
    }
  }
}

const nk_ops nk_simd128_ops = {
    .isa = NK_ISA_SIMD128,
    .act_value_bytes = 2,
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
#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales) &nk_simd128_##symbol,
#include "kernels/formats.def"
#undef NK_FORMAT
        },
};
