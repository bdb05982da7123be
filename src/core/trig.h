/*
 * trig.h: sine and cosine in float64 that give the same bits on every host (no host libm).
 *
 * Range |x| <= 2^30 (rotary angles are position × frequency <= position). Error below 2 units in the last place of float64
 * for |x| <= 2^20. Method: Cody-Waite reduction by π/2 in three parts, then the Taylor polynomials on [-π/4, π/4].
 */
#ifndef NOOK_CORE_TRIG_H
#define NOOK_CORE_TRIG_H

void nk_sincos_f64(double x, double *sine, double *cosine);

#endif
