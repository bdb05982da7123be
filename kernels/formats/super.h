/*
 * super.h: what the formats of 256 elements a block ("super-blocks") share: packing, and the scalar kernels. Private to
 * kernels/.
 *
 * A block of 256 has one or two f16 scales (d; of the minima, dmin) and a few bytes of sub-scales, one for each 16 or 32
 * elements: w = (d s) (q - offset), or w = (d s) q - dmin m, with integers s, m.
 *
 * Step     Four levels k = 4i … 4i+3 of a row as the bytes of a 32-bit word; a block of 32 has 8 steps. Files and packed
 *          groups both keep byte i of a word to k ≡ i (mod 4), so all packing is shifts and masks of whole words.
 * Packed   8 rows × 256: f16 d [8]; f16 dmin [8] where the format has it; the bytes of the sub-scales, byte by byte as in
 *          the file, each [8 rows]; then for each block of 32 its levels in vectors of 16 bytes, in which bytes 4r … 4r+3
 *          belong to row r of four, so that a splat of four int8 activations meets four rows at once (as in nibbles.h).
 */
#ifndef NOOK_KERNELS_SUPER_H
#define NOOK_KERNELS_SUPER_H

#include "kernels/formats.h"
#include "kernels/formats/shapes.h"
#include "kernels/scalar/scalar.h"

#define NK_SUPER 256u       /* elements of a block */
#define NK_SUPER_BLOCKS 8u  /* blocks of 32 in it */
#define NK_STEPS 8u         /* words of a row in a block of 32 */
#define NK_BYTES_OF(x) ((x) * 0x01010101u) /* in each byte of a word */

/* The bytes of a packed super-block. */
static inline uint32_t nk_super_bytes(const nk_super *s) { return NK_GROUP_ROWS * s->file_bytes; }

/* A file block's levels as steps [64], and back. Back: writes every bit of the levels, and no other. */
typedef void nk_super_read(uint32_t *steps, const uint8_t *block);
typedef void nk_super_write(uint8_t *block, const uint32_t *steps);
/* The steps [8] of row `lane` to its place in a packed block of 32, and from there. */
typedef void nk_super_put(uint8_t *packed, uint32_t lane, const uint32_t *steps);
typedef void nk_super_get(uint32_t *steps, const uint8_t *packed, uint32_t lane);
/* Sub-scale (and minimum) number `sub` of row `lane`; scales: packed, [n_scales][8 rows]. */
typedef int32_t nk_super_scale(const uint8_t *scales, uint32_t sub, uint32_t lane);

