/*
 * math.h: exponential and logarithm in float64 that give the same bits on every host (no host libm).
 *
 * For sampling, log-probabilities and losses, where a last bit decides which token is drawn. Error below 1 unit in the last
 * place (tests compare with the host's libm over both ranges). Only + - * / are used, which IEEE 754 fixes; build with
 * -ffp-contract=off.
 */
#ifndef NOOK_CORE_MATH_H
#define NOOK_CORE_MATH_H

/* e^x. Infinity above 709.78, 0 below -745.13, NaN for NaN. */
double nk_exp_f64(double x);

/* The natural logarithm. -infinity for 0, NaN below 0 and for NaN, infinity for infinity. */
double nk_log_f64(double x);

#endif
