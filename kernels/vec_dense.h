/*
 * vec_dense.h: the dense products of vec.h, row-major, over four-lane operations.
 *
 * nn and tn are one sum over outer products, y[r, c] = Σ_d a[r, d] b[d, c] in tiles of 4 rows × 8 columns: 8 sums, 2
 * vectors of b and one element of a fit the 16 vector registers of x86. The sum over d is cut into blocks of
 * NK_DENSE_DEPTH; between blocks it rests in y, which rounds nothing. nt is dot products of rows, 2 × 4 at once. Parts of
 * tiles run through whole ones that are padded with zeros (nn, tn) or with repeated rows (nt): no element is summed
 * otherwise at an edge.
 */

#include "kernels/isa.h"

#define NK_DENSE_DEPTH 128u /* of a block: 2 KiB of packed a … */
#define NK_DENSE_COLS 64u   /* … and at most 32 KiB of packed b, which stay in the cache while all rows pass */
#define NK_DENSE_REUSE 8u   /* tiles along y that make packing worth its time where the numbers lie well without */

/* y[r, c] (+)= Σ_d a[d · a_step + r] b[d · b_step + c], d ascending in [0, n); 4 rows r, 8 columns c; starts from 0
   when `first`, else from y. */
static void dense_tile(nk_real *y, size_t ldy, const nk_real *a, size_t a_step, const nk_real *b, size_t b_step, uint32_t n,
                       bool first) {
  nk_real *y1 = y + ldy, *y2 = y1 + ldy, *y3 = y2 + ldy;
  const f4 zero = f4_splat(0.0f);
  f4 s00 = zero, s01 = zero, s10 = zero, s11 = zero, s20 = zero, s21 = zero, s30 = zero, s31 = zero;
  if (!first) {
    s00 = f4_load(y), s01 = f4_load(y + 4), s10 = f4_load(y1), s11 = f4_load(y1 + 4);
    s20 = f4_load(y2), s21 = f4_load(y2 + 4), s30 = f4_load(y3), s31 = f4_load(y3 + 4);
  }
  NK_NO_UNROLL
  for (uint32_t d = 0; d < n; d++, a += a_step, b += b_step) {
    f4 left = f4_load(b), right = f4_load(b + 4), x = f4_splat(a[0]);
    s00 = f4_madd(x, left, s00), s01 = f4_madd(x, right, s01);
    x = f4_splat(a[1]);
    s10 = f4_madd(x, left, s10), s11 = f4_madd(x, right, s11);
    x = f4_splat(a[2]);
    s20 = f4_madd(x, left, s20), s21 = f4_madd(x, right, s21);
    x = f4_splat(a[3]);
    s30 = f4_madd(x, left, s30), s31 = f4_madd(x, right, s31);
  }
  f4_store(y, s00), f4_store(y + 4, s01), f4_store(y1, s10), f4_store(y1 + 4, s11);
  f4_store(y2, s20), f4_store(y2 + 4, s21), f4_store(y3, s30), f4_store(y3 + 4, s31);
}

/* The same for a part of a tile. */
static void dense_tile_part(nk_real *y, size_t ldy, uint32_t rows, uint32_t cols, const nk_real *a, size_t a_step,
                            const nk_real *b, size_t b_step, uint32_t n, bool first) {
  nk_real whole[4 * 8] = {0}; /* [4][8] */
  if (!first)
    for (uint32_t r = 0; r < rows; r++) memcpy(whole + r * 8, y + r * ldy, cols * sizeof *y);
  dense_tile(whole, 8, a, a_step, b, b_step, n, first);
  for (uint32_t r = 0; r < rows; r++) memcpy(y + r * ldy, whole + r * 8, cols * sizeof *y);
}

