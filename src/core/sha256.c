/* sha256.c: see sha256.h. Sections 4.1.2, 4.2.2, 5.1.1, 5.3.3 and 6.2.2 of FIPS 180-4. */
#include "core/sha256.h"

#include <string.h>

#define BLOCK NK_SHA256_BLOCK

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static uint32_t big_endian(const uint8_t *b) {
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
}

/* One round. The caller turns the names of the eight variables instead of moving their values. */
#define ROUND(a, b, c, d, e, f, g, h, k, w)                                                           \
  do {                                                                                                \
    uint32_t sum = (h) + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((g) ^ ((e) & ((f) ^ (g)))) + (k) + (w); \
    (d) += sum;                                                                                       \
    (h) = sum + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (((a) & (b)) | ((c) & ((a) | (b))));        \
  } while (0)

#define EIGHT_ROUNDS(t)                                          \
  do {                                                           \
    ROUND(a, b, c, d, e, f, g, h, constants[(t)], w[(t)]);         \
    ROUND(h, a, b, c, d, e, f, g, constants[(t) + 1], w[(t) + 1]); \
    ROUND(g, h, a, b, c, d, e, f, constants[(t) + 2], w[(t) + 2]); \
    ROUND(f, g, h, a, b, c, d, e, constants[(t) + 3], w[(t) + 3]); \
    ROUND(e, f, g, h, a, b, c, d, constants[(t) + 4], w[(t) + 4]); \
    ROUND(d, e, f, g, h, a, b, c, constants[(t) + 5], w[(t) + 5]); \
    ROUND(c, d, e, f, g, h, a, b, constants[(t) + 6], w[(t) + 6]); \
    ROUND(b, c, d, e, f, g, h, a, constants[(t) + 7], w[(t) + 7]); \
  } while (0)

static void compress(uint32_t state[8], const uint8_t block[BLOCK]) {
  uint32_t w[64];
  for (unsigned t = 0; t < 16; t++) w[t] = big_endian(block + 4 * t);
  for (unsigned t = 16; t < 64; t++) {
    uint32_t x = w[t - 15], y = w[t - 2];
    w[t] = w[t - 16] + (turn(x, 7) ^ turn(x, 18) ^ x >> 3) + w[t - 7] + (turn(y, 17) ^ turn(y, 19) ^ y >> 10);
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
  for (unsigned t = 0; t < 64; t += 8) EIGHT_ROUNDS(t);
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

void nk_sha256_init(nk_sha256 *hash) {
  memset(hash, 0, sizeof *hash);
  /* The first 32 bits of the fractional parts of the square roots of the first 8 primes. */
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(hash->state, start, sizeof start);
}

void nk_sha256_update(nk_sha256 *hash, const uint8_t *bytes, size_t length) {
  if (length == 0) return; /* bytes may be NULL then */
  size_t waiting = (size_t)(hash->length % BLOCK);
  hash->length += length;
  if (waiting > 0) {
    size_t take = BLOCK - waiting < length ? BLOCK - waiting : length;
    memcpy(hash->block + waiting, bytes, take);
    bytes += take;
    length -= take;
    if (waiting + take < BLOCK) return;
    compress(hash->state, hash->block);
  }
  for (; length >= BLOCK; bytes += BLOCK, length -= BLOCK) compress(hash->state, bytes);
  memcpy(hash->block, bytes, length);
}

void nk_sha256_final(const nk_sha256 *hash, uint8_t digest[32]) {
  uint32_t state[8];
  memcpy(state, hash->state, sizeof state);
  uint8_t block[BLOCK] = {0};
  size_t waiting = (size_t)(hash->length % BLOCK);
  memcpy(block, hash->block, waiting);
  block[waiting] = 0x80;
  if (waiting >= BLOCK - 8) { /* no room for the length behind the mark */
    compress(state, block);
    memset(block, 0, sizeof block);
  }
  uint64_t bits = hash->length * 8;
  for (unsigned i = 0; i < 8; i++) block[BLOCK - 1 - i] = (uint8_t)(bits >> (8 * i));
  compress(state, block);
  for (unsigned i = 0; i < 32; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
