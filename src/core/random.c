/* random.c: see random.h. */
#include "core/random.h"

#include <math.h>

#include "core/math.h"
#include "core/trig.h"

/* PCG32 with stream 54, the one of its authors' example, so that their numbers are a test. */
#define PCG_MULTIPLIER 6364136223846793005u
#define PCG_INCREMENT ((54u << 1) | 1u)

nk_random nk_random_seed(uint64_t seed) {
  nk_random random = {0};
  (void)nk_random_u32(&random);
  random.state += seed;
  (void)nk_random_u32(&random);
  return random;
}

uint64_t nk_random_mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

nk_random nk_random_stream(uint64_t seed, uint64_t stream) {
  return nk_random_seed(nk_random_mix(nk_random_mix(seed + 0x9e3779b97f4a7c15u) + stream));
}

uint32_t nk_random_u32(nk_random *random) {
  uint64_t old = random->state;
  random->state = old * PCG_MULTIPLIER + PCG_INCREMENT;
  uint32_t word = (uint32_t)(((old >> 18) ^ old) >> 27);
  uint32_t turn = (uint32_t)(old >> 59);
  return word >> turn | word << ((32 - turn) & 31);
}

double nk_random_f64(nk_random *random) {
  uint64_t high = nk_random_u32(random), low = nk_random_u32(random);
  return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

uint32_t nk_random_below(nk_random *random, uint32_t n) {
  /* The high half of a product is even but for the first 2^32 mod n values of the low half: those are drawn again. */
  uint32_t uneven = (0u - n) % n;
  uint64_t product;
  do product = (uint64_t)nk_random_u32(random) * n;
  while ((uint32_t)product < uneven);
  return (uint32_t)(product >> 32);
}

double nk_random_normal(nk_random *random) {
  double radius = sqrt(-2 * nk_log_f64(1 - nk_random_f64(random))); /* of a number in (0, 1]: never infinite */
  double sine, cosine;
  nk_sincos_f64(6.283185307179586 * nk_random_f64(random), &sine, &cosine);
  return radius * cosine;
}
