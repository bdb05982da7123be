/*
 * sha256.h: SHA-256 over a stream (FIPS 180-4). The state is a plain value: copy it to fork a stream. Up to 2^61 bytes.
 */
#ifndef NOOK_CORE_SHA256_H
#define NOOK_CORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define NK_SHA256_BLOCK 64u

typedef struct nk_sha256 {
  uint32_t state[8];
  uint64_t length;                /* bytes so far */
  uint8_t block[NK_SHA256_BLOCK]; /* the first length % 64 are waiting */
} nk_sha256;

void nk_sha256_init(nk_sha256 *hash);
void nk_sha256_update(nk_sha256 *hash, const uint8_t *bytes, size_t length);
/* The digest of what has passed so far; the stream may go on. */
void nk_sha256_final(const nk_sha256 *hash, uint8_t digest[32]);

#endif
