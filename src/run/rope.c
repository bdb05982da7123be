/* rope.c: see rope.h. */
#include "run/rope.h"

#include "core/math.h"
#include "core/trig.h"

void nk_rope_frequencies(float *frequencies, uint32_t n_rot, float base, float scale, const float *factors) {
  double log_base = nk_log_f64((double)base);
  for (uint32_t i = 0; i < n_rot / 2; i++) {
    float frequency = (float)nk_exp_f64(-log_base * (2.0 * i / n_rot));
    if (factors != NULL) frequency = frequency / factors[i];
    frequencies[i] = frequency / scale;
  }
}

void nk_rope_turns(float *turns, const float *frequencies, uint32_t n_rot, uint32_t position) {
  for (uint32_t i = 0; i < n_rot / 2; i++) {
    double sine, cosine;
    nk_sincos_f64((double)((float)position * frequencies[i]), &sine, &cosine);
    turns[2 * i] = (float)cosine;
    turns[2 * i + 1] = (float)sine;
  }
}

void nk_rope_forward(float *x, const float *turns, uint32_t n_rot, nk_rope_pairs pairs) {
  if (pairs == NK_ROPE_NONE) return;
  uint32_t half = n_rot / 2;
  for (uint32_t i = 0; i < half; i++) {
    float *a = pairs == NK_ROPE_ADJACENT ? &x[2 * i] : &x[i];
    float *b = pairs == NK_ROPE_ADJACENT ? &x[2 * i + 1] : &x[i + half];
    float cosine = turns[2 * i], sine = turns[2 * i + 1];
    float u = *a * cosine - *b * sine, v = *b * cosine + *a * sine;
    *a = u;
    *b = v;
  }
}
