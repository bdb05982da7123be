/*
 * peft_config.h: adapter_config.json of Hugging Face's PEFT, as far as it says what the tensors beside it mean.
 *
 * Whatever would change an adapter's output and is not done here is refused by its key, with a sentence (UNSUPPORTED). Keys
 * that PEFT knows nothing of are passed over, as PEFT does. Numbers are checked against the tensors in peft.c.
 * Limits  1 MiB; lists and patterns of NK_PEFT_MAX_NAMES entries. Names in patterns are taken as texts: PEFT would read
 *         them as regular expressions, so one that holds more than letters, digits, "_", "-" and "." is refused (a "^"
 *         before and a "$" behind are fine). target_modules as one regular expression is accepted: the tensors say what
 *         it chose.
 */
#ifndef NOOK_ADAPT_PEFT_CONFIG_H
#define NOOK_ADAPT_PEFT_CONFIG_H

#include "adapt/adapter.h"
#include "convert/document.h"

#define NK_PEFT_CONFIG_NAME "adapter_config.json"
#define NK_PEFT_MAX_CONFIG (1u << 20)
#define NK_PEFT_MAX_NAMES 8192u

typedef struct nk_peft_config {
  nk_document document;
  nk_method method;
  uint32_t rank;         /* LoRA's r */
  double alpha, dropout; /* LoRA */
  bool rslora;
  uint32_t n_virtual; /* prompt, prefix */
} nk_peft_config;

/* text [length + 1], text[length] being NUL. On OK the caller frees with nk_document_free(&out->document). */
nk_status nk_peft_config_read(nk_peft_config *out, const nk_model *model, const char *text, uint64_t length,
                              nk_error *error);

/* Whether PEFT would look for tensors of the module `path` in `layer`. NK_PEFT_UNSAID: a regular expression says it, or
   nothing does. */
typedef enum nk_peft_aim { NK_PEFT_NO, NK_PEFT_YES, NK_PEFT_UNSAID } nk_peft_aim;
nk_peft_aim nk_peft_config_aims(const nk_peft_config *config, const char *path, uint32_t layer);

/* LoRA: the rank and alpha of a module: the first entry of the pattern that fits its path, else r and lora_alpha. */
void nk_peft_config_shape(const nk_peft_config *config, const char *path, nk_slot_shape *shape);

#endif
