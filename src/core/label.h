/* label.h: a name from outside, made fit for a sentence. */
#ifndef NOOK_CORE_LABEL_H
#define NOOK_CORE_LABEL_H

#include "core/status.h"

#define NK_LABEL_BYTES 72u

/* Printable ASCII, other bytes as "?"; cut with "..." when it is long. */
typedef struct nk_label {
  char text[NK_LABEL_BYTES];
} nk_label;

nk_label nk_label_of(const char *bytes, size_t length);

#endif
