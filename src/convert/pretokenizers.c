/*
 * pretokenizers.c: the name that GGUF has for a pre-tokenizer, by what tokenizer.json says it does.
 *
 * GGUF files do not hold the regular expressions of a byte-level tokenizer but a name for them (tokenizer.ggml.pre). The
 * steps of the pre-tokenizer are written as one text, which the table must have together with the normalizer: a file whose
 * steps it lacks is refused, because a similar one would cut some texts elsewhere.
 */
#include <stdio.h>
#include <string.h>

#include "convert/vocabulary.h"

/* The expressions of tokenizer.json files, split where they agree. */
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(contractions) \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" contractions "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" contractions "|"
#define CASED_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

typedef enum nk_wholes { MERGED, TAKEN } nk_wholes; /* ignore_merges: whole words are taken as tokens */

/* Steps: "split:REGEX", "digit" (each alone), "digits" (runs), "gpt2" (ByteLevel's own expression), joined by line breaks.
 */
static const struct {
  const char *normalizer, *steps, *pre;
  nk_wholes wholes;
} ROWS[] = {
    {"", "gpt2", "gpt-2", MERGED},
    {"NFC", "gpt2", "olmo", MERGED}, /* GPT-NeoX, Pythia, OLMo */
    {"", "digit\ngpt2", "smollm", MERGED},
    {"NFC", "digit\ngpt2", "command-r", MERGED},
    {"", "split:" CONTRACTIONS WORDS "\\p{N}{1,3}" REST, "llama-bpe", TAKEN},
    {"", "split:" CONTRACTIONS WORDS "\\p{N}{1,3}" REST, "dbrx", MERGED}, /* OLMo-2, Phi-4 */
    {"NFC", "split:" CONTRACTIONS WORDS "\\p{N}" REST, "qwen2", MERGED},  /* StableLM-2 too */
    {"", "split:" CASED("") "\\p{N}" CASED_REST, "tekken", TAKEN},
    {"", "split:" CASED(CONTRACTIONS "?") "\\p{N}{1,3}" CASED_REST, "gpt-4o", MERGED}, /* Phi-4-mini */
    {"", "split:[\r\n]\nsplit:\\s?\\p{L}+\nsplit:\\s?\\p{P}+\nsplit:[一-龥ࠀ-一가-\xED\x9F\xBF]+\ndigit", "deepseek-coder",
     MERGED},
};

#define SIGNATURE_BYTES 2048u

typedef struct signature {
  char text[SIGNATURE_BYTES];
  size_t length;
} signature;

static bool add(signature *s, const char *kind, const char *regex) {
  int n = snprintf(s->text + s->length, sizeof s->text - s->length, "%s%s%s", s->length == 0 ? "" : "\n", kind, regex);
  if (n < 0 || (size_t)n >= sizeof s->text - s->length) return false;
  s->length += (size_t)n;
  return true;
}

static nk_status add_step(const nk_vocabulary *vocabulary, const cJSON *step, signature *s, nk_error *error) {
  const cJSON *type = nk_json_find(step, "type");
  bool fits = true;
  if (nk_json_is(type, "ByteLevel")) {
    const cJSON *space = nk_json_find(step, "add_prefix_space");
    if (cJSON_IsTrue(space)) return nk_vocabulary_refuse(vocabulary, "add_prefix_space", space, "it must be false", error);
    if (!cJSON_IsFalse(nk_json_find(step, "use_regex"))) fits = add(s, "gpt2", "");
  } else if (nk_json_is(type, "Digits")) {
    fits = add(s, cJSON_IsTrue(nk_json_find(step, "individual_digits")) ? "digit" : "digits", "");
  } else if (nk_json_is(type, "Split")) {
    const cJSON *regex = nk_json_path(step, "pattern/Regex"), *behavior = nk_json_find(step, "behavior");
    bool invert = cJSON_IsTrue(nk_json_find(step, "invert"));
    /* Matches alone: what is between them stays, or, where the expression finds the words, there is nothing between. */
    bool alone = nk_json_is(behavior, "Isolated") || (nk_json_is(behavior, "Removed") && invert);
    if (!alone) return nk_vocabulary_refuse(vocabulary, "behavior", behavior, "Isolated is known", error);
    if (!cJSON_IsString(regex)) return nk_vocabulary_refuse(vocabulary, "pattern", regex, "a Regex is needed", error);
    fits = add(s, "split:", regex->valuestring);
  } else {
    return nk_vocabulary_refuse(vocabulary, "pre_tokenizer", type, "known beside ByteLevel are Split and Digits", error);
  }
  if (fits) return NK_STATUS_OK;
  return nk_vocabulary_refuse(vocabulary, "pre_tokenizer", type, "its expressions are longer than any that is known",
                              error);
}

nk_status nk_vocabulary_pre(const nk_vocabulary *vocabulary, const char **pre, nk_error *error) {
  const cJSON *root = vocabulary->tokenizer->root, *object = nk_json_find(root, "pre_tokenizer");
  const cJSON *normalizer = nk_json_find(root, "normalizer"), *form = nk_json_find(normalizer, "type");
  bool sequence = nk_json_is(nk_json_find(object, "type"), "Sequence");
  const cJSON *list = nk_json_find(object, "pretokenizers");
  signature s = {.length = 0};
  for (const cJSON *step = !sequence             ? object
                           : cJSON_IsArray(list) ? list->child
                                                 : NULL;
       step != NULL; step = sequence ? step->next : NULL) {
    nk_status status = add_step(vocabulary, step, &s, error);
    if (status != NK_STATUS_OK) return status;
  }
  const cJSON *steps = nk_json_find(normalizer, "normalizers");
  if (nk_json_is(form, "Sequence") && cJSON_IsArray(steps) && steps->child == NULL) form = NULL; /* of nothing */
  if (nk_json_is(form, "Sequence") && cJSON_IsArray(steps) && steps->child->next == NULL)
    form = nk_json_find(steps->child, "type");
  const char *wanted = form == NULL ? "" : cJSON_IsString(form) ? form->valuestring : "?";
  bool taken = cJSON_IsTrue(nk_json_find(vocabulary->model, "ignore_merges"));
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
    if (strcmp(ROWS[i].normalizer, wanted) != 0 || strcmp(ROWS[i].steps, s.text) != 0) continue;
    if ((ROWS[i].wholes == TAKEN) != taken) continue;
    *pre = ROWS[i].pre;
    return NK_STATUS_OK;
  }
  const char *end = strchr(s.text, '\n');
  return nk_fail_hint(
      error, NK_STATUS_UNSUPPORTED, "docs/convert.md lists the tokenizers that are known.",
      "%s: the pre-tokenizer \"%s\"%s with the normalizer \"%s\" and ignore_merges %s is not one that Nook knows",
      vocabulary->tokenizer->name, nk_label_of(s.text, end == NULL ? s.length : (size_t)(end - s.text)).text,
      end == NULL ? "" : " and further steps", nk_label_of(wanted, strlen(wanted)).text, taken ? "true" : "false");
}