static inline uint32_t nk_word(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void nk_put_word(uint8_t *p, uint32_t v) { memcpy(p, &v, sizeof v); }

/* ---- Ways to lay the levels of a block of 32 --------------------------------------------------------------------- */

/* Nibbles: 4 vectors for rows 0..3, 4 for rows 4..7; vector j has step 2j in the low nibbles, 2j + 1 in the high ones. */
static inline void nk_put_nibbles(uint8_t *packed, uint32_t lane, const uint32_t *steps) {
  uint8_t *to = packed + 64 * (lane / 4) + 4 * (lane % 4);
  for (uint32_t j = 0; j < 4; j++)
    nk_put_word(to + 16 * j, (steps[2 * j] & NK_BYTES_OF(15u)) | (steps[2 * j + 1] & NK_BYTES_OF(15u)) << 4);
}
static inline void nk_get_nibbles(uint32_t *steps, const uint8_t *packed, uint32_t lane) {
  const uint8_t *from = packed + 64 * (lane / 4) + 4 * (lane % 4);
  for (uint32_t j = 0; j < 4; j++) {
    uint32_t v = nk_word(from + 16 * j);
    steps[2 * j] = v & NK_BYTES_OF(15u);
    steps[2 * j + 1] = v >> 4 & NK_BYTES_OF(15u);
  }
}

/* Four steps of 6 bits in three vectors: the first three in the low bits, the fourth in the top two of each. */
static inline void nk_put_sixes(uint8_t *to, const uint32_t *six) {
  nk_put_word(to, six[0] | (six[3] & NK_BYTES_OF(0x30u)) << 2);
  nk_put_word(to + 16, six[1] | (six[3] & NK_BYTES_OF(0x0Cu)) << 4);
  nk_put_word(to + 32, six[2] | (six[3] & NK_BYTES_OF(0x03u)) << 6);
}
static inline void nk_get_sixes(uint32_t *six, const uint8_t *from) {
  uint32_t a = nk_word(from), b = nk_word(from + 16), c = nk_word(from + 32);
  six[0] = a & NK_BYTES_OF(63u);
  six[1] = b & NK_BYTES_OF(63u);
  six[2] = c & NK_BYTES_OF(63u);
  six[3] = (a >> 2 & NK_BYTES_OF(0x30u)) | (b >> 4 & NK_BYTES_OF(0x0Cu)) | (c >> 6 & NK_BYTES_OF(0x03u));
}

/* ---- Packing ----------------------------------------------------------------------------------------------------- */

static inline void nk_super_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols,
                                 const nk_super *s, nk_super_read *read, nk_super_put *put) {
  memset(group, 0, row_bytes * NK_GROUP_ROWS);
  for (uint32_t b = 0; b < cols / NK_SUPER; b++, group += nk_super_bytes(s)) {
    for (uint32_t r = 0; r < n_rows; r++) {
      const uint8_t *block = rows + r * row_bytes + (size_t)b * s->file_bytes;
      uint32_t steps[NK_SUPER_BLOCKS * NK_STEPS];
      for (uint32_t i = 0; i < s->n_d; i++) memcpy(group + 16 * i + 2 * r, block + s->file_d + 2 * i, 2);
      NK_NO_UNROLL
      for (uint32_t i = 0; i < s->n_scales; i++) group[s->packed_scales + 8 * i + r] = block[s->file_scales + i];
      read(steps, block);
      NK_NO_UNROLL
      for (uint32_t i = 0; i < NK_SUPER_BLOCKS; i++)
        put(group + s->packed_levels + i * s->block_bytes, r, steps + NK_STEPS * i);
    }
  }
}

static inline void nk_super_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols, const nk_super *s,
                                   nk_super_write *write, nk_super_get *get) {
  for (uint32_t b = 0; b < cols / NK_SUPER; b++, row += s->file_bytes, group += nk_super_bytes(s)) {
    uint32_t steps[NK_SUPER_BLOCKS * NK_STEPS];
    NK_NO_UNROLL
    for (uint32_t i = 0; i < NK_SUPER_BLOCKS; i++)
      get(steps + NK_STEPS * i, group + s->packed_levels + i * s->block_bytes, lane);
    write(row, steps);
    for (uint32_t i = 0; i < s->n_d; i++) memcpy(row + s->file_d + 2 * i, group + 16 * i + 2 * lane, 2);
    NK_NO_UNROLL
    for (uint32_t i = 0; i < s->n_scales; i++) row[s->file_scales + i] = group[s->packed_scales + 8 * i + lane];
  }
}

/* ---- Scalar kernels ------------------------------------------------------------------------------------------------ */

/* One row of one block of 32, as integers. */
typedef struct nk_super_row {
  int32_t q[NK_ACT_BLOCK];        /* levels, less the offset */
  int32_t scale[2], minimum[2];   /* of its first and its last 16 */
  float d, dmin;
} nk_super_row;

