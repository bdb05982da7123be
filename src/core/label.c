/* label.c: see label.h. */
#include "core/label.h"

#include <string.h>

nk_label nk_label_of(const char *bytes, size_t length) {
  nk_label label;
  bool cut = length >= NK_LABEL_BYTES;
  size_t n = cut ? NK_LABEL_BYTES - 4 : length;
  for (size_t i = 0; i < n; i++) label.text[i] = bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?';
  memcpy(label.text + n, cut ? "..." : "", cut ? 4 : 1);
  return label;
}
