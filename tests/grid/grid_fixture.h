/*
 * grid_fixture.h: contents of blocks and activations for the tests of kernels: random ones, and those that reach the limits
 * of levels, sub-scales and scales. Included by one file of a program each.
 */
#ifndef NOOK_TESTS_GRID_FIXTURE_H
#define NOOK_TESTS_GRID_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/ops.h"

typedef enum content {
  RANDOM,     /* random levels, scales of both signs below 2 */
  WHOLE,      /* scales of 1, whole activations: all sums are exact */
  HIGHEST,    /* all bits of the levels set, activations at +127 */
  LOWEST,     /* blocks of 0x80 or of 0xFF, activations at -127 */
  STEEP,      /* levels all least or all greatest, sub-scales at their ends, activations of +127 or -127 for 16 at a time */
  SUBNORMAL,  /* scales that are subnormal f16 */
  ZERO,       /* scales 0, every second block of activations 0 */
  CONTENTS
} content;

/* Independently of formats.def: which 16-bit fields of a block are floating-point, and which bytes hold sub-scales. */
typedef struct layout {
  uint32_t type, fields, offsets[2];
  uint16_t infinite;
  uint32_t sub_scales_at, sub_scales; /* bytes */
  double level; /* the greatest of the integer product, which a minimum may cancel; formats of 32 */
} layout;

static const layout layouts[] = {
    {0, 1, {2, 0}, 0x7F80, 0, 0, 0},       /* F32 */
    {1, 1, {0, 0}, 0x7C00, 0, 0, 0},       /* F16 */
    {30, 1, {0, 0}, 0x7F80, 0, 0, 0},      /* BF16 */
    {2, 1, {0, 0}, 0x7C00, 0, 0, 16},      /* Q4_0 */
    {3, 2, {0, 2}, 0x7C00, 0, 0, 16},      /* Q4_1 */
    {8, 1, {0, 0}, 0x7C00, 0, 0, 16},      /* Q8_0 */
    {6, 1, {0, 0}, 0x7C00, 0, 0, 31},      /* Q5_0 */
    {7, 2, {0, 2}, 0x7C00, 0, 0, 31},      /* Q5_1 */
    {20, 1, {0, 0}, 0x7C00, 0, 0, 240},    /* IQ4_NL */
    {12, 2, {0, 2}, 0x7C00, 4, 12, 0},     /* Q4_K */
    {14, 1, {208, 0}, 0x7C00, 192, 16, 0}, /* Q6_K */
    {13, 2, {0, 2}, 0x7C00, 4, 12, 0},     /* Q5_K */
    {11, 1, {108, 0}, 0x7C00, 96, 12, 0},  /* Q3_K */
    {10, 2, {80, 82}, 0x7C00, 0, 16, 0},   /* Q2_K */
    {23, 1, {0, 0}, 0x7C00, 2, 6, 0},      /* IQ4_XS */
};

static inline const layout *layout_of(const nk_format *format) {
  for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
    if (layouts[i].type == format->type) return &layouts[i];
  fail_msg("%s needs its line in the table of layouts", format->name);
  return NULL;
}

static uint32_t random_state = 12345;

static inline uint32_t random32(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

static inline float random_float(void) { return (float)(int32_t)random32() * 0x1p-31f; }

static inline void *exact(size_t bytes) {
  void *p = malloc(bytes);
  assert_non_null(p);
  return p;
}

static inline uint16_t scale_bits(const nk_format *format, content c) {
  uint32_t one = format->exponent_mask & 0x3FFFu, random = random32() >> 16;
  switch (c) {
    case WHOLE: return (uint16_t)one;
    case HIGHEST: case LOWEST: case STEEP: return (uint16_t)(one | (random & 0x8000u));
    case SUBNORMAL: return (uint16_t)(random & ~format->exponent_mask);
    case ZERO: return (uint16_t)(random & 0x8000u);
    default: return (uint16_t)(random & ~0x4000u);
  }
}

/* File blocks [rows][row bytes]; the caller frees them. */
static inline uint8_t *make_blocks(const nk_format *format, uint32_t rows, uint32_t cols, content c) {
  size_t bytes = (size_t)nk_row_bytes(format, cols) * rows;
  uint8_t *blocks = exact(bytes);
  const layout *known = layout_of(format);
  for (size_t i = 0; i < bytes; i++) blocks[i] = (uint8_t)(c == HIGHEST ? 0xFF : random32() >> 24);
  for (size_t at = 0; at < bytes; at += format->block_bytes) {
    if (c == LOWEST) memset(blocks + at, random32() & 64 ? 0x80 : 0xFF, format->block_bytes);
    if (c == STEEP) {
      static const uint8_t ends[] = {0x00, 0x7F, 0x80, 0xFF};
      uint32_t alike = random32() % 8;
      memset(blocks + at, random32() & 64 ? 0x00 : 0xFF, format->block_bytes);
      for (uint32_t i = 0; i < known->sub_scales; i++)
        blocks[at + known->sub_scales_at + i] = ends[(alike < 4 ? alike : random32() >> 8) % 4];
    }
    for (uint32_t i = 0; i < format->n_scales; i++) nk_put16(blocks + at + format->scale_at + 2 * i, scale_bits(format, c));
    /* A whole F32 has no random low half. */
    if (c == WHOLE && format->is_float) memset(blocks + at, 0, format->scale_at);
  }
  return blocks;
}

static inline nk_matrix make_matrix(const nk_format *format, uint32_t rows, uint32_t cols, const uint8_t *blocks) {
  nk_matrix w = {.format = format, .rows = rows, .cols = cols, .data = exact((size_t)nk_matrix_bytes(format, rows, cols))};
  nk_error error = {0};
  if (nk_matrix_pack(&w, 0, rows, blocks, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  return w;
}

static const nk_isa isas[] = {NK_ISA_SCALAR, NK_ISA_SIMD128, NK_ISA_RELAXED};

#endif
