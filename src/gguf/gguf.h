/*
 * gguf.h: reads the header of a GGUF file (versions 2 and 3): key/value metadata and the table of tensors.
 *
 * Format   "GGUF", u32 version, u64 tensor count, u64 key/value count, the pairs, the tensor table, padding to
 *          general.alignment (default 32), then the tensor data. Little-endian. Strings are u64 length + bytes.
 * Memory   The reader works on bytes that the caller holds in one buffer; every string and array of the result points into
 *          that buffer, which must outlive it. The tables themselves are malloc'd here and freed by nk_gguf_free.
 * Hostile  Nothing in the file is trusted: counts are bounded by the bytes that are left, dimensions and products are
 *          checked in u64, tensors must lie inside the file and must not overlap, names must be unique. Limits below.
 * Split    A model in several files: each file has its own header; nk_gguf_parse reads one, model/load.c joins them.
 */
#ifndef NOOK_GGUF_GGUF_H
#define NOOK_GGUF_GGUF_H

#include "core/status.h"

#define NK_GGUF_MAX_PAIRS 65536u          /* key/value pairs in one file */
#define NK_GGUF_MAX_TENSORS 65536u        /* tensors in one file */
#define NK_GGUF_MAX_NAME 256u             /* bytes of a key or of a tensor's name */
#define NK_GGUF_MAX_STRING (1u << 26)     /* bytes of one string value: 64 MiB */
#define NK_GGUF_MAX_HEADER (1u << 28)     /* bytes of a whole header: 256 MiB */
#define NK_GGUF_MAX_DIMENSIONS 4u
#define NK_GGUF_MAX_DIMENSION (1ull << 31) /* elements along one dimension, exclusive */
#define NK_GGUF_MAX_ALIGNMENT 65536u

typedef enum nk_gguf_type {
  NK_GGUF_U8 = 0, NK_GGUF_I8 = 1, NK_GGUF_U16 = 2, NK_GGUF_I16 = 3, NK_GGUF_U32 = 4, NK_GGUF_I32 = 5, NK_GGUF_F32 = 6,
  NK_GGUF_BOOL = 7, NK_GGUF_STRING = 8, NK_GGUF_ARRAY = 9, NK_GGUF_U64 = 10, NK_GGUF_I64 = 11, NK_GGUF_F64 = 12,
} nk_gguf_type;

/* Bytes inside the header buffer; not NUL-terminated. */
typedef struct nk_text {
  const char *bytes;
  uint32_t length;
} nk_text;

typedef struct nk_gguf_pair {
  nk_text key;
  nk_gguf_type type;         /* NK_GGUF_ARRAY for arrays */
  nk_gguf_type element_type; /* of an array; else equal to type */
  uint64_t count;            /* elements of an array; 1 for a scalar */
  const uint8_t *value;      /* first byte of the value (of the first element of an array); a string's is its u64 length */
  uint32_t *strings;         /* array of strings: count + 1 offsets from `value` to each string's length field; else NULL */
} nk_gguf_pair;

typedef struct nk_gguf_tensor {
  nk_text name;
  uint32_t n_dimensions;                     /* 1..4 */
  uint64_t dimension[NK_GGUF_MAX_DIMENSIONS]; /* GGUF order: fastest first; unused ones are 1 */
  uint32_t type;                             /* the file's number; it may be one that Nook does not know */
  uint64_t offset;                           /* from the start of the file */
  uint64_t bytes;                            /* of the data; 0 where the type is unknown */
} nk_gguf_tensor;

typedef struct nk_gguf {
  uint32_t version;
  uint32_t alignment;
  uint64_t header_bytes; /* up to and including the padding: where tensor data start */
  nk_gguf_pair *pairs;   /* [n_pairs], file order */
  nk_gguf_tensor *tensors; /* [n_tensors], file order */
  uint32_t n_pairs, n_tensors;
  uint32_t *pair_index, *tensor_index; /* sorted by name, for lookups in log n */
} nk_gguf;

/*
 * Parses a header. `buffer` holds the first `available` bytes of a file of `file_bytes` bytes.
 * NK_STATUS_OK: *out is whole. When the header goes on past `available`, returns NK_STATUS_OK with *more set to the number
 * of bytes from the file's start that the next try should have (> available), and *out empty; the caller reads more and
 * calls again. Any other status: *out is empty. On NK_STATUS_OK with *more == 0 the caller frees *out.
 */
nk_status nk_gguf_parse(nk_gguf *out, const uint8_t *buffer, uint64_t available, uint64_t file_bytes, uint64_t *more,
                        nk_error *error);
void nk_gguf_free(nk_gguf *gguf);

/* NULL when there is none. Names are NUL-terminated here. */
const nk_gguf_pair *nk_gguf_find(const nk_gguf *gguf, const char *key);
const nk_gguf_tensor *nk_gguf_find_tensor(const nk_gguf *gguf, const char *name);

/*
 * Typed getters. Missing key: `*out = fallback`, OK. Present with another type or out of [min, max]: FORMAT, naming the
 * key. Any integer type is accepted by the integer getter, F32 and F64 by the float one (finite values only).
 */
nk_status nk_gguf_get_u32(const nk_gguf *gguf, const char *key, uint32_t fallback, uint32_t min, uint32_t max,
                          uint32_t *out, nk_error *error);
nk_status nk_gguf_get_f32(const nk_gguf *gguf, const char *key, float fallback, float *out, nk_error *error);
nk_status nk_gguf_get_bool(const nk_gguf *gguf, const char *key, bool fallback, bool *out, nk_error *error);
/* Missing: *out = {NULL, 0}. */
nk_status nk_gguf_get_text(const nk_gguf *gguf, const char *key, nk_text *out, nk_error *error);
/* Missing: *out = NULL. Present: an array of `element_type`, else FORMAT. */
nk_status nk_gguf_get_array(const nk_gguf *gguf, const char *key, nk_gguf_type element_type, const nk_gguf_pair **out,
                            nk_error *error);

/* Elements of an array pair, or the value of a scalar one at index 0; `index` must be < pair->count. Each reads unaligned.
   Asked for an element of another kind, they give an empty text or 0. */
nk_text nk_gguf_text_at(const nk_gguf_pair *pair, uint64_t index);
int64_t nk_gguf_integer_at(const nk_gguf_pair *pair, uint64_t index); /* any integer or bool element type; u64 saturates */
double nk_gguf_number_at(const nk_gguf_pair *pair, uint64_t index);   /* any numeric element type */

#endif