/* to[d][4] = from[r · ld + d] for `rows` <= 4 rows r; 0 for the others. */
static void dense_pack_rows(nk_real *to, const nk_real *from, size_t ld, uint32_t rows, uint32_t n) {
  uint32_t d = 0;
  if (rows < 4) memset(to, 0, (size_t)n * 4 * sizeof *to);
  for (; rows == 4 && d + 4 <= n; d += 4) {
    f4 v[4] = {f4_load(from + d), f4_load(from + ld + d), f4_load(from + 2 * ld + d), f4_load(from + 3 * ld + d)};
    f4_transpose(v);
    for (uint32_t i = 0; i < 4; i++) f4_store(to + 4 * (d + i), v[i]);
  }
  for (; d < n; d++)
    for (uint32_t r = 0; r < rows; r++) to[4 * d + r] = from[r * ld + d];
}

/* to[d][width] = from[d · ld], its first `cols` <= width elements and 0; width is 4 or 8. */
NK_INLINE void dense_pack_cols(nk_real *to, uint32_t width, const nk_real *from, size_t ld, uint32_t cols, uint32_t n) {
  if (cols < width) memset(to, 0, (size_t)n * width * sizeof *to);
  for (uint32_t d = 0; d < n; d++, to += width, from += ld) {
    if (cols == width) {
      f4_store(to, f4_load(from));
      if (width == 8) f4_store(to + 4, f4_load(from + 4));
    } else {
      NK_PLAIN
      for (uint32_t i = 0; i < cols; i++) to[i] = from[i];
    }
  }
}

/* y[r, c] (+)= Σ_d a b[d · ldb + c] over n_d <= NK_DENSE_DEPTH terms; a is a[r · lda + d], or a[d · lda + r] when `across`.
   cols <= NK_DENSE_COLS. */
static void dense_block(nk_real *y, size_t ldy, const nk_real *a, size_t lda, bool across, const nk_real *b, size_t ldb,
                        uint32_t rows, uint32_t cols, uint32_t n_d, bool first) {
  nk_real packed_a[NK_DENSE_DEPTH * 4], packed_b[NK_DENSE_DEPTH * NK_DENSE_COLS]; /* [n_d][4], [cols / 8][n_d][8] */
  bool pack_b = rows >= 4 * NK_DENSE_REUSE, pack_a = !across || cols >= 8 * NK_DENSE_REUSE;
  for (uint32_t c = pack_b ? 0 : cols - cols % 8; c < cols; c += 8)
    dense_pack_cols(packed_b + (size_t)c * n_d, 8, b + c, ldb, cols - c < 8 ? cols - c : 8, n_d);
  for (uint32_t r = 0; r < rows; r += 4) {
    uint32_t part = rows - r < 4 ? rows - r : 4;
    const nk_real *left = packed_a;
    size_t left_step = 4;
    if (part == 4 && !pack_a) {
      left = a + r;
      left_step = lda;
    } else if (across) {
      dense_pack_cols(packed_a, 4, a + r, lda, part, n_d);
    } else {
      dense_pack_rows(packed_a, a + r * lda, lda, part, n_d);
    }
    for (uint32_t c = 0; c < cols; c += 8) {
      bool in_place = !pack_b && c + 8 <= cols;
      const nk_real *right = in_place ? b + c : packed_b + (size_t)c * n_d;
      size_t right_step = in_place ? ldb : 8;
      if (part == 4 && c + 8 <= cols) {
        dense_tile(y + r * ldy + c, ldy, left, left_step, right, right_step, n_d, first);
      } else {
        dense_tile_part(y + r * ldy + c, ldy, part, cols - c < 8 ? cols - c : 8, left, left_step, right, right_step, n_d,
                        first);
      }
    }
  }
}

/* The same for any number of terms and of columns. */
static void dense_sum(nk_real *y, size_t ldy, const nk_real *a, size_t lda, bool across, const nk_real *b, size_t ldb,
                      uint32_t rows, uint32_t cols, uint32_t depth, bool add) {
  uint32_t n = 0, d = 0;
  do {
    n = depth - d < NK_DENSE_DEPTH ? depth - d : NK_DENSE_DEPTH;
    for (uint32_t c = 0; c < cols; c += NK_DENSE_COLS)
      dense_block(y + c, ldy, across ? a + d * lda : a + d, lda, across, b + d * ldb + c, ldb, rows,
                  cols - c < NK_DENSE_COLS ? cols - c : NK_DENSE_COLS, n, d == 0 && !add);
    d += n;
  } while (d < depth);
}

