/* test_sha256.c: the vectors of FIPS 180-4's examples, and that chunking never matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nook.h"

static void hex_of(const nook_sha256 *hash, char hex[65]) {
  uint8_t digest[32];
  nook_sha256_digest(hash, digest);
  for (int i = 0; i < 32; i++) sprintf(hex + 2 * i, "%02x", digest[i]);
}

static void assert_hash(const void *bytes, size_t length, const char *wanted) {
  nook_sha256 *hash = nook_sha256_create();
  assert_non_null(hash);
  char hex[65];
  nook_sha256_update(hash, bytes, length);
  hex_of(hash, hex);
  assert_string_equal(hex, wanted);
  nook_sha256_destroy(hash);
}

static void published_vectors_come_out(void **state) {
  (void)state;
  assert_hash(NULL, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assert_hash("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  assert_hash(two, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const char *four =
      "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
  assert_hash(four, 112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
}

static void a_million_times_the_letter_a(void **state) {
  (void)state;
  nook_sha256 *hash = nook_sha256_create();
  assert_non_null(hash);
  uint8_t piece[1000];
  memset(piece, 'a', sizeof piece);
  for (int i = 0; i < 1000; i++) nook_sha256_update(hash, piece, sizeof piece);
  char hex[65];
  hex_of(hash, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  nook_sha256_destroy(hash);
}

/* Digests of the first n bytes of 0, 1, 2, ..., hashed together: lengths around the padding's turning points, one expected
   value that Python's hashlib gave: sha256(b"".join(sha256(bytes(range(n))).digest() for n in range(200))). */
static void every_length_around_a_block_pads_rightly(void **state) {
  (void)state;
  uint8_t bytes[200], digest[32];
  for (unsigned i = 0; i < 200; i++) bytes[i] = (uint8_t)i;
  nook_sha256 *all = nook_sha256_create();
  assert_non_null(all);
  for (size_t n = 0; n < 200; n++) {
    nook_sha256 *hash = nook_sha256_create();
    assert_non_null(hash);
    nook_sha256_update(hash, bytes, n);
    nook_sha256_digest(hash, digest);
    nook_sha256_update(all, digest, 32);
    nook_sha256_destroy(hash);
  }
  char hex[65];
  hex_of(all, hex);
  assert_string_equal(hex, "ba7b0fcea7d10c06b855b43d2b4dce1e3e842fff6be0acefb0faf4f2dd05bb47");
  nook_sha256_destroy(all);
}

static void chunks_of_any_size_give_the_same_digest_and_a_digest_does_not_disturb(void **state) {
  (void)state;
  enum { N = 5000 };
  uint8_t bytes[N];
  uint32_t seed = 1;
  for (int i = 0; i < N; i++) bytes[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
  nook_sha256 *whole = nook_sha256_create();
  assert_non_null(whole);
  nook_sha256_update(whole, bytes, N);
  char wanted[65], hex[65];
  hex_of(whole, wanted);
  nook_sha256_destroy(whole);
  for (size_t step = 1; step < 200; step++) {
    nook_sha256 *hash = nook_sha256_create();
    assert_non_null(hash);
    size_t at = 0;
    while (at < N) {
      size_t take = step + (at / 7) % 3;
      if (take > N - at) take = N - at;
      nook_sha256_update(hash, bytes + at, take);
      nook_sha256_update(hash, bytes, 0);
      if (step % 16 == 1) hex_of(hash, hex);
      at += take;
    }
    hex_of(hash, hex);
    assert_string_equal(hex, wanted);
    hex_of(hash, hex);
    assert_string_equal(hex, wanted);
    nook_sha256_destroy(hash);
  }
  nook_sha256_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_vectors_come_out),
      cmocka_unit_test(a_million_times_the_letter_a),
      cmocka_unit_test(every_length_around_a_block_pads_rightly),
      cmocka_unit_test(chunks_of_any_size_give_the_same_digest_and_a_digest_does_not_disturb),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
