/*
 * tokenizer.c: the tokenizer's files to the keys tokenizer.*: the vocabulary, the special ids, what is put around a text,
 * chat templates.
 *
 * Which token stands for what is in tokenizer_config.json (or special_tokens_map.json), by text, and in config.json, by id;
 * what is put around a text is in tokenizer.json's post_processor, and in tokenizer_config.json only where that is missing.
 */
#include <stdlib.h>
#include <string.h>

#include "convert/vocabulary.h"
#include "tokenizer/tokenizer.h"

#define NONE UINT32_MAX

/* The keys of the ids. The second name is GGUF's own spelling. */
typedef enum special { BOS, EOS, UNK, SEP, PAD, CLS, MASK, SPECIAL_COUNT } special;
static const struct {
  const char *text_key, *id_key, *gguf_key;
} SPECIALS[SPECIAL_COUNT] = {
    [BOS] = {"bos_token", "bos_token_id", "tokenizer.ggml.bos_token_id"},
    [EOS] = {"eos_token", "eos_token_id", "tokenizer.ggml.eos_token_id"},
    [UNK] = {"unk_token", NULL, "tokenizer.ggml.unknown_token_id"},
    [SEP] = {"sep_token", "sep_token_id", "tokenizer.ggml.seperator_token_id"},
    [PAD] = {"pad_token", "pad_token_id", "tokenizer.ggml.padding_token_id"},
    [CLS] = {"cls_token", NULL, "tokenizer.ggml.cls_token_id"},
    [MASK] = {"mask_token", NULL, "tokenizer.ggml.mask_token_id"},
};

typedef struct ids {
  uint32_t of[SPECIAL_COUNT];
  bool add_bos, add_eos;
} ids;

static uint32_t find(const nk_vocabulary *vocabulary, const char *text) {
  return nk_vocabulary_find(vocabulary, text, strlen(text));
}

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

/* A token by its text: "<s>" or {"content": "<s>"}. */
static uint32_t id_of_text(const nk_vocabulary *vocabulary, const nk_document *document, const char *key) {
  const cJSON *value = nk_json_find(document->root, key);
  if (cJSON_IsObject(value)) value = nk_json_find(value, "content");
  return cJSON_IsString(value) ? find(vocabulary, value->valuestring) : NONE;
}

/* A number, or the first of a list. */
static uint32_t id_of_number(const nk_vocabulary *vocabulary, const nk_document *document, const char *key) {
  const cJSON *value = nk_json_find(document->root, key);
  uint64_t id;
  if (cJSON_IsArray(value)) value = value->child;
  return nk_json_integer(value, vocabulary->n - 1, &id) ? (uint32_t)id : NONE;
}

static void read_ids(ids *out, const nk_vocabulary *vocabulary, const nk_document documents[NK_DOC_COUNT]) {
  for (int i = 0; i < SPECIAL_COUNT; i++) {
    uint32_t id = id_of_text(vocabulary, &documents[NK_DOC_TOKENIZER_CONFIG], SPECIALS[i].text_key);
    if (id == NONE) id = id_of_text(vocabulary, &documents[NK_DOC_SPECIAL], SPECIALS[i].text_key);
    if (id == NONE && SPECIALS[i].id_key != NULL) {
      id = id_of_number(vocabulary, &documents[NK_DOC_CONFIG], SPECIALS[i].id_key);
      if (id == NONE) id = id_of_number(vocabulary, &documents[NK_DOC_GENERATION], SPECIALS[i].id_key);
    }
    if (id == NONE && i == UNK) { /* of a model of pieces: its own word for it */
      const cJSON *text = nk_json_find(vocabulary->model, "unk_token");
      if (cJSON_IsString(text)) id = find(vocabulary, text->valuestring);
      uint64_t number;
      if (nk_json_integer(nk_json_find(vocabulary->model, "unk_id"), vocabulary->n - 1, &number)) id = (uint32_t)number;
    }
    out->of[i] = id;
  }
}

