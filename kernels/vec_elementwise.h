/* vec_elementwise.h: sums and products by element, the soft cap and softmax of vec.h, and their gradients. */

static void add(nk_real *y, const nk_real *x, uint32_t n) {
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) f4_store(y + i, f4_add(f4_load(y + i), f4_load(x + i)));
  for (; i < n; i++) y[i] += x[i];
}

static void scale(nk_real *y, nk_real factor, uint32_t n) {
  const f4 factors = f4_splat(factor);
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) f4_store(y + i, f4_mul(f4_load(y + i), factors));
  for (; i < n; i++) y[i] *= factor;
}

/* tanh v = 1 - 2 / (1 + e^2v); near 0 the cancellation costs an absolute 6e-8, which cap · tanh does not notice. */
static inline f4 f4_cap(f4 y, f4 cap) {
  f4 v = f4_div(y, cap);
  f4 e = f4_exp(f4_add(v, v));
  return f4_mul(cap, f4_sub(f4_splat(1.0f), f4_div(f4_splat(2.0f), f4_add(f4_splat(1.0f), e))));
}

static void softcap(nk_real *y, nk_real cap, uint32_t n) {
  const f4 caps = f4_splat(cap);
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) f4_store(y + i, f4_cap(f4_load(y + i), caps));
  if (i < n) store_part(y + i, f4_cap(load_part(y + i, n - i), caps), n - i);
}


static void softcap_backward(nk_real *dy, const nk_real *y, nk_real cap, uint32_t n) {
  const f4 caps = f4_splat(cap), one = f4_splat(1.0f);
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    f4 v = f4_div(load_up_to_4(y + i, part), caps);
    store_up_to_4(dy + i, f4_mul(load_up_to_4(dy + i, part), f4_sub(one, f4_mul(v, v))), part);
  }
}

/* Multiplied and added, not fused, on every ISA: these wait for memory, not for arithmetic. */
static void add_scaled(nk_real *y, const nk_real *x, nk_real factor, uint32_t n) {
  const f4 factors = f4_splat(factor);
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    store_up_to_4(y + i, f4_add(load_up_to_4(y + i, part), f4_mul(factors, load_up_to_4(x + i, part))), part);
  }
}

static void multiply(nk_real *y, const nk_real *x, uint32_t n) {
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    store_up_to_4(y + i, f4_mul(load_up_to_4(y + i, part), load_up_to_4(x + i, part)), part);
  }
}

static void add_product(nk_real *y, const nk_real *a, const nk_real *b, uint32_t n) {
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    f4 product = f4_mul(load_up_to_4(a + i, part), load_up_to_4(b + i, part));
    store_up_to_4(y + i, f4_add(load_up_to_4(y + i, part), product), part);
  }
}

static double softmax_forward(nk_real *s, uint32_t n) {
  f4 m = f4_splat(-INFINITY);
  for (uint32_t j = 0; j < n; j += 4) m = f4_floor_at(m, f4_load(s + j));
  const f4 top = f4_splat(f4_max_lane(m));
  d4 total = d4_zero();
  for (uint32_t j = 0; j < n; j += 4) {
    f4 e = f4_exp(f4_sub(f4_load(s + j), top));
    f4_store(s + j, e);
    total = d4_add_f4(total, e);
  }
  return d4_sum(total);
}

static void softmax_backward(nk_real *dp, const nk_real *p, uint32_t n) {
  d4 total = d4_zero();
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    total = d4_add_product(total, load_up_to_4(p + i, part), load_up_to_4(dp + i, part), 0.0);
  }
  const f4 mean = f4_splat((nk_real)d4_sum(total));
  for (uint32_t i = 0; i < n; i += 4) {
    uint32_t part = n - i < 4 ? n - i : 4;
    store_up_to_4(dp + i, f4_mul(load_up_to_4(p + i, part), f4_sub(load_up_to_4(dp + i, part), mean)), part);
  }
}
