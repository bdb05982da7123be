/*
 * fives.h: the packed order of 5-bit levels, shared by Q5_0 and Q5_1. Private to kernels/.
 *
 * File: a row's 32 levels are a 32-bit word of their fifth bits (bit k: level k), then 16 bytes of their low four (byte i =
 * level i | level (i + 16) << 4).
 * Packed: 8 rows × 32 levels are 10 vectors of 16 bytes, V0..V4 for rows 0..3 and five more for rows 4..7; in a vector,
 * bytes 4r .. 4r+3 belong to row r (of its four). Let Lq be the levels 4q .. 4q+3 of those rows, a byte each, in the same
 * places: what a 32-bit splat of four int8 activations meets. Five of the eight L lie whole in the low five bits of a
 * vector, and the other three share the upper bits, three each, so that most levels need one mask and no shift:
 *     V0 = L0 | (L5 & 7) << 5       V3 = L3 | (L5 >> 3) << 5 | (L6 >> 3 & 1) << 7
 *     V1 = L1 | (L6 & 7) << 5       V4 = L4 | (L7 >> 3) << 5 | (L6 >> 4) << 7
 *     V2 = L2 | (L7 & 7) << 5
 */
#ifndef NOOK_KERNELS_FIVES_H
#define NOOK_KERNELS_FIVES_H

#include "kernels/formats.h"

#define NK_FIVES_BYTES 160u /* 8 rows × 32 levels */
#define NK_FIVES_HALF 80u   /* 4 rows */

/* Four levels are four bytes of a word: masked before or after a shift, no bit crosses a byte. */
#define NK_FIVES_EACH(byte) (0x01010101u * (uint32_t)(byte))

/* The eight words of row `lane`: levels 4q .. 4q+3 in the bytes of l[q]. */
static inline void nk_fives_get(uint32_t *l /* [8] */, const uint8_t *packed, uint32_t lane) {
  const uint8_t *from = packed + NK_FIVES_HALF * (lane / 4u) + 4u * (lane % 4u);
  uint32_t v[5];
  for (uint32_t q = 0; q < 5; q++) {
    memcpy(&v[q], from + 16 * q, 4);
    l[q] = v[q] & NK_FIVES_EACH(31);
  }
  l[5] = (v[0] >> 5 & NK_FIVES_EACH(7)) | (v[3] >> 2 & NK_FIVES_EACH(24));
  l[6] = (v[1] >> 5 & NK_FIVES_EACH(7)) | (v[3] >> 4 & NK_FIVES_EACH(8)) | (v[4] >> 3 & NK_FIVES_EACH(16));
  l[7] = (v[2] >> 5 & NK_FIVES_EACH(7)) | (v[4] >> 2 & NK_FIVES_EACH(24));
}

static inline void nk_fives_put(uint8_t *packed, const uint32_t *l /* [8] */, uint32_t lane) {
  uint8_t *to = packed + NK_FIVES_HALF * (lane / 4u) + 4u * (lane % 4u);
  uint32_t v[5];
  v[0] = l[0] | (l[5] & NK_FIVES_EACH(7)) << 5;
  v[1] = l[1] | (l[6] & NK_FIVES_EACH(7)) << 5;
  v[2] = l[2] | (l[7] & NK_FIVES_EACH(7)) << 5;
  v[3] = l[3] | (l[5] & NK_FIVES_EACH(24)) << 2 | (l[6] & NK_FIVES_EACH(8)) << 4;
  v[4] = l[4] | (l[7] & NK_FIVES_EACH(24)) << 2 | (l[6] & NK_FIVES_EACH(16)) << 3;
  for (uint32_t q = 0; q < 5; q++) memcpy(to + 16 * q, &v[q], 4);
}

/* One row's 20 file bytes (fifth bits, nibbles) to its place in packed, and back. */
static inline void nk_fives_pack(uint8_t *packed, const uint8_t *file, uint32_t lane) {
  uint32_t fifth, f[4], l[8];
  memcpy(&fifth, file, 4);
  memcpy(f, file + 4, 16);
  for (uint32_t q = 0; q < 8; q++) {
    /* Bit i of the four goes to bit 8i: each is copied to i, 7 + i, 14 + i and 21 + i, and one of the copies kept. */
    uint32_t bits = (fifth >> 4 * q & 15u) * 0x00204081u & NK_FIVES_EACH(1);
    l[q] = (f[q % 4] >> (q < 4 ? 0 : 4) & NK_FIVES_EACH(15)) | bits << 4;
  }
  nk_fives_put(packed, l, lane);
}

static inline void nk_fives_unpack(uint8_t *file, const uint8_t *packed, uint32_t lane) {
  uint32_t fifth = 0, f[4], l[8];
  nk_fives_get(l, packed, lane);
  for (uint32_t q = 0; q < 8; q++) {
    uint32_t bits = l[q] >> 4 & NK_FIVES_EACH(1);
    fifth |= (bits | bits >> 7 | bits >> 14 | bits >> 21) % 16u << 4 * q;
  }
  for (uint32_t i = 0; i < 4; i++) f[i] = (l[i] & NK_FIVES_EACH(15)) | (l[4 + i] & NK_FIVES_EACH(15)) << 4;
  memcpy(file, &fifth, 4);
  memcpy(file + 4, f, 16);
}

/* Row `lane` as integers 0..31. */
static inline void nk_fives_levels(int32_t *level /* [32] */, const uint8_t *packed, uint32_t lane) {
  uint32_t l[8];
  nk_fives_get(l, packed, lane);
  for (uint32_t k = 0; k < 32; k++) level[k] = (int32_t)(l[k / 4] >> 8 * (k % 4) & 31u);
}

#endif
