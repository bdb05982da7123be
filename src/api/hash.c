/* hash.c: SHA-256 through the public interface; see nook.h and core/sha256.h. */
#include <stdlib.h>

#include "core/sha256.h"
#include "nook.h"

struct nook_sha256 {
  nk_sha256 hash;
};

nook_sha256 *nook_sha256_create(void) {
  nook_sha256 *stream = malloc(sizeof *stream);
  if (stream != NULL) nk_sha256_init(&stream->hash);
  return stream;
}

void nook_sha256_update(nook_sha256 *stream, const uint8_t *bytes, size_t length) {
  nk_sha256_update(&stream->hash, bytes, length);
}

void nook_sha256_digest(const nook_sha256 *stream, uint8_t digest[32]) { nk_sha256_final(&stream->hash, digest); }

void nook_sha256_destroy(nook_sha256 *stream) { free(stream); }