static void dense_nn(nk_real *y, size_t ldy, const nk_real *a, size_t lda, const nk_real *b, size_t ldb, uint32_t m,
                     uint32_t n, uint32_t k, bool add) {
  dense_sum(y, ldy, a, lda, false, b, ldb, m, k, n, add);
}

static void dense_tn(nk_real *y, size_t ldy, const nk_real *a, size_t lda, const nk_real *b, size_t ldb, uint32_t m,
                     uint32_t n, uint32_t k, bool add) {
  dense_sum(y, ldy, a, lda, true, b, ldb, n, k, m, add);
}

/* y[i, j] (+)= the dot products, k long, of the m rows i of a with the rows b[j], j < cols <= 4; b[j] = b[0] beyond. */
static void dense_dots(nk_real *y, size_t ldy, const nk_real *a, size_t lda, const nk_real *const *b, uint32_t m,
                       uint32_t cols, uint32_t k, bool add) {
  const nk_real *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
  const f4 zero = f4_splat(0.0f);
  for (uint32_t r = 0; r < m; r += 2, y += 2 * ldy, a += 2 * lda) {
    const nk_real *a0 = a, *a1 = m - r < 2 ? a : a + lda;
    f4 s00 = zero, s01 = zero, s02 = zero, s03 = zero, s10 = zero, s11 = zero, s12 = zero, s13 = zero;
    uint32_t i = 0;
    NK_NO_UNROLL
    for (; i + 4 <= k; i += 4) {
      f4 x0 = f4_load(a0 + i), x1 = f4_load(a1 + i), w = f4_load(b0 + i);
      s00 = f4_madd(x0, w, s00), s10 = f4_madd(x1, w, s10);
      w = f4_load(b1 + i);
      s01 = f4_madd(x0, w, s01), s11 = f4_madd(x1, w, s11);
      w = f4_load(b2 + i);
      s02 = f4_madd(x0, w, s02), s12 = f4_madd(x1, w, s12);
      w = f4_load(b3 + i);
      s03 = f4_madd(x0, w, s03), s13 = f4_madd(x1, w, s13);
    }
    if (i < k) {
      f4 x0 = load_part(a0 + i, k - i), x1 = load_part(a1 + i, k - i), w = load_part(b0 + i, k - i);
      s00 = f4_madd(x0, w, s00), s10 = f4_madd(x1, w, s10);
      w = load_part(b1 + i, k - i);
      s01 = f4_madd(x0, w, s01), s11 = f4_madd(x1, w, s11);
      w = load_part(b2 + i, k - i);
      s02 = f4_madd(x0, w, s02), s12 = f4_madd(x1, w, s12);
      w = load_part(b3 + i, k - i);
      s03 = f4_madd(x0, w, s03), s13 = f4_madd(x1, w, s13);
    }
    f4 sums = f4_sums(s00, s01, s02, s03);
    store_up_to_4(y, add ? f4_add(load_up_to_4(y, cols), sums) : sums, cols);
    if (m - r < 2) break;
    sums = f4_sums(s10, s11, s12, s13);
    store_up_to_4(y + ldy, add ? f4_add(load_up_to_4(y + ldy, cols), sums) : sums, cols);
  }
}

static void dense_nt(nk_real *y, size_t ldy, const nk_real *a, size_t lda, const nk_real *b, size_t ldb, uint32_t m,
                     uint32_t n, uint32_t k, bool add) {
  for (uint32_t j = 0; j < n; j += 4) {
    uint32_t cols = n - j < 4 ? n - j : 4;
    const nk_real *right[4];
    for (uint32_t c = 0; c < 4; c++) right[c] = b + (size_t)(j + (c < cols ? c : 0)) * ldb;
    dense_dots(y + j, ldy, a, lda, right, m, cols, k, add);
  }
}
