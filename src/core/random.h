/*
 * random.h: random numbers that a seed fixes for good: the same in every build and on every host.
 *
 * Generator  PCG32 (XSH-RR 64/32, M. O'Neill 2014) with one fixed increment; the state is a plain value, copied to fork.
 * Streams    nk_random_stream starts elsewhere for each (seed, stream) by SplitMix64's finalizer (Steele, Lea, Flood 2014),
 *            so that what is drawn for an epoch or a step depends on its number alone: resuming needs no saved state.
 */
#ifndef NOOK_CORE_RANDOM_H
#define NOOK_CORE_RANDOM_H

#include <stdint.h>

/* The state between draws. */
typedef struct nk_random {
  uint64_t state;
} nk_random;

nk_random nk_random_seed(uint64_t seed);
/* One of 2^64 generators of that seed; another stream of it, or the same of another seed, starts at another state. */
nk_random nk_random_stream(uint64_t seed, uint64_t stream);

/* SplitMix64's finalizer: a bijection in which each bit of the input moves half of the output's; 0 stays 0. */
uint64_t nk_random_mix(uint64_t z);

uint32_t nk_random_u32(nk_random *random);
double nk_random_f64(nk_random *random);                   /* [0, 1), 53 bits, from two draws */
uint32_t nk_random_below(nk_random *random, uint32_t n);   /* [0, n), each as likely; n > 0. D. Lemire 2019 */
double nk_random_normal(nk_random *random);                /* mean 0, deviation 1; Box and Muller 1958; four draws */

#endif
