/*
 * vec_norms.h: the norms of vec.h and their gradients. With x' = (x - mean) r, r = 1 / sqrt(variance + eps), and g = dy w:
 *     dx = r (g - mean(g) - x' mean(g x')),   dw = dy x',   db = dy
 * (Ba, Kiros, Hinton 2016; differentiate). The norm by the root of the mean square has neither mean nor mean(g).
 */

static double sum_of(const nk_real *x, uint32_t n) {
  d4 s = d4_zero();
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) s = d4_add_f4(s, f4_load(x + i));
  if (i < n) s = d4_add_f4(s, load_part(x + i, n - i));
  return d4_sum(s);
}

static double square_sum_of(const nk_real *x, uint32_t n, double mean) {
  d4 s = d4_zero();
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) s = d4_add_square(s, f4_load(x + i), mean);
  double total = d4_sum(s);
  for (; i < n; i++) { /* not padded: (0 - mean)² would count */
    double d = (double)x[i] - mean;
    total += d * d;
  }
  return total;
}

/* y = ((x - shift) · factor) · w + b */
static void normalize(nk_real *y, const nk_real *x, const nk_real *w, const nk_real *b, uint32_t n, nk_real shift,
                      nk_real factor) {
  const f4 shifts = f4_splat(shift), factors = f4_splat(factor);
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    f4 a = part == 4 ? f4_load(x + i) : load_part(x + i, part);
    a = f4_mul(f4_sub(a, shifts), factors);
    if (w != NULL) a = f4_mul(a, part == 4 ? f4_load(w + i) : load_part(w + i, part));
    if (b != NULL) a = f4_add(a, part == 4 ? f4_load(b + i) : load_part(b + i, part));
    if (part == 4) {
      f4_store(y + i, a);
    } else {
      store_part(y + i, a, part);
    }
  }
}

static void rmsnorm_forward(nk_real *y, const nk_real *x, const nk_real *w, uint32_t n, float eps) {
  double mean_square = square_sum_of(x, n, 0.0) / (double)n;
  normalize(y, x, w, NULL, n, 0.0f, (nk_real)(1.0 / sqrt(mean_square + (double)eps)));
}

static void layernorm_forward(nk_real *y, const nk_real *x, const nk_real *w, const nk_real *b, uint32_t n, float eps) {
  double mean = sum_of(x, n) / (double)n;
  double variance = square_sum_of(x, n, mean) / (double)n;
  normalize(y, x, w, b, n, (nk_real)mean, (nk_real)(1.0 / sqrt(variance + (double)eps)));
}


/* Σ g[i] (x[i] - mean), g = dy w; and Σ g[i] */
static double product_sum_of(const nk_real *dy, const nk_real *w, const nk_real *x, uint32_t n, double mean, double *sum) {
  d4 products = d4_zero(), plain = d4_zero();
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    f4 g = load_up_to_4(dy + i, part);
    if (w != NULL) g = f4_mul(g, load_up_to_4(w + i, part));
    products = d4_add_product(products, g, load_up_to_4(x + i, part), mean); /* padded: g is 0 */
    plain = d4_add_f4(plain, g);
  }
  *sum = d4_sum(plain);
  return d4_sum(products);
}

static inline void accumulate(nk_real *to, f4 a, uint32_t n) { store_up_to_4(to, f4_add(load_up_to_4(to, n), a), n); }

/* shift: mean of x; lean: mean(g); along: mean(g x') */
static void norm_backward(nk_real *dx, nk_real *dw, nk_real *db, const nk_real *dy, const nk_real *x, const nk_real *w,
                          uint32_t n, nk_real shift, nk_real factor, nk_real lean, nk_real along) {
  const f4 shifts = f4_splat(shift), factors = f4_splat(factor), leans = f4_splat(lean), alongs = f4_splat(along);
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    f4 gradient = load_up_to_4(dy + i, part), g = gradient;
    f4 normal = f4_mul(f4_sub(load_up_to_4(x + i, part), shifts), factors);
    if (w != NULL) g = f4_mul(g, load_up_to_4(w + i, part));
    accumulate(dx + i, f4_mul(f4_sub(f4_sub(g, leans), f4_mul(normal, alongs)), factors), part);
    if (dw != NULL) accumulate(dw + i, f4_mul(gradient, normal), part);
    if (db != NULL) accumulate(db + i, gradient, part);
  }
}

static void rmsnorm_backward(nk_real *dx, nk_real *dw, const nk_real *dy, const nk_real *x, const nk_real *w, uint32_t n,
                             float eps) {
  double factor = 1.0 / sqrt(square_sum_of(x, n, 0.0) / (double)n + (double)eps), sum;
  double along = product_sum_of(dy, w, x, n, 0.0, &sum) * factor / (double)n;
  norm_backward(dx, dw, NULL, dy, x, w, n, 0.0f, (nk_real)factor, 0.0f, (nk_real)along);
}

static void layernorm_backward(nk_real *dx, nk_real *dw, nk_real *db, const nk_real *dy, const nk_real *x, const nk_real *w,
                               uint32_t n, float eps) {
  double mean = sum_of(x, n) / (double)n, sum;
  double factor = 1.0 / sqrt(square_sum_of(x, n, mean) / (double)n + (double)eps);
  double along = product_sum_of(dy, w, x, n, mean, &sum) * factor / (double)n;
  norm_backward(dx, dw, db, dy, x, w, n, (nk_real)mean, (nk_real)factor, (nk_real)(sum / (double)n), (nk_real)along);
}
