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

#define NK_DENSE_DEPTH 256u /* of a block: 4 and 8 KiB of packed a and b */
#define NK_DENSE_COLS 64u   /* columns of b that stay in the cache while all rows pass */

/* y[r, c] (+)= Σ_d a[d · a_step + r] b[d · b_step + c], d ascending in [0, n); 4 rows r, 8 columns c; starts from 0 when
   `first`, else from y. */
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

/* to[d][width] = from[d · d_step + i · i_step], i < n_i; the rest of `width` is 0. */
static void dense_pack(nk_real *to, uint32_t width, const nk_real *from, size_t d_step, size_t i_step, uint32_t n_i,
                       uint32_t n_d) {
  if (n_i < width) memset(to, 0, (size_t)n_d * width * sizeof *to);
  for (uint32_t d = 0; d < n_d; d++, to += width, from += d_step)
    for (uint32_t i = 0; i < n_i; i++) to[i] = from[i * i_step];
}

/* y[r, c] (+)= Σ_d a[r · a_row + d · a_depth] b[d · ldb + c] */
static void dense_sum(nk_real *y, size_t ldy, const nk_real *a, size_t a_row, size_t a_depth, const nk_real *b, size_t ldb,
                      uint32_t rows, uint32_t cols, uint32_t depth, bool add) {
  nk_real packed_a[NK_DENSE_DEPTH * 4], packed_b[NK_DENSE_DEPTH * 8];
  uint32_t n = 0, d = 0;
  do {
    n = depth - d < NK_DENSE_DEPTH ? depth - d : NK_DENSE_DEPTH;
    bool first = d == 0 && !add;
    for (uint32_t c0 = 0; c0 < cols; c0 += NK_DENSE_COLS) {
      uint32_t c_end = cols - c0 < NK_DENSE_COLS ? cols : c0 + NK_DENSE_COLS, last = (c_end - c0) % 8;
      if (last != 0) dense_pack(packed_b, 8, b + d * ldb + (c_end - last), ldb, 1, last, n);
      for (uint32_t r = 0; r < rows; r += 4) {
        uint32_t part = rows - r < 4 ? rows - r : 4, c = c0;
        const nk_real *from = a + r * a_row + d * a_depth;
        size_t step = a_depth;
        if (part < 4 || a_row != 1) {
          dense_pack(packed_a, 4, from, a_depth, a_row, part, n);
          from = packed_a;
          step = 4;
        }
        for (; c + 8 <= c_end; c += 8) {
          if (part == 4) {
            dense_tile(y + r * ldy + c, ldy, from, step, b + d * ldb + c, ldb, n, first);
          } else {
            dense_tile_part(y + r * ldy + c, ldy, part, 8, from, step, b + d * ldb + c, ldb, n, first);
          }
        }
        if (last != 0) dense_tile_part(y + r * ldy + c, ldy, part, last, from, step, packed_b, 8, n, first);
      }
    }
    d += n;
  } while (d < depth);
}

static void dense_nn(nk_real *y, size_t ldy, const nk_real *a, size_t lda, const nk_real *b, size_t ldb, uint32_t m,
                     uint32_t n, uint32_t k, bool add) {
  dense_sum(y, ldy, a, lda, 1, b, ldb, m, k, n, add);
}

static void dense_tn(nk_real *y, size_t ldy, const nk_real *a, size_t lda, const nk_real *b, size_t ldb, uint32_t m,
                     uint32_t n, uint32_t k, bool add) {
  dense_sum(y, ldy, a, 1, lda, b, ldb, n, k, m, add);
}

/* The dot products of the rows a[0], a[1] with the rows b[0 … 3], k long: to y [rows <= 2, cols <= 4]. */
static void dense_dots(nk_real *y, size_t ldy, uint32_t rows, uint32_t cols, const nk_real *const *a,
                       const nk_real *const *b, uint32_t k, bool add) {
  const nk_real *a0 = a[0], *a1 = a[1], *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
  const f4 zero = f4_splat(0.0f);
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
  if (rows < 2) return;
  sums = f4_sums(s10, s11, s12, s13);
  store_up_to_4(y + ldy, add ? f4_add(load_up_to_4(y + ldy, cols), sums) : sums, cols);
}

static void dense_nt(nk_real *y, size_t ldy, const nk_real *a, size_t lda, const nk_real *b, size_t ldb, uint32_t m,
                     uint32_t n, uint32_t k, bool add) {
  for (uint32_t j = 0; j < n; j += 4) {
    uint32_t cols = n - j < 4 ? n - j : 4;
    const nk_real *b_rows[4];
    for (uint32_t i = 0; i < 4; i++) b_rows[i] = b + (size_t)(j + (i < cols ? i : 0)) * ldb;
    for (uint32_t i = 0; i < m; i += 2) {
      uint32_t rows = m - i < 2 ? 1 : 2;
      const nk_real *const a_rows[2] = {a + i * lda, a + (i + rows - 1) * lda};
      dense_dots(y + i * ldy + j, ldy, rows, cols, a_rows, b_rows, k, add);
    }
  }
}
