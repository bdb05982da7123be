/* adamw.c: see adamw.h. */
#include "train/adamw.h"

#include <math.h>

nk_adamw_options nk_adamw_defaults(void) {
  return (nk_adamw_options){.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
}

double nk_power(double base, uint64_t exponent) {
  double power = 1;
  for (double square = base; exponent > 0; exponent >>= 1, square *= square) {
    if (exponent & 1) power *= square;
  }
  return power;
}

nk_adamw_factors nk_adamw_factors_at(const nk_adamw_options *o, double lr, uint64_t t) {
  return (nk_adamw_factors){
      .keep = (float)(1 - lr * o->weight_decay),
      .beta1_rest = (float)(1 - o->beta1),
      .beta2 = (float)o->beta2,
      .beta2_rest = (float)(1 - o->beta2),
      .correction2 = (float)sqrt(1 - nk_power(o->beta2, t)),
      .epsilon = (float)o->epsilon,
      .rate = (float)-(lr / (1 - nk_power(o->beta1, t))),
  };
}

void nk_adamw_step(const nk_adamw_factors *factors, float *restrict values, const float *restrict gradient,
                   float *restrict m, float *restrict v, uint64_t n) {
  const nk_adamw_factors f = *factors;
  for (uint64_t i = 0; i < n; i++) {
    float g = gradient[i];
    m[i] = m[i] + f.beta1_rest * (g - m[i]);
    v[i] = v[i] * f.beta2 + f.beta2_rest * g * g;
    float divisor = sqrtf(v[i]) / f.correction2 + f.epsilon;
    values[i] = values[i] * f.keep + f.rate * m[i] / divisor;
  }
}

double nk_gradient_norm(const float *gradient, uint64_t n) {
  double lanes[8] = {0};
  uint64_t whole = n / 8 * 8;
  for (uint64_t i = 0; i < whole; i += 8) {
    for (uint64_t lane = 0; lane < 8; lane++) lanes[lane] += (double)gradient[i + lane] * (double)gradient[i + lane];
  }
  for (uint64_t i = whole; i < n; i++) lanes[i - whole] += (double)gradient[i] * (double)gradient[i];
  return sqrt(((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7])));
}

double nk_clip_factor(double norm, double limit) {
  if (!(limit > 0)) return 1;
  double factor = limit / (norm + 1e-6);
  return factor < 1 ? factor : 1;
}

void nk_gradient_scale(float *gradient, uint64_t n, double factor) {
  float narrow = (float)factor;
  for (uint64_t i = 0; i < n; i++) gradient[i] *= narrow;
}