static inline void nk_super_load(nk_super_row *row, const uint8_t *group, uint32_t lane, uint32_t block, const nk_super *s,
                                 nk_super_get *get, nk_super_scale *scale, nk_super_scale *minimum) {
  const uint8_t *packed = group + (size_t)(block / NK_SUPER_BLOCKS) * nk_super_bytes(s);
  uint32_t steps[NK_STEPS], b = block % NK_SUPER_BLOCKS;
  get(steps, packed + s->packed_levels + b * s->block_bytes, lane);
  NK_NO_UNROLL
  for (uint32_t k = 0; k < NK_ACT_BLOCK; k++) row->q[k] = (int32_t)(steps[k / 4] >> 8 * (k % 4) & 255u) - s->offset;
  for (uint32_t i = 0; i < 2; i++) {
    uint32_t sub = s->halves ? 2 * b + i : b;
    row->scale[i] = scale(packed + s->packed_scales, sub, lane);
    row->minimum[i] = minimum == NULL ? 0 : minimum(packed + s->packed_scales, sub, lane);
  }
  row->d = nk_half_to_f32(nk_get16(packed + 2 * lane));
  row->dmin = s->n_d == 2 ? nk_half_to_f32(nk_get16(packed + 16 + 2 * lane)) : 0.0f;
}

/* w = (d s) q, or w = (d s) q - dmin m. Only the difference is rounded. */
static inline void nk_super_gather(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k,
                                   const nk_super *s, nk_super_get *get, nk_super_scale *scale, nk_super_scale *minimum) {
  for (uint32_t done = 0; done < n_k; done += NK_ACT_BLOCK) {
    nk_super_row row;
    nk_super_load(&row, group, lane, (k0 + done) / NK_ACT_BLOCK, s, get, scale, minimum);
    for (uint32_t i = 0; i < NK_ACT_BLOCK && done + i < n_k; i++) {
      float product = row.d * (float)row.scale[i / 16] * (float)row.q[i];
      out[done + i] = minimum == NULL ? product : product - row.dmin * (float)row.minimum[i / 16];
    }
  }
}

/*
 * For the product (scalar.h) the sub-scales belong to the levels: q s is an integer, and a block's sum of q s a stays below
 * 2^24, so that it becomes a float exactly. A minimum that all 32 elements share goes the way of Q4_1's.
 */
static inline void nk_super_levels(int32_t *q, float *scale, float *minimum, const nk_super_row *row) {
  NK_NO_UNROLL
  for (uint32_t k = 0; k < NK_ACT_BLOCK; k++) q[k] = row->q[k] * row->scale[k / 16];
  *scale = row->d;
  *minimum = -row->dmin * (float)row->minimum[0];
}

/* Packing and gather of a format; level: get, or what gives the levels behind the stored bits; minimum may be NULL. */
#define NK_SUPER_FORMAT(symbol, shape, read, write, put, get, level, scale, minimum)                               \
  void nk_##symbol##_pack(uint8_t *group, const uint8_t *rows, size_t row_bytes, uint32_t n_rows, uint32_t cols) { \
    nk_super_pack(group, rows, row_bytes, n_rows, cols, &shape, read, put);                                        \
  }                                                                                                                \
  void nk_##symbol##_unpack(uint8_t *row, const uint8_t *group, uint32_t lane, uint32_t cols) {                    \
    nk_super_unpack(row, group, lane, cols, &shape, write, get);                                                   \
  }                                                                                                                \
  NK_NO_INLINE                                                                                                     \
  void nk_##symbol##_gather(float *out, const uint8_t *group, uint32_t lane, uint32_t k0, uint32_t n_k) {          \
    nk_super_gather(out, group, lane, k0, n_k, &shape, level, scale, minimum);                                     \
  }

/* The product of a format without minima, or with one for all 32 elements. */
#define NK_SUPER_PRODUCT(symbol, shape, level, scale, minimum)                                              \
  static NK_NO_INLINE void levels(int32_t *q, float *d, float *m, const uint8_t *group, uint32_t lane, uint32_t block) { \
    nk_super_row row;                                                                                       \
    nk_super_load(&row, group, lane, block, &shape, level, scale, minimum);                                 \
    nk_super_levels(q, d, m, &row);                                                                         \
  }                                                                                                         \
  NK_SCALAR_PRODUCT(symbol, levels, (minimum) != NULL)

#endif
