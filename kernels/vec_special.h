/*
 * vec_special.h: e^x and erfc in single precision, over four-lane operations. A test that compiles the rest with another
 * real type brings its own.
 */

/*
 * e^x = 2^n e^r, n = nearest(x / ln 2), |r| <= ln2 / 2, e^r by Taylor's polynomial of degree 7 (rest below 6e-9 relative).
 * ln 2 in two parts: 0.693359375 has 9 significant bits, so n times it is exact.
 */
static inline f4 f4_exp(f4 x) {
  const f4 lowest = f4_splat(-87.3f), highest = f4_splat(88.3f);
  f4 bounded = f4_ceil_at(f4_floor_at(x, lowest), highest);
  f4 n = f4_nearest(f4_mul(bounded, f4_splat(1.44269504088896341f)));
  f4 r = f4_sub(bounded, f4_mul(n, f4_splat(0.693359375f)));
  r = f4_sub(r, f4_mul(n, f4_splat(-2.12194440054690583e-4f)));
  f4 p = f4_splat(1.0f / 5040.0f);
  p = f4_add(f4_mul(p, r), f4_splat(1.0f / 720.0f));
  p = f4_add(f4_mul(p, r), f4_splat(1.0f / 120.0f));
  p = f4_add(f4_mul(p, r), f4_splat(1.0f / 24.0f));
  p = f4_add(f4_mul(p, r), f4_splat(1.0f / 6.0f));
  p = f4_add(f4_mul(p, r), f4_splat(0.5f));
  p = f4_add(f4_mul(f4_mul(p, r), r), r);
  p = f4_add(p, f4_splat(1.0f));
  return f4_zero_below(f4_scale2(p, n), x, lowest);
}

/*
 * erfc(z) / 2 for z >= 0. With t = 1 / (1 + z / 2), erfc(z) = t e^(P(t) - z²); P is the polynomial of degree 9 through the
 * exact values at Chebyshev's nodes of [0.1, 1], off by less than 1e-7.
 */
static inline f4 f4_half_erfc(f4 z) {
  f4 t = f4_div(f4_splat(1.0f), f4_add(f4_splat(1.0f), f4_mul(f4_splat(0.5f), z)));
  f4 p = f4_splat(0.1804211602f);
  p = f4_add(f4_mul(p, t), f4_splat(-0.8679362918f));
  p = f4_add(f4_mul(p, t), f4_splat(1.58111057f));
  p = f4_add(f4_mul(p, t), f4_splat(-1.237846376f));
  p = f4_add(f4_mul(p, t), f4_splat(0.3466895215f));
  p = f4_add(f4_mul(p, t), f4_splat(-0.2134825886f));
  p = f4_add(f4_mul(p, t), f4_splat(0.1032236888f));
  p = f4_add(f4_mul(p, t), f4_splat(0.3732609934f));
  p = f4_add(f4_mul(p, t), f4_splat(1.000072417f));
  p = f4_add(f4_mul(p, t), f4_splat(-1.265513003f));
  return f4_mul(f4_mul(f4_splat(0.5f), t), f4_exp(f4_sub(p, f4_mul(z, z))));
}
