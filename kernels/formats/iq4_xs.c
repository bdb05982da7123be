/*
 * iq4_xs.c: IQ4_XS. File block of 256: f16 d, 16 bits of high and 4 bytes of low parts of eight 6-bit scales s, 128 bytes
 * of levels; w = d (s - 32) v[q], with one s for 32 elements and a table v (iq4_nl.h). Of the 16 bytes of each 32 elements,
 * byte i holds elements i and i + 16. Scale j has its low nibble in byte j / 2 (low for even j), its two top bits in the 16
 * at bit 2j.
 * Packed (super.h): d, the 6 bytes, and for each 32 elements their nibbles: 1088 bytes.
 */
#include "kernels/formats/iq4_nl.h"
#include "kernels/formats/super.h"

static const nk_super shape = NK_SHAPE_IQ4_XS;
enum { LEVELS = 8 };

static void read(uint32_t *steps, const uint8_t *block) {
  NK_NO_UNROLL
  for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++, steps += NK_STEPS) {
    NK_NO_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
      uint32_t v = nk_word(block + LEVELS + 16 * b + 4 * i);
      steps[i] = v & NK_BYTES_OF(15u);
      steps[4 + i] = v >> 4 & NK_BYTES_OF(15u);
    }
  }
}

static void write(uint8_t *block, const uint32_t *steps) {
  NK_NO_UNROLL
  for (uint32_t b = 0; b < NK_SUPER_BLOCKS; b++, steps += NK_STEPS)
    NK_NO_UNROLL
    for (uint32_t i = 0; i < 4; i++) nk_put_word(block + LEVELS + 16 * b + 4 * i, steps[i] | steps[4 + i] << 4);
}

/* The table's values plus 127, as levels. */
static void values(uint32_t *steps, const uint8_t *packed, uint32_t lane) {
  nk_get_nibbles(steps, packed, lane);
  for (uint32_t i = 0; i < NK_STEPS; i++) {
    uint32_t v = 0;
    for (uint32_t j = 0; j < 32; j += 8) v |= (uint32_t)nk_iq4_nl_levels[steps[i] >> j & 15u] << j;
    steps[i] = v;
  }
}

static int32_t scale(const uint8_t *scales, uint32_t sub, uint32_t lane) {
  int32_t low = scales[16 + 8 * (sub / 2) + lane] >> 4 * (sub % 2) & 15;
  return (low | (scales[8 * (sub / 4) + lane] >> 2 * (sub % 4) & 3) << 4) - 32;
}

NK_SUPER_FORMAT(iq4_xs, shape, read, write, nk_put_nibbles, nk_get_nibbles, values, scale, NULL)
NK_SUPER_PRODUCT(iq4_xs, shape, values, scale, NULL)
