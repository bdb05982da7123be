/* rope.c: see rope.h. */
#include "run/rope.h"

#include <math.h>

#include "core/math.h"
#include "core/trig.h"

/* The dimension (a pair's index) that turns `rotations` times over `original` positions. */
static double yarn_dimension(const nk_rope_config *rope, uint32_t n_rot, double rotations) {
  const double two_pi = 6.283185307179586;
  return n_rot * nk_log_f64(rope->original / (rotations * two_pi)) / (2.0 * nk_log_f64((double)rope->base));
}

void nk_rope_frequencies(float *frequencies, uint32_t n_rot, const nk_rope_config *rope, const float *factors) {
  double log_base = nk_log_f64((double)rope->base);
  float low = 0.0f, high = 0.0f; /* where YaRN's ramp begins and ends */
  if (rope->yarn) {
    double begin = floor(yarn_dimension(rope, n_rot, (double)rope->beta_fast));
    double end = ceil(yarn_dimension(rope, n_rot, (double)rope->beta_slow));
    low = (float)(begin < 0.0 ? 0.0 : begin);
    high = (float)(end > n_rot - 1.0 ? n_rot - 1.0 : end);
    if (high - low < 0.001f) high = low + 0.001f;
  }
  for (uint32_t i = 0; i < n_rot / 2; i++) {
    float frequency = (float)nk_exp_f64(-log_base * (2.0 * i / n_rot));
    if (factors != NULL) frequency = frequency / factors[i];
    float scaled = frequency / rope->scale;
    if (rope->yarn) {
      float ramp = ((float)i - low) / (high - low);
      ramp = ramp < 0.0f ? 0.0f : ramp > 1.0f ? 1.0f : ramp;
      scaled = scaled * ramp + frequency * (1.0f - ramp);
    }
    frequencies[i] = scaled;
  }
}

void nk_rope_turns(float *turns, const float *frequencies, uint32_t n_rot, uint32_t position, float factor) {
  for (uint32_t i = 0; i < n_rot / 2; i++) {
    double sine, cosine;
    nk_sincos_f64((double)((float)position * frequencies[i]), &sine, &cosine);
    turns[2 * i] = (float)cosine * factor;
    turns[2 * i + 1] = (float)sine * factor;
  }
}

/* u = a cos - b sin, v = b cos + a sin; with -sin, the transposed turn. */
static void turn(float *x, const float *turns, uint32_t n_rot, nk_rope_pairs pairs, float sign) {
  if (pairs == NK_ROPE_NONE) return;
  uint32_t half = n_rot / 2;
  for (uint32_t i = 0; i < half; i++) {
    float *a = pairs == NK_ROPE_ADJACENT ? &x[2 * i] : &x[i];
    float *b = pairs == NK_ROPE_ADJACENT ? &x[2 * i + 1] : &x[i + half];
    float cosine = turns[2 * i], sine = sign * turns[2 * i + 1];
    float u = *a * cosine - *b * sine, v = *b * cosine + *a * sine;
    *a = u;
    *b = v;
  }
}

void nk_rope_forward(float *x, const float *turns, uint32_t n_rot, nk_rope_pairs pairs) {
  turn(x, turns, n_rot, pairs, 1.0f);
}

void nk_rope_backward(float *dx, const float *turns, uint32_t n_rot, nk_rope_pairs pairs) {
  turn(dx, turns, n_rot, pairs, -1.0f);
}
