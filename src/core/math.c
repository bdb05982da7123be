/* math.c: see math.h. */
#include "core/math.h"

#include <stdint.h>
#include <string.h>

/* ln 2 in two parts; the first has 32 significant bits, so that k × it is exact for every exponent k. */
static const double LN2_HIGH = 0x1.62e42feep-1;
static const double LN2_LOW = 0x1.a39ef35793c76p-33;
static const double ONE_OVER_LN2 = 0x1.71547652b82fep+0;

static uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static double from_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* 2^k for a normal result. */
static double power_of_2(int k) { return from_bits((uint64_t)(k + 1023) << 52); }

/*
 * x = k ln 2 + r with |r| <= ln 2 / 2, e^x = 2^k e^r, and e^r by its Taylor series up to r^13 / 13! (the rest is below
 * 2^-57). r is kept as high + low, since the rounding of one double would cost a whole unit at large x.
 */
double nk_exp_f64(double x) {
  if (!(x == x)) return x;
  if (x > 709.79) return from_bits(0x7ff0000000000000u);
  if (x < -745.14) return 0.0;
  double scaled = x * ONE_OVER_LN2;
  int k = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  double high = x - (double)k * LN2_HIGH, low = (double)k * LN2_LOW;
  double r = high - low;
  low = (high - r) - low; /* what r lost */
  /* The series from 1/2! on in three groups of four terms, which don't wait for each other as a chain of 12 steps would. */
  double r2 = r * r, r4 = r2 * r2;
  double first = (0.5 + r * (1.0 / 6.0)) + r2 * (1.0 / 24.0 + r * (1.0 / 120.0));
  double second = (1.0 / 720.0 + r * (1.0 / 5040.0)) + r2 * (1.0 / 40320.0 + r * (1.0 / 362880.0));
  double third = (1.0 / 3628800.0 + r * (1.0 / 39916800.0)) + r2 * (1.0 / 479001600.0 + r * (1.0 / 6227020800.0));
  double p = first + r4 * (second + r4 * third);
  /* e^(r + low) = 1 + r + (r² p + low (1 + r)), smallest first. */
  double y = 1.0 + (r + (r2 * p + (low + low * r)));
  /* Two steps, so that neither factor leaves the normal range; only the last product rounds, and only where it is
   * subnormal. */
  if (k > 1023) return y * power_of_2(1023) * power_of_2(k - 1023);
  if (k < -1022) return y * power_of_2(k + 1022) * power_of_2(-1022);
  return y * power_of_2(k);
}

/*
 * x = 2^k (1 + f) with 1 + f in [√½, √2). With s = f / (2 + f), ln(1 + f) = 2 artanh(s) = 2s + s R, R = 2s²/3 + 2s⁴/5 + ...
 * Since 2s = f - s f and s f = f²/2 - s f²/2, the sum is f - (f²/2 - s (f²/2 + R)): f is exact, and all that rounds is
 * small.
 */
double nk_log_f64(double x) {
  uint64_t bits = bits_of(x);
  int k = 0;
  if (!(x == x) || bits == 0x7ff0000000000000u) return x;
  if (!(x > 0)) return x < 0 ? from_bits(0x7ff8000000000000u) : from_bits(0xfff0000000000000u);
  if (bits >> 52 == 0) { /* subnormal */
    x *= 0x1p54;
    k = -54;
    bits = bits_of(x);
  }
  k += (int)(bits >> 52) - 1023;
  double m = from_bits((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    k++;
  }
  double f = m - 1.0, s = f / (2.0 + f), z = s * s;
  double q = 2.0 / 25.0;
  q = q * z + 2.0 / 23.0;
  q = q * z + 2.0 / 21.0;
  q = q * z + 2.0 / 19.0;
  q = q * z + 2.0 / 17.0;
  q = q * z + 2.0 / 15.0;
  q = q * z + 2.0 / 13.0;
  q = q * z + 2.0 / 11.0;
  q = q * z + 2.0 / 9.0;
  q = q * z + 2.0 / 7.0;
  q = q * z + 2.0 / 5.0;
  q = q * z + 2.0 / 3.0;
  double half = 0.5 * f * f;
  return (double)k * LN2_HIGH - ((half - (s * (half + z * q) + (double)k * LN2_LOW)) - f);
}
