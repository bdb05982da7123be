/*
 * q6_k.c: Q6_K. File block of 256: 128 bytes of low nibbles, 64 bytes of high bit pairs, int8 scales s [16], f16 d;
 * w = d s (q - 32), with one s for 16 elements. In each half of 128 elements, low byte i < 64 holds elements i and i + 64,
 * high byte i < 32 holds i, i + 32, i + 64 and i + 96.
 * Packed (super.h): d, scales, and for each 16 elements three vectors of rows 0..3 and three of rows 4..7: 1680 bytes.
 */
#include "kernels/formats/super.h"

static const nk_super shape = NK_SHAPE_Q6_K;
enum { HIGH = 128 };

static void read(uint32_t *steps, const uint8_t *block) {
  const uint32_t nibble = NK_BYTES_OF(15u), pair = NK_BYTES_OF(3u);
  NK_NO_UNROLL
  for (uint32_t n = 0; n < 2; n++, steps += 32) {
    NK_NO_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
      uint32_t a = nk_word(block + 64 * n + 4 * i), b = nk_word(block + 64 * n + 32 + 4 * i);
      uint32_t high = nk_word(block + HIGH + 32 * n + 4 * i);
      steps[i] = (a & nibble) | (high & pair) << 4;
      steps[8 + i] = (b & nibble) | (high >> 2 & pair) << 4;
      steps[16 + i] = (a >> 4 & nibble) | (high >> 4 & pair) << 4;
      steps[24 + i] = (b >> 4 & nibble) | (high >> 6 & pair) << 4;
    }
  }
}

static void write(uint8_t *block, const uint32_t *steps) {
  const uint32_t nibble = NK_BYTES_OF(15u), pair = NK_BYTES_OF(3u);
  NK_NO_UNROLL
  for (uint32_t n = 0; n < 2; n++, steps += 32) {
    NK_NO_UNROLL
    for (uint32_t i = 0; i < 8; i++) {
      uint32_t s0 = steps[i], s1 = steps[8 + i], s2 = steps[16 + i], s3 = steps[24 + i];
      nk_put_word(block + 64 * n + 4 * i, (s0 & nibble) | (s2 & nibble) << 4);
      nk_put_word(block + 64 * n + 32 + 4 * i, (s1 & nibble) | (s3 & nibble) << 4);
      nk_put_word(block + HIGH + 32 * n + 4 * i,
                  (s0 >> 4 & pair) | (s1 >> 4 & pair) << 2 | (s2 >> 4 & pair) << 4 | (s3 >> 4 & pair) << 6);
    }
  }
}

static void put(uint8_t *packed, uint32_t lane, const uint32_t *steps) {
  for (uint32_t sixteen = 0; sixteen < 2; sixteen++)
    nk_put_sixes(packed + 96 * sixteen + 48 * (lane / 4) + 4 * (lane % 4), steps + 4 * sixteen);
}

static void get(uint32_t *steps, const uint8_t *packed, uint32_t lane) {
  for (uint32_t sixteen = 0; sixteen < 2; sixteen++)
    nk_get_sixes(steps + 4 * sixteen, packed + 96 * sixteen + 48 * (lane / 4) + 4 * (lane % 4));
}

static int32_t scale(const uint8_t *scales, uint32_t sub, uint32_t lane) { return (int8_t)scales[8 * sub + lane]; }

NK_SUPER_FORMAT(q6_k, shape, read, write, put, get, get, scale, NULL)
NK_SUPER_PRODUCT(q6_k, shape, get, scale, NULL)
