/*
 * q2_k.c: Q2_K. File block of 256: 16 bytes, each a 4-bit scale s (low) and a 4-bit minimum m for 16 elements, 64 bytes of
 * levels, f16 d, f16 dmin; w = d s q - dmin m. In each half of 128 elements, byte i < 32 of the levels holds i, i + 32,
 * i + 64 and i + 96.
 * Packed (super.h): d, dmin, the 16 bytes, and for each 32 elements two vectors of rows 0..3 and two of rows 4..7, one for
 * each 16 elements, with their four steps in a byte: 672 bytes.
 */
#include "kernels/formats/super.h"

static const nk_super shape = NK_SHAPE_Q2_K;
enum { LEVELS = 16 };

static void read(uint32_t *steps, const uint8_t *block) {
  NK_NO_UNROLL
  for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++)
    NK_NO_UNROLL
    for (uint32_t i = 0; i < NK_STEPS; i++)
      steps[NK_STEPS * b + i] = nk_word(block + LEVELS + 32 * (b / 4) + 4 * i) >> 2 * (b % 4) & NK_BYTES_OF(3u);
}

static void write(uint8_t *block, const uint32_t *steps) {
  NK_NO_UNROLL
  for (uint32_t n = 0; n < 2; n++, steps += 4 * NK_STEPS) {
    NK_NO_UNROLL
    for (uint32_t i = 0; i < NK_STEPS; i++)
      nk_put_word(block + LEVELS + 32 * n + 4 * i, steps[i] | steps[8 + i] << 2 | steps[16 + i] << 4 | steps[24 + i] << 6);
  }
}

static void put(uint8_t *packed, uint32_t lane, const uint32_t *steps) {
  for (uint32_t sixteen = 0; sixteen < 2; sixteen++, steps += 4)
    nk_put_word(packed + 32 * (lane / 4) + 16 * sixteen + 4 * (lane % 4),
                steps[0] | steps[1] << 2 | steps[2] << 4 | steps[3] << 6);
}

static void get(uint32_t *steps, const uint8_t *packed, uint32_t lane) {
  for (uint32_t i = 0; i < NK_STEPS; i++)
    steps[i] = nk_word(packed + 32 * (lane / 4) + 16 * (i / 4) + 4 * (lane % 4)) >> 2 * (i % 4) & NK_BYTES_OF(3u);
}

static int32_t scale(const uint8_t *scales, uint32_t sub, uint32_t lane) { return scales[8 * sub + lane] & 15; }
static int32_t minimum(const uint8_t *scales, uint32_t sub, uint32_t lane) { return scales[8 * sub + lane] >> 4; }

/*
 * scalar.h's product, but for the minima, of which a block of 32 has two: their sum is an integer like that of the levels.
 *     acc = acc + (float)isum * (d * d_a)
 *     acc = acc + (float)msum * (-dmin * d_a)     msum = m_0 Σ a (first 16) + m_1 Σ a (last 16)
 */
static NK_NO_INLINE void product(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks,
                                 uint32_t slots) {
  for (uint32_t t = 0; t < slots; t++)
    for (uint32_t r = 0; r < NK_GROUP_ROWS; r++) y[t * ldy + r] = 0.0f;
  for (uint32_t b = 0; b < n_blocks; b++, act += nk_act_block_bytes(1, slots)) {
    const uint8_t *scales = act + slots * NK_ACT_BLOCK;
    for (uint32_t r = 0; r < NK_GROUP_ROWS; r++) {
      nk_super_row row;
      nk_super_load(&row, group, r, b, &shape, get, scale, minimum);
      for (uint32_t t = 0; t < slots; t++) {
        const int8_t *a = (const int8_t *)act + t * NK_ACT_BLOCK;
        float d_a = nk_get_f32(scales + 4 * t), s = row.d * d_a, s_min = -row.dmin * d_a;
        int32_t isum = 0, msum = 0;
        for (uint32_t i = 0; i < NK_ACT_BLOCK; i++) {
          isum += row.q[i] * row.scale[i / 16] * a[i];
          msum += row.minimum[i / 16] * a[i];
        }
        float term = (float)isum * s;
        y[t * ldy + r] = y[t * ldy + r] + term;
        term = (float)msum * s_min;
        y[t * ldy + r] = y[t * ldy + r] + term;
      }
    }
  }
}

NK_SUPER_FORMAT(q2_k, shape, read, write, put, get, get, scale, minimum)

static void gemv(float *y, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) {
  product(y, NK_GROUP_ROWS, group, act, n_blocks, 1);
}
static void gemm(float *y, size_t ldy, const uint8_t *group, const uint8_t *act, uint32_t n_blocks) {
  product(y, ldy, group, act, n_blocks, NK_QUAD);
}
NK_SCALAR_PANELS(q2_k)
const nk_kernels nk_scalar_q2_k = {.gemv = gemv, .gemm = gemm, .panel = panel, .panel_t = panel_t};
