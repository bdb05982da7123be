/*
 * convert.h: from a Hugging Face checkpoint (safetensors, config.json, tokenizer.json …) to one GGUF file, in steps.
 *
 * Phases   JSON files → headers of the .safetensors files → plan: keys, table of tensors, and a check of the finished
 * header by the engine's own loader, so that what is written can be run → header out → tensors, one after the other, in the
 *          order in which the files have them.
 * Memory   A block of rows of one tensor at a time (a whole tensor where it must be turned), never the model.
 * Output   Bytes in ascending order, to be appended. The length is known when the first ones come.
 * Hostile  Everything in the folder is; see document.h and safetensors.h. Names of files come from the host's list alone:
 * an index that names a file outside of the folder, or one that is not there, is refused.
 */
#ifndef NOOK_CONVERT_CONVERT_H
#define NOOK_CONVERT_CONVERT_H

#include <cJSON.h>

#include "core/status.h"

#define NK_CONVERT_MAX_FILES 4096u
#define NK_CONVERT_OUTTYPES "f32|f16|q8_0"

typedef struct nk_convert_file {
  const char *name; /* relative to the folder, with "/" */
  uint64_t bytes;
} nk_convert_file;

typedef struct nk_conversion nk_conversion;

/* What is wanted next, and what is to be written now. Either may be empty. */
typedef struct nk_convert_turn {
  uint64_t offset;
  uint8_t *destination;  /* of the wanted bytes */
  const uint8_t *output; /* lives until the next step */
  uint32_t length, file, output_bytes;
  bool finished;
} nk_convert_turn;

/* outtype: an index of NK_CONVERT_OUTTYPES. name: general.name, or NULL. Files and name are copied. */
nk_status nk_conversion_create(nk_conversion **out, const nk_convert_file *files, uint32_t n_files, uint32_t outtype,
                               const char *name, nk_error *error);
void nk_conversion_free(nk_conversion *conversion); /* NULL is fine */
/* Takes in what was wanted last (all of it, written to its destination). */
nk_status nk_conversion_step(nk_conversion *conversion, nk_convert_turn *turn, nk_error *error);
/* Bytes of input taken in, and in all, as far as known. */
void nk_conversion_progress(const nk_conversion *conversion, uint64_t *done, uint64_t *total);
/* Facts, once the header is made; NULL when memory is out. The caller deletes it. */
cJSON *nk_conversion_facts(const nk_conversion *conversion);

#endif
