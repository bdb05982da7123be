/* status.c: see status.h. */
#include "core/status.h"

#include <stdio.h>
#include <string.h>

static nk_status record(nk_error *error, nk_status status, const char *hint, const char *format, va_list arguments) {
  if (error == NULL) return status;
  error->status = status;
  /* vsnprintf truncates; a sentence longer than the record loses its end, never memory. */
  if (vsnprintf(error->text, sizeof error->text, format, arguments) < 0) error->text[0] = '\0';
  if (snprintf(error->hint, sizeof error->hint, "%s", hint) < 0) error->hint[0] = '\0';
  return status;
}

nk_status nk_fail(nk_error *error, nk_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)record(error, status, "", format, arguments);
  va_end(arguments);
  return status;
}

nk_status nk_fail_hint(nk_error *error, nk_status status, const char *hint, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)record(error, status, hint, format, arguments);
  va_end(arguments);
  return status;
}

const char *nk_status_code(nk_status status) {
  switch (status) {
#define NK_STATUS_CODE(name, value, code) \
  case NK_STATUS_##name:                  \
    return code;
    NK_STATUS_LIST(NK_STATUS_CODE)
#undef NK_STATUS_CODE
  }
  return "internal";
}
