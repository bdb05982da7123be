/*
 * status.h: how every function of Nook says what happened.
 *
 * Purpose  One status enumeration and one error record. A function that can fail returns nk_status and takes an nk_error;
 *          the record keeps one sentence (what, where) and one hint (what to do). Nothing here exits, aborts or allocates.
 * Codes    The second column is the `code` that a JavaScript caller sees on NookError; it is the same list everywhere,
 *          because JavaScript reads it from nook_constants().
 */
#ifndef NOOK_CORE_STATUS_H
#define NOOK_CORE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NK_STATUS_LIST(X)                                                     \
  X(OK, 0, "ok")                       /* done */                             \
  X(MEMORY, 1, "memory")               /* an allocation or a plan failed */   \
  X(FORMAT, 2, "format")               /* bytes from outside are malformed */ \
  X(UNSUPPORTED, 3, "unsupported")     /* well-formed, but not ours to run */ \
  X(HASH, 4, "hash")                   /* a file is not the one expected */   \
  X(CONTEXT_FULL, 5, "context_full")   /* more tokens than the context has */ \
  X(BUSY, 6, "busy")                   /* another operation is in progress */ \
  X(DATA, 7, "data")                   /* an argument or option is unusable */\
  X(TEMPLATE, 8, "template")           /* chat template missing or broken */  \
  X(GRAMMAR, 9, "grammar")             /* a constraint cannot be met */       \
  X(ADAPTER_MISMATCH, 10, "adapter_mismatch")                                 \
  X(INTERNAL, 11, "internal")          /* a bug of ours */

typedef enum nk_status {
#define NK_STATUS_ENUM(name, value, code) NK_STATUS_##name = (value),
  NK_STATUS_LIST(NK_STATUS_ENUM)
#undef NK_STATUS_ENUM
} nk_status;

#define NK_ERROR_TEXT_BYTES 512
#define NK_ERROR_HINT_BYTES 256

/* The last failure. Zero-initialize it; every nk_fail overwrites it. */
typedef struct nk_error {
  nk_status status;
  char text[NK_ERROR_TEXT_BYTES]; /* one sentence, NUL-terminated: what and where */
  char hint[NK_ERROR_HINT_BYTES]; /* one sentence or empty: what to do */
} nk_error;

/* Records the failure and returns `status`, so that callers write `return nk_fail(...)`. `error` may be NULL. */
nk_status nk_fail(nk_error *error, nk_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with a hint. */
nk_status nk_fail_hint(nk_error *error, nk_status status, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The code string of a status ("format", ...); "internal" for a value that is none. */
const char *nk_status_code(nk_status status);

#endif
