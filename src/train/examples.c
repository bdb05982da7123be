/* examples.c: see examples.h. */
#include "train/examples.h"

#include <stdlib.h>
#include <string.h>

#include "train/order.h"

void nk_examples_init(nk_examples *examples, uint32_t vocab, uint32_t context) {
  *examples = (nk_examples){.vocab = vocab, .context = context};
  nk_sha256_init(&examples->hash);
}

void nk_examples_free(nk_examples *examples) {
  free(examples->ids);
  free(examples->labels);
  free(examples->starts);
  free(examples->scored);
  nk_examples_init(examples, examples->vocab, examples->context);
}

/* ---- Growth -------------------------------------------------------------------------------------------------------- */

/* `memory` with room for `count` items of `bytes` each, or NULL and it stays as it is. */
static void *resized(void *memory, uint64_t count, size_t bytes) {
  return count > SIZE_MAX / bytes ? NULL : realloc(memory, (size_t)count * bytes);
}

static bool resize_words(int32_t **words, uint64_t count) {
  int32_t *moved = resized(*words, count, sizeof **words);
  if (moved != NULL) *words = moved;
  return moved != NULL;
}

/* Half more than before, so that appending one by one copies each token a bounded number of times. The room is only told
   when both arrays have it. */
static bool grow(nk_examples *e, uint32_t tokens) {
  uint64_t needed = e->counts.tokens + tokens;
  if (needed > e->room_tokens) {
    uint64_t room = needed + needed / 2 + 256;
    if (!resize_words(&e->ids, room) || !resize_words(&e->labels, room)) return false;
    e->room_tokens = room;
  }
  if (e->n == e->room) {
    uint32_t room = e->room + e->room / 2 + 16;
    uint64_t *starts = resized(e->starts, (uint64_t)room + 1, sizeof *starts);
    if (starts == NULL) return false;
    e->starts = starts;
    uint32_t *scored = resized(e->scored, room, sizeof *scored);
    if (scored == NULL) return false;
    e->scored = scored;
    e->room = room;
  }
  return true;
}

/* ---- Appending ----------------------------------------------------------------------------------------------------- */

static nk_status check_tokens(const nk_examples *e, const int32_t *ids, const int32_t *labels, uint32_t n,
                              nk_error *error) {
  for (uint32_t i = 0; i < n; i++) {
    if (ids[i] < 0 || (uint32_t)ids[i] >= e->vocab) {
      return nk_fail(error, NK_STATUS_DATA, "example %u has the id %d at position %u; allowed are 0 to %u",
                     e->counts.given + 1, ids[i], i, e->vocab - 1);
    }
    if (labels[i] != NK_LABEL_NONE && (labels[i] < 0 || (uint32_t)labels[i] >= e->vocab)) {
      return nk_fail(error, NK_STATUS_DATA,
                     "example %u has the label %d at position %u; allowed are 0 to %u, and %d where nothing is scored",
                     e->counts.given + 1, labels[i], i, e->vocab - 1, NK_LABEL_NONE);
    }
  }
  return NK_STATUS_OK;
}

static void hash_words(nk_sha256 *hash, const int32_t *words, uint32_t n) {
  uint8_t bytes[256];
  for (uint32_t done = 0; done < n;) {
    uint32_t some = n - done < sizeof bytes / 4 ? n - done : (uint32_t)(sizeof bytes / 4);
    for (uint32_t i = 0; i < some; i++) {
      uint32_t word = (uint32_t)words[done + i];
      for (uint32_t b = 0; b < 4; b++) bytes[4 * i + b] = (uint8_t)(word >> (8 * b));
    }
    nk_sha256_update(hash, bytes, (size_t)some * 4);
    done += some;
  }
}

nk_status nk_examples_add(nk_examples *e, const int32_t *ids, const int32_t *labels, uint32_t n, nk_error *error) {
  if (e->counts.given == NK_EXAMPLES_MAX) {
    return nk_fail_hint(error, NK_STATUS_DATA, "Take a part of them.", "there are more than %u examples", NK_EXAMPLES_MAX);
  }
  nk_status status = check_tokens(e, ids, labels, n, error);
  if (status != NK_STATUS_OK) return status;
  uint32_t kept = n < e->context ? n : e->context, scored = 0;
  for (uint32_t i = 1; i < kept; i++) scored += labels[i] != NK_LABEL_NONE;
  if (scored > 0 && !grow(e, kept)) {
    return nk_fail_hint(error, NK_STATUS_MEMORY, "Take fewer or shorter examples.",
                        "no memory for example %u of %u tokens, after %llu tokens", e->counts.given + 1, kept,
                        (unsigned long long)e->counts.tokens);
  }
  e->counts.given++;
  e->counts.cut += kept < n;
  e->counts.unscored += scored == 0;
  if (scored == 0) return NK_STATUS_OK;
  memcpy(e->ids + e->counts.tokens, ids, (size_t)kept * sizeof *ids);
  memcpy(e->labels + e->counts.tokens, labels, (size_t)kept * sizeof *labels);
  e->scored[e->n] = scored;
  e->starts[e->n++] = e->counts.tokens;
  e->counts.tokens += kept;
  e->starts[e->n] = e->counts.tokens;
  e->counts.scored += scored;
  if (kept > e->counts.longest) e->counts.longest = kept;
  const int32_t length = (int32_t)kept;
  hash_words(&e->hash, &length, 1);
  hash_words(&e->hash, ids, kept);
  hash_words(&e->hash, labels, kept);
  return NK_STATUS_OK;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

nk_example nk_examples_at(const nk_examples *e, uint32_t i) {
  return (nk_example){e->ids + e->starts[i], e->labels + e->starts[i], (uint32_t)(e->starts[i + 1] - e->starts[i]),
                      e->scored[i]};
}

nk_status nk_examples_check(const nk_examples *e, nk_error *error) {
  if (e->n > 0) return NK_STATUS_OK;
  if (e->counts.given == 0) return nk_fail(error, NK_STATUS_DATA, "there are no examples");
  return nk_fail_hint(error, NK_STATUS_DATA, "Each needs an answer within the context; shorten them, or take a larger one.",
                      "none of the %u examples has anything to score (%u of them were cut to the context of %u tokens)",
                      e->counts.given, e->counts.cut, e->context);
}

void nk_examples_hash(const nk_examples *e, uint8_t digest[32]) { nk_sha256_final(&e->hash, digest); }

/* Selection sampling (Knuth, algorithm S): every set of `held` is as likely, and both parts come out in order. */
nk_status nk_examples_split(const nk_examples *e, uint32_t held, bool random, uint64_t seed, uint32_t *items,
                            nk_error *error) {
  if (held >= e->n) {
    return nk_fail_hint(error, NK_STATUS_DATA, "Hold fewer out, or bring more examples.",
                        "%u of %u examples are to be held out, which leaves none to learn from", held, e->n);
  }
  nk_random generator = nk_random_stream(seed, NK_TRAIN_STREAM_HELD_OUT);
  uint32_t trained = 0, taken = 0;
  for (uint32_t i = 0; i < e->n; i++) {
    uint32_t wanted = held - taken, left = e->n - i;
    if (random ? nk_random_below(&generator, left) < wanted : left <= wanted)
      items[e->n - held + taken++] = i;
    else
      items[trained++] = i;
  }
  return NK_STATUS_OK;
}
