/* relaxed/ops.c: the format-independent kernels of relaxed SIMD, and its table. Activations are int8 (act.h). */
#include "kernels/relaxed/relaxed.h"
#include "kernels/simd128/tiles.h"

#if NK_HAVE_RELAXED

static void quantize(uint8_t *act, uint32_t slot, uint32_t slots, const float *x, uint32_t n_blocks) {
  for (uint32_t b = 0; b < n_blocks; b++, x += NK_ACT_BLOCK, act += nk_act_block_bytes(1, slots)) {
    uint8_t *values = act + slot * NK_ACT_BLOCK, *scales = act + slots * NK_ACT_BLOCK;
    v128_t q[8];
    quantize_block(q, scales, slot, slots, x);
    for (uint32_t i = 0; i < 2; i++) {
      wasm_v128_store(values + 16 * i, wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(q[4 * i], q[4 * i + 1]),
                                                               wasm_i16x8_narrow_i32x4(q[4 * i + 2], q[4 * i + 3])));
    }
  }
}

static void dequantize(float *x, const uint8_t *act, uint32_t slot, uint32_t slots, uint32_t n_blocks) {
  for (uint32_t b = 0; b < n_blocks; b++, x += NK_ACT_BLOCK, act += nk_act_block_bytes(1, slots)) {
    const uint8_t *values = act + slot * NK_ACT_BLOCK;
    v128_t scale = wasm_v128_load32_splat(act + slots * NK_ACT_BLOCK + 4 * slot);
    for (uint32_t i = 0; i < 4; i++) {
      v128_t q = wasm_i16x8_load8x8(values + 8 * i);
      wasm_v128_store(x + 8 * i, wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(q))));
      wasm_v128_store(x + 8 * i + 4, wasm_f32x4_mul(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(q))));
    }
  }
}

/* Dequantizing float formats has no arithmetic to relax. */
const nk_kernels nk_relaxed_f32 = {.panel = NULL, .panel_t = nk_simd128_f32_panel_t};
const nk_kernels nk_relaxed_f16 = {.panel = nk_simd128_f16_panel, .panel_t = nk_simd128_f16_panel_t};
const nk_kernels nk_relaxed_bf16 = {.panel = nk_simd128_bf16_panel, .panel_t = nk_simd128_bf16_panel_t};

const nk_ops nk_relaxed_ops = {
    .isa = NK_ISA_RELAXED,
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
#define NK_FORMAT(name, symbol, type, block, bytes, kind, scale_type, scale_at, scales) &nk_relaxed_##symbol,
#include "kernels/formats.def"
#undef NK_FORMAT
        },
};

#endif
