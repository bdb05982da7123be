/*
 * vec_activations.h: the activations of vec.h and their derivatives. Each is a function that gives act(g) and act'(g): the
 * forward loop leaves the slope to the compiler, which drops it, so that both directions see one formula.
 */

typedef struct activation { f4 value, slope; } activation;

/* g σ(z) at z(g) of slope dz, σ(z) = 1 / (1 + e^-z): slope σ + g σ (1 - σ) dz, 1 - σ as e^-z σ, which cancels nothing. */
static inline activation gated(f4 g, f4 z, f4 dz) {
  const f4 one = f4_splat(1.0f);
  f4 e = f4_exp(f4_sub(f4_splat(0.0f), z)), denominator = f4_add(one, e);
  f4 value = f4_div(g, denominator), sigma = f4_div(one, denominator);
  return (activation){value, f4_add(sigma, f4_mul(f4_mul(value, f4_mul(e, sigma)), dz))};
}

static inline activation silu(f4 g) { return gated(g, g, f4_splat(1.0f)); }

/*
 * 0.5 g (1 + tanh v) = g / (1 + e^-2v): no cancellation for negative g. 1.5957691216 = 2 sqrt(2/π). Beyond |g| = 100 the
 * gate is shut or open; there g² is bounded, so that no slope is 0 · inf.
 */
static inline activation gelu_tanh(f4 g) {
  const f4 two_roots = f4_splat(1.5957691216057308f);
  f4 square = f4_mul(g, g), cube = f4_mul(square, g);
  f4 z = f4_mul(two_roots, f4_add(g, f4_mul(f4_splat(0.044715f), cube)));
  f4 bounded = f4_mul(f4_splat(3 * 0.044715f), f4_ceil_at(square, f4_splat(1e4f)));
  return gated(g, z, f4_mul(two_roots, f4_add(f4_splat(1.0f), bounded)));
}

/*
 * The exact gelu: g Φ(g), Φ(g) = 1 - erfc(g / √2) / 2 (Hendrycks, Gimpel 2016). Both signs in one: max(g, 0) - |g|
 * erfc(z) / 2 with z = |g| / √2, without cancellation for negative g. Slope Φ + g φ(g), φ(g) = e^(-g²/2) / sqrt(2π).
 */
static inline activation gelu_erf(f4 g) {
  const f4 zero = f4_splat(0.0f);
  f4 size = f4_floor_at(g, f4_sub(zero, g));
  f4 z = f4_mul(size, f4_splat(0.70710678118654752f));
  f4 tail = f4_half_erfc(z);
  f4 area = f4_add(tail, f4_zero_below(f4_sub(f4_splat(1.0f), f4_add(tail, tail)), g, zero));
  f4 density = f4_mul(f4_splat(0.39894228040143268f), f4_exp(f4_sub(zero, f4_mul(z, z))));
  return (activation){f4_sub(f4_floor_at(g, zero), f4_mul(size, tail)), f4_add(area, f4_mul(g, density))};
}

static inline activation relu(f4 g) {
  const f4 zero = f4_splat(0.0f);
  return (activation){f4_floor_at(g, zero), f4_zero_up_to(f4_splat(1.0f), g, zero)};
}

#define NK_VEC_ACTIVATION(name)                                                                                \
  static void name##_forward(nk_real *y, const nk_real *g, const nk_real *u, uint32_t n) {                     \
    for (uint32_t i = 0; i < n; i += 4) {                                                                      \
      uint32_t part = n - i < 4 ? n - i : 4;                                                                   \
      f4 a = name(load_up_to_4(g + i, part)).value;                                                            \
      store_up_to_4(y + i, u != NULL ? f4_mul(a, load_up_to_4(u + i, part)) : a, part);                        \
    }                                                                                                          \
  }                                                                                                            \
  static void name##_backward(nk_real *dg, nk_real *du, const nk_real *dy, const nk_real *g, const nk_real *u, \
                              uint32_t n) {                                                                    \
    for (uint32_t i = 0; i < n; i += 4) {                                                                      \
      uint32_t part = n - i < 4 ? n - i : 4;                                                                   \
      activation a = name(load_up_to_4(g + i, part));                                                          \
      f4 gradient = load_up_to_4(dy + i, part);                                                                \
      f4 gated_gradient = u != NULL ? f4_mul(gradient, load_up_to_4(u + i, part)) : gradient;                  \
      store_up_to_4(dg + i, f4_mul(gated_gradient, a.slope), part);                                            \
      if (du != NULL) store_up_to_4(du + i, f4_mul(gradient, a.value), part);                                  \
    }                                                                                                          \
  }

NK_VEC_ACTIVATION(silu)
NK_VEC_ACTIVATION(gelu_tanh)
NK_VEC_ACTIVATION(gelu_erf)
NK_VEC_ACTIVATION(relu)