/* Further tokens that end an answer, where generation_config.json lists several. */
static void put_ends(const ids *known, const nk_vocabulary *vocabulary, const nk_document *generation,
                     nk_gguf_writer *writer) {
  static const char *const keys[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  const cJSON *list = nk_json_find(generation->root, "eos_token_id");
  size_t n = 0;
  uint64_t id, last = NONE;
  if (!cJSON_IsArray(list)) {
    if (nk_json_integer(list, vocabulary->n - 1, &id) && id != known->of[EOS])
      nk_gguf_put_u32(writer, keys[0], (uint32_t)id);
    return;
  }
  for (const cJSON *item = list->child; item != NULL && n < sizeof keys / sizeof keys[0]; item = item->next) {
    if (!nk_json_integer(item, vocabulary->n - 1, &id) || id == known->of[EOS] || id == last) continue;
    nk_gguf_put_u32(writer, keys[n++], (uint32_t)id);
    last = id;
  }
}

/* ---- Around a text ----------------------------------------------------------------------------------------------- */

/* TemplateProcessing's "single": special tokens, the text A, special tokens. */
static nk_status read_template(ids *out, const nk_vocabulary *vocabulary, const cJSON *step, nk_error *error) {
  const cJSON *single = nk_json_find(step, "single");
  bool text_seen = false;
  for (const cJSON *item = cJSON_IsArray(single) ? single->child : NULL; item != NULL; item = item->next) {
    const cJSON *token = nk_json_path(item, "SpecialToken/id");
    if (nk_json_is(nk_json_path(item, "Sequence/id"), "A") && !text_seen) {
      text_seen = true;
      continue;
    }
    uint32_t id = cJSON_IsString(token) ? find(vocabulary, token->valuestring) : NONE;
    bool *adds = text_seen ? &out->add_eos : &out->add_bos;
    special which = text_seen ? EOS : BOS;
    if (id == NONE || *adds) {
      return nk_vocabulary_refuse(vocabulary, "single", token, "one known token before and one after the text can be added",
                                  error);
    }
    *adds = true;
    bool pieces = nk_json_is(nk_json_find(vocabulary->model, "type"), "WordPiece"); /* these have [CLS] and [SEP] there */
    if (!pieces) out->of[which] = id;
    if (pieces && out->of[text_seen ? SEP : CLS] == NONE) out->of[text_seen ? SEP : CLS] = id;
  }
  return NK_STATUS_OK;
}

static nk_status read_post_processor(ids *out, const nk_vocabulary *vocabulary, nk_error *error) {
  const cJSON *post = nk_json_find(vocabulary->tokenizer->root, "post_processor"), *step;
  if (post == NULL) return NK_STATUS_OK;
  if (nk_step_find(post, "processors", "TemplateProcessing", &step)) return read_template(out, vocabulary, step, error);
  if (nk_step_find(post, "processors", "BertProcessing", &step) ||
      nk_step_find(post, "processors", "RobertaProcessing", &step)) {
    out->add_bos = out->add_eos = true;
    return NK_STATUS_OK;
  }
  if (nk_step_find(post, "processors", "ByteLevel", NULL)) return NK_STATUS_OK; /* offsets only */
  return nk_vocabulary_refuse(vocabulary, "post_processor", nk_json_find(post, "type"),
                              "known are TemplateProcessing and ByteLevel", error);
}

/* Where tokenizer.json has none, transformers makes a template of these two. */
static void read_flags(ids *out, const nk_document *config) {
  out->add_bos = cJSON_IsTrue(nk_json_find(config->root, "add_bos_token")) && out->of[BOS] != NONE;
  out->add_eos = cJSON_IsTrue(nk_json_find(config->root, "add_eos_token")) && out->of[EOS] != NONE;
}

/* ---- Chat templates ---------------------------------------------------------------------------------------------- */

/* [{"name", "template"}]: "default" is the template, the others keep their names. */
static nk_status put_templates(const nk_document *document, const cJSON *list, nk_gguf_writer *writer, nk_error *error) {
  uint32_t n_others = 0;
  for (const cJSON *item = list->child; item != NULL; item = item->next) {
    const cJSON *name = nk_json_find(item, "name"), *text = nk_json_find(item, "template");
    if (!cJSON_IsString(name) || !cJSON_IsString(text) || strlen(name->valuestring) > 64) {
      return nk_fail(error, NK_STATUS_FORMAT, "%s: an entry of chat_template has no name or no template", document->name);
    }
    bool usual = nk_json_is(name, "default");
    char key[128] = "tokenizer.chat_template";
    if (!usual) {
      key[23] = '.';
      memcpy(key + 24, name->valuestring, strlen(name->valuestring) + 1);
      n_others++;
    }
    nk_gguf_put_text(writer, key, text->valuestring, strlen(text->valuestring));
  }
  if (n_others == 0) return NK_STATUS_OK;
  nk_gguf_put_texts(writer, "tokenizer.chat_templates", n_others);
  for (const cJSON *item = list->child; item != NULL; item = item->next) {
    const cJSON *name = nk_json_find(item, "name");
    if (!nk_json_is(name, "default")) nk_gguf_put_element(writer, name->valuestring, strlen(name->valuestring), NULL, 0);
  }
  return NK_STATUS_OK;
}

static nk_status put_chat_template(const nk_document documents[NK_DOC_COUNT], const char *file, size_t file_bytes,
                                   nk_gguf_writer *writer, nk_error *error) {
  if (file != NULL) {
    nk_gguf_put_text(writer, "tokenizer.chat_template", file, file_bytes);
    return NK_STATUS_OK;
  }
  const nk_document *document = &documents[NK_DOC_TEMPLATE];
  const cJSON *value = nk_json_find(document->root, "chat_template");
  if (value == NULL) {
    document = &documents[NK_DOC_TOKENIZER_CONFIG];
    value = nk_json_find(document->root, "chat_template");
  }
  if (cJSON_IsArray(value)) return put_templates(document, value, writer, error);
  if (cJSON_IsString(value))
    nk_gguf_put_text(writer, "tokenizer.chat_template", value->valuestring, strlen(value->valuestring));
  return NK_STATUS_OK;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static nk_status convert(nk_vocabulary *vocabulary, const nk_document documents[NK_DOC_COUNT], const char *template,
                         size_t template_bytes, nk_gguf_writer *writer, nk_notes *notes, nk_error *error) {
  ids known = {.add_bos = false};
  read_ids(&known, vocabulary, documents);
  nk_status status = read_post_processor(&known, vocabulary, error);
  if (status != NK_STATUS_OK) return status;
  bool pieces = nk_json_is(nk_json_find(vocabulary->model, "type"), "WordPiece");
  bool fallback = cJSON_IsTrue(nk_json_find(vocabulary->model, "byte_fallback"));
  if (!pieces && nk_json_find(vocabulary->tokenizer->root, "post_processor") == NULL) {
    read_flags(&known, &documents[NK_DOC_TOKENIZER_CONFIG]);
  }
  if (fallback && known.of[UNK] != NONE) vocabulary->types[known.of[UNK]] = NK_TYPE_UNKNOWN;
  status = nk_vocabulary_write(vocabulary, writer, notes, error);
  if (status != NK_STATUS_OK) return status;
  for (int i = 0; i < SPECIAL_COUNT; i++) {
    if (known.of[i] != NONE) nk_gguf_put_u32(writer, SPECIALS[i].gguf_key, known.of[i]);
  }
  put_ends(&known, vocabulary, &documents[NK_DOC_GENERATION], writer);
  nk_gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", known.add_bos);
  nk_gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", known.add_eos);
  uint64_t types;
  if (nk_json_integer(nk_json_find(documents[NK_DOC_CONFIG].root, "type_vocab_size"), 1u << 16, &types)) {
    nk_gguf_put_u32(writer, "tokenizer.ggml.token_type_count", (uint32_t)types);
  }
  return put_chat_template(documents, template, template_bytes, writer, error);
}

nk_status nk_convert_tokenizer(const nk_document documents[NK_DOC_COUNT], uint32_t rows, const char *template,
                               size_t template_bytes, nk_gguf_writer *writer, nk_notes *notes, nk_error *error) {
  if (rows > NK_TOKENIZER_MAX_VOCAB) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "the embedding has %u rows; at most %u tokens are supported", rows,
                   NK_TOKENIZER_MAX_VOCAB);
  }
  nk_vocabulary vocabulary;
  nk_status status = nk_vocabulary_read(&vocabulary, &documents[NK_DOC_TOKENIZER], rows, notes, error);
  if (status == NK_STATUS_OK) status = convert(&vocabulary, documents, template, template_bytes, writer, notes, error);
  nk_vocabulary_free(&vocabulary);
  return status;
}
