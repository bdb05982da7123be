/*
 * vec_lanes.h: tails and sums over the four-lane operations (vec_f4_*.h). A tail of fewer than four elements is padded with
 * zeros into a full lane, so that no element takes another path. nk_real is float; tests of gradients compile it as double.
 */

static inline f4 load_part(const nk_real *p, uint32_t n) {
  nk_real padded[4] = {0, 0, 0, 0};
  memcpy(padded, p, n * sizeof *p);
  return f4_load(padded);
}

static inline void store_part(nk_real *p, f4 a, uint32_t n) {
  nk_real padded[4];
  f4_store(padded, a);
  memcpy(p, padded, n * sizeof *p);
}

/* n elements of p, n <= 4 */
static inline f4 load_up_to_4(const nk_real *p, uint32_t n) { return n == 4 ? f4_load(p) : load_part(p, n); }

static inline void store_up_to_4(nk_real *p, f4 a, uint32_t n) {
  if (n == 4) {
    f4_store(p, a);
  } else {
    store_part(p, a, n);
  }
}
