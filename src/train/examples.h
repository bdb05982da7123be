/*
 * examples.h: the tokenized examples that a training learns from, or measures.
 *
 * Example  ids [n] and labels [n]: the label at i is the token that is wanted AT i, or NK_LABEL_NONE (as in Hugging Face's
 *          files: the loss shifts by one, so the hidden state at i - 1 answers for it). Nothing stands before the first
 *          token, so its label is never scored.
 * Hostile  Examples come from outside: every id and label is checked against the vocabulary, sums are u64, and a failure
 *          leaves the store as it was.
 * Cut      What does not fit the context is cut at its end and counted; an example with nothing to score is counted and not
 *          kept. The hash is of what is kept, in its order: with another context or file it is another.
 */
#ifndef NOOK_TRAIN_EXAMPLES_H
#define NOOK_TRAIN_EXAMPLES_H

#include "core/sha256.h"
#include "core/status.h"

#define NK_LABEL_NONE (-100)
#define NK_EXAMPLES_MAX (1u << 22)

typedef struct nk_example_counts {
  uint32_t given;    /* appended without an error */
  uint32_t cut;      /* of these: longer than the context */
  uint32_t unscored; /* of these: without anything to score (perhaps since it was cut off); not kept */
  uint64_t tokens;   /* of the kept ones */
  uint64_t scored;   /* labels of the kept ones that are scored */
  uint32_t longest;  /* tokens of the longest kept one */
} nk_example_counts;

typedef struct nk_examples {
  uint32_t vocab;
  uint32_t context;  /* tokens of an example at most; what an adapter puts before them is already taken off */
  int32_t *ids;      /* [counts.tokens] */
  int32_t *labels;   /* [counts.tokens] */
  uint64_t *starts;  /* [n + 1] in ids; NULL as long as n is 0 */
  uint32_t *scored;  /* [n]: labels of each that are scored, never 0 */
  uint32_t n;        /* kept */
  uint64_t room_tokens;
  uint32_t room;     /* examples that starts and scored have memory for */
  nk_example_counts counts;
  nk_sha256 hash;
} nk_examples;

typedef struct nk_example {
  const int32_t *ids, *labels; /* [n], into the store until the next append */
  uint32_t n, scored;
} nk_example;

/* An empty store. vocab > 0, context > 1. The owner calls nk_examples_free, which leaves it empty. */
void nk_examples_init(nk_examples *examples, uint32_t vocab, uint32_t context);
void nk_examples_free(nk_examples *examples);

/* Appends one: ids [n], labels [n]. DATA for an id or label that is none of the vocabulary (the sentence names the example,
   counted from 1, and the position) and for too many; MEMORY. */
nk_status nk_examples_add(nk_examples *examples, const int32_t *ids, const int32_t *labels, uint32_t n, nk_error *error);

/* i < n */
nk_example nk_examples_at(const nk_examples *examples, uint32_t i);
/* DATA, with what became of the examples in a sentence, when none is kept. */
nk_status nk_examples_check(const nk_examples *examples, nk_error *error);
/* SHA-256 of the kept examples: each its length, ids and labels as little-endian words. */
void nk_examples_hash(const nk_examples *examples, uint8_t digest[32]);

/* Holds `held` of them out: items [n] becomes the others, ascending, and then the held ones, ascending. random: drawn by
   the seed; else the last, which are the newest where examples are dated. DATA when none would be left to learn from. */
nk_status nk_examples_split(const nk_examples *examples, uint32_t held, bool random, uint64_t seed, uint32_t *items,
                            nk_error *error);

#endif
