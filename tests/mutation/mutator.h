/*
 * mutator.h: seeded changes to the header and the metadata of a sound GGUF file, and truncations.
 *
 * A case is a function of (seed, name of the file, its number), so that it can be replayed alone. It is a list of splices
 * of the header (offset, bytes removed, bytes put in their place) and the number of bytes that the file keeps, so that the
 * same case can be written down in a line and applied elsewhere (tests/mutation/wasm.mjs).
 */
#ifndef NOOK_TESTS_MUTATOR_H
#define NOOK_TESTS_MUTATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUTATOR_SPLICES 64u
#define MUTATOR_POOL 8192u

/* What a number or a run of bytes in the header is. */
typedef enum field_kind {
  FIELD_MAGIC, FIELD_VERSION, FIELD_TENSORS, FIELD_PAIRS, /* the file's first 24 bytes */
  FIELD_KEY_LENGTH, FIELD_KEY, FIELD_TYPE, FIELD_ELEMENT_TYPE, FIELD_COUNT, FIELD_NUMBER, FIELD_FLOAT, FIELD_BOOL,
  FIELD_LENGTH, FIELD_STRING, /* of a value */
  FIELD_NAME_LENGTH, FIELD_NAME, FIELD_DIMENSIONS, FIELD_DIMENSION, FIELD_TENSOR_TYPE, FIELD_OFFSET, FIELD_PADDING,
  FIELD_KINDS
} field_kind;

typedef struct field {
  field_kind kind;
  uint32_t owner; /* index of the pair or the tensor */
  uint64_t offset;
  uint32_t bytes;
} field;

/* Where something begins and ends in the header: a pair or a tensor's entry. */
typedef struct extent {
  uint64_t begin, end;
} extent;

/* A sound file, taken apart. The bytes are the caller's. */
typedef struct anatomy {
  const uint8_t *bytes;
  uint64_t file_bytes, table_end, header_bytes; /* table_end: before the padding */
  field *fields;                                /* [n_fields] */
  uint32_t n_fields, room;
  uint32_t *of_kind;                  /* [n_fields] indexes of fields, by kind */
  uint32_t first[FIELD_KINDS + 1];    /* of_kind[first[k] .. first[k + 1]) */
  extent *pairs, *tensors;            /* [n_pairs], [n_tensors] */
  uint32_t n_pairs, n_tensors;
  uint64_t data_end; /* of the last tensor in the file: a shorter file cannot be a correct load */
} anatomy;

/* False with a sentence in *why: not a sound GGUF v2 or v3 file. */
bool anatomy_open(anatomy *a, const uint8_t *bytes, uint64_t file_bytes, const char **why);
void anatomy_close(anatomy *a);

typedef struct splice {
  uint64_t offset;
  uint32_t removed, added, at; /* at: of the added bytes in the pool */
} splice;

typedef struct mutation {
  splice splices[MUTATOR_SPLICES]; /* ascending, not overlapping, all in the header */
  uint32_t n;
  uint64_t bytes; /* of the file that remain, after the splices */
  bool cut;
  char what[400]; /* in words */
  uint8_t pool[MUTATOR_POOL];
  uint32_t used;
} mutation;

uint64_t mutator_seed(uint64_t seed, const char *name, uint64_t number);
void mutator_cut(mutation *m, const anatomy *a, uint64_t seed);
void mutator_change(mutation *m, const anatomy *a, uint64_t seed);
/* The header with the splices applied, malloc'd; NULL: out of memory. */
uint8_t *mutator_apply(const mutation *m, const anatomy *a, uint64_t *length);

#endif
