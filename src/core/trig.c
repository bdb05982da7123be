/* trig.c: see trig.h. */
#include "core/trig.h"

#include <stdint.h>

/* π/2 = high + middle + low; high and middle have 33 significant bits, so that n × each is exact for n < 2^20. */
static const double HALF_PI_HIGH = 0x1.921fb544p+0;
static const double HALF_PI_MIDDLE = 0x1.0b4611a6p-34;
static const double HALF_PI_LOW = 0x1.3198a2e037073p-69;
static const double TWO_OVER_PI = 0x1.45f306dc9c883p-1;

/* sin x on [-π/4, π/4]: x - x³/3! + … - x^15/15!, rest below 2^-55 relative. */
static double sine_polynomial(double x) {
  double z = x * x;
  double p = -1.0 / 1307674368000.0;
  p = p * z + 1.0 / 6227020800.0;
  p = p * z - 1.0 / 39916800.0;
  p = p * z + 1.0 / 362880.0;
  p = p * z - 1.0 / 5040.0;
  p = p * z + 1.0 / 120.0;
  p = p * z - 1.0 / 6.0;
  return x + x * (z * p);
}

/* cos x on [-π/4, π/4]: 1 - x²/2! + … - x^14/14! + x^16/16!. */
static double cosine_polynomial(double x) {
  double z = x * x;
  double p = 1.0 / 20922789888000.0;
  p = p * z - 1.0 / 87178291200.0;
  p = p * z + 1.0 / 479001600.0;
  p = p * z - 1.0 / 3628800.0;
  p = p * z + 1.0 / 40320.0;
  p = p * z - 1.0 / 720.0;
  p = p * z + 1.0 / 24.0;
  p = p * z - 1.0 / 2.0;
  return 1.0 + z * p;
}

void nk_sincos_f64(double x, double *sine, double *cosine) {
  if (!(x >= -0x1p30 && x <= 0x1p30)) { /* out of range, NaN too: a defined answer rather than a wild conversion */
    *sine = 0.0;
    *cosine = 1.0;
    return;
  }
  double turns = x * TWO_OVER_PI;
  int64_t n = (int64_t)(turns + (turns >= 0 ? 0.5 : -0.5));
  double quarter = (double)n;
  double r = ((x - quarter * HALF_PI_HIGH) - quarter * HALF_PI_MIDDLE) - quarter * HALF_PI_LOW;
  double s = sine_polynomial(r), c = cosine_polynomial(r);
  switch ((unsigned)(n & 3)) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s; break;
  }
}
