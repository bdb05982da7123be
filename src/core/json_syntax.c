/*
 * json_syntax.c: whether a text is JSON beyond doubt, without memory.
 *
 * cJSON does not say whether it stopped at broken text or because memory was out. A text that this accepts cJSON accepts
 * too while it has memory, so its failure there is memory's. Stricter than cJSON: no escaped surrogates, no number of 60
 * characters; such a text counts as doubtful, never the other way round. RFC 8259.
 */
#include <string.h>

#include "core/json.h"

#define LONGEST_NUMBER 60u /* cJSON's buffer holds 64 */

static const char *skip_space(const char *at) {
  while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
  return at;
}

static const char *skip_digits(const char *at) {
  while (*at >= '0' && *at <= '9') at++;
  return at;
}

/* Each gives the place behind what it passes, or NULL. */
static const char *pass_number(const char *at) {
  const char *start = at;
  if (*at == '-') at++;
  const char *digits = at;
  at = skip_digits(at);
  if (at == digits || (digits[0] == '0' && at > digits + 1)) return NULL;
  if (*at == '.') {
    digits = at + 1;
    if ((at = skip_digits(digits)) == digits) return NULL;
  }
  if (*at == 'e' || *at == 'E') {
    digits = at[1] == '+' || at[1] == '-' ? at + 2 : at + 1;
    if ((at = skip_digits(digits)) == digits) return NULL;
  }
  return at - start < (ptrdiff_t)LONGEST_NUMBER ? at : NULL;
}

static const char *pass_string(const char *at) {
  if (*at != '"') return NULL;
  for (at++; *at != '"'; at++) {
    if ((unsigned char)*at < 32) return NULL; /* the end of the text too */
    if (*at != '\\') continue;
    at++;
    if (*at == 'u') { /* four digits; d800 to dfff are halves of a pair */
      for (int i = 1; i <= 4; i++) {
        if (at[i] == '\0' || strchr("0123456789abcdefABCDEF", at[i]) == NULL) return NULL;
      }
      if ((at[1] == 'd' || at[1] == 'D') && at[2] >= '8') return NULL;
      at += 4;
    } else if (*at == '\0' || strchr("\"\\/bfnrt", *at) == NULL) {
      return NULL;
    }
  }
  return at + 1;
}

static const char *pass_simple(const char *at) {
  static const char *const words[] = {"true", "false", "null"};
  if (*at == '"') return pass_string(at);
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strncmp(at, words[i], strlen(words[i])) == 0) return at + strlen(words[i]);
  }
  return pass_number(at);
}

/* "key" : */
static const char *pass_key(const char *at) {
  at = pass_string(skip_space(at));
  if (at == NULL) return NULL;
  at = skip_space(at);
  return *at == ':' ? skip_space(at + 1) : NULL;
}

bool nk_json_well_formed(const char *text) {
  char open[NK_JSON_MAX_DEPTH]; /* the brackets that wait for their ends */
  uint32_t depth = 0;
  const char *at = skip_space(text);
  for (;;) { /* here stands a value */
    if (*at == '{' || *at == '[') {
      if (depth == NK_JSON_MAX_DEPTH - 1) return false;
      open[depth++] = *at;
      char end = *at == '{' ? '}' : ']';
      at = skip_space(at + 1);
      if (*at != end) {
        if (end == '}' && (at = pass_key(at)) == NULL) return false;
        continue;
      }
      at++;
      depth--;
    } else if ((at = pass_simple(at)) == NULL) {
      return false;
    }
    for (;;) { /* behind a value: ends, or a comma and the next */
      at = skip_space(at);
      if (depth == 0) return *at == '\0';
      if (*at == ',') break;
      if (*at != (open[depth - 1] == '{' ? '}' : ']')) return false;
      depth--;
      at++;
    }
    at = skip_space(at + 1);
    if (open[depth - 1] == '{' && (at = pass_key(at)) == NULL) return false;
  }
}
