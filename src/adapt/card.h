/*
 * card.h: where an adapter comes from: a small JSON object that travels inside its file.
 *
 * Keys     tool, version, method, base_name, base_sha256, data_sha256, examples, date; any may be missing, others are kept.
 * Place    safetensors: "nook.card" of __metadata__ (PEFT reads past it; an unknown key of adapter_config.json would make
 *          it warn). GGUF: the key "nook.card".
 * Hostile  At most NK_ADAPTER_CARD_BYTES; parsed as every document (convert/document.h); texts are shown by nk_label_of.
 */
#ifndef NOOK_ADAPT_CARD_H
#define NOOK_ADAPT_CARD_H

#include "adapt/adapter.h"

#define NK_CARD_KEY "nook.card"
#define NK_CARD_TEXT_BYTES 1024u /* of one text */

/* NULL texts and 0 examples are left out. */
typedef struct nk_card {
  const char *tool, *version, *base_name, *date; /* NUL-terminated UTF-8 */
  const char *base_sha256, *data_sha256;         /* 64 hexadecimal digits */
  uint32_t examples;
} nk_card;

/* Writes the adapter's card from these facts and its method. DATA: a text too long, a hash that is none. */
nk_status nk_adapter_write_card(nk_adapter *adapter, const nk_card *card, nk_error *error);
/* The card of a file: JSON [length]. FORMAT when it is no such object. The adapter keeps a copy. */
nk_status nk_adapter_take_card(nk_adapter *adapter, const char *json, size_t length, nk_error *error);
/* A text of the card into out [bytes], NUL-terminated; empty when there is none (or it does not fit). MEMORY. */
nk_status nk_adapter_card_text(const nk_adapter *adapter, const char *key, char *out, size_t bytes, nk_error *error);

/* ADAPTER_MISMATCH, naming both hashes, when the card names another base than base_sha256 (64 hex digits, either case). A
   card without a hash passes: sizes are all there is to check then. */
nk_status nk_adapter_check_base(const nk_adapter *adapter, const char *base_sha256, nk_error *error);

#endif
