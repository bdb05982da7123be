/*
 * load.h: from files to a model, in steps; the host supplies the bytes.
 *
 * Phases   headers (one a file) → plan → weights, in ascending order of each file, so that a download can be streamed →
 *          tokenizer → done. The file never lies whole in memory: tensors are packed from a staging buffer as they pass.
 * Hash     With a sha256 for a file every byte of it is asked for (gaps too) and hashed on the way; the model is handed
 *          over only when all hashes match.
 * Failure  Whatever goes wrong, nothing of the half-loaded model remains.
 */
#ifndef NOOK_MODEL_LOAD_H
#define NOOK_MODEL_LOAD_H

#include "model/model.h"

#define NK_STAGING_BYTES (1u << 20) /* at least; eight rows of the widest matrix must fit */

typedef struct nk_load_file {
  uint64_t bytes;
  bool hashed;        /* check the sha256 below */
  uint8_t sha256[32];
} nk_load_file;

typedef struct nk_loader nk_loader;

/* What is wanted next: `length` bytes of `file` from `offset` into `destination`. */
typedef struct nk_request {
  uint64_t offset;
  uint8_t *destination;
  uint32_t length, file;
} nk_request;

nk_status nk_loader_create(nk_loader **out, const nk_load_file *files, uint32_t n_files, nk_error *error);
void nk_loader_free(nk_loader *loader);

/* Takes in what was requested last (all of it) and says what is needed next. After NK_STATUS_OK with length 0 the phase is
   over: first the headers, then (after nk_loader_weights) the weights. */
nk_status nk_loader_step(nk_loader *loader, nk_request *request, nk_error *error);
uint64_t nk_loader_done(const nk_loader *loader);
uint64_t nk_loader_total(const nk_loader *loader);

/* After the headers: what the file is, what of it Nook can't do, and the bytes that its parts will take. The model is bound
   on a measuring arena: sizes hold, pointers don't. */
typedef struct nk_load_plan {
  uint64_t weights_bytes; /* packed weights and vectors */
  uint64_t header_bytes;  /* the first header's buffer, which stays as the model's spare memory */
  uint64_t tokenizer_bytes;
  uint64_t staging_bytes; /* the buffer and the further parts' headers: given back when loading is over */
} nk_load_plan;
nk_status nk_loader_plan(nk_loader *loader, nk_load_plan *plan, nk_error *error);
const nk_model *nk_loader_model(const nk_loader *loader);
const nk_gguf *nk_loader_gguf(const nk_loader *loader); /* of the first file */
const nk_problems *nk_loader_problems(const nk_loader *loader);
const nk_placement *nk_loader_placements(const nk_loader *loader, uint32_t *n);
/* SHA-256 of the first file's header, the cheap fingerprint of a model. */
void nk_loader_header_hash(const nk_loader *loader, uint8_t digest[32]);

/* Begins the weights; UNSUPPORTED with the first problem if there is one. */
nk_status nk_loader_weights(nk_loader *loader, nk_error *error);
/* After the weights: the model, which the caller then owns. */
nk_status nk_loader_take(nk_loader *loader, nk_model **model, nk_error *error);

#endif
