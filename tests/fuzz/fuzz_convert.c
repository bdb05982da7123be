/*
 * fuzz_convert.c: whole conversions of hostile folders. The input is a list of files: one byte for the name, the number of
 * bytes that are given (u32, little-endian), the number of zeros behind them (u32), the bytes. Asserted: the contract of
 * nook_convert_* and that what comes out is a GGUF file of the length that was said, which the engine's loader takes.
 */
#include <stdio.h>
#include <string.h>

#include "core/cursor.h"
#include "nook.h"

#define CHECK(condition)                \
  do {                                  \
    if (!(condition)) __builtin_trap(); \
  } while (0)

static const char *const NAMES[] = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
    "chat_template.jinja",
    "chat_template.json",
    "1_Pooling/config.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
};
#define N_NAMES (sizeof NAMES / sizeof *NAMES)
#define MAX_FILES 16u
#define MAX_ZEROS (1u << 20)
#define MAX_OUTPUT (1u << 22)

typedef struct file {
  const uint8_t *bytes;
  uint64_t given, length;
  uint32_t name;
} file;

static uint32_t read_files(const uint8_t *data, size_t size, file files[MAX_FILES]) {
  nk_cursor cursor = nk_cursor_over(data, size);
  uint32_t n = 0;
  while (n < MAX_FILES) {
    uint8_t name;
    uint32_t given, zeros;
    if (!nk_cursor_u8(&cursor, &name) || !nk_cursor_u32(&cursor, &given) || !nk_cursor_u32(&cursor, &zeros)) break;
    uint64_t left = nk_cursor_left(&cursor);
    uint64_t here = given < left ? given : left;
    files[n++] = (file){nk_cursor_bytes(&cursor, here), here, here + zeros % MAX_ZEROS, name % N_NAMES};
  }
  return n;
}

static void check_output(nook_context *context, const uint8_t *output, uint64_t length) {
  char options[80];
  (void)snprintf(options, sizeof options, "{\"plan\":true,\"files\":[{\"bytes\":%llu}]}", (unsigned long long)length);
  CHECK(nook_load_begin(context, options) == NK_STATUS_OK);
  for (nook_want want = {0}; !want.finished;) {
    CHECK(nook_load_step(context, &want) == NK_STATUS_OK);
    CHECK(want.offset <= length && want.length <= length - want.offset);
    if (want.length > 0) memcpy(want.destination, output + want.offset, want.length);
  }
  CHECK(strstr(nook_info(context), "\"unsupported\":[]") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const outtypes[] = {"f32", "f16", "q8_0"};
  file files[MAX_FILES];
  if (size == 0) return 0;
  uint32_t n = read_files(data + 1, size - 1, files);
  if (n == 0) return 0;
  char options[4096];
  int at = snprintf(options, sizeof options, "{\"outtype\":\"%s\",\"files\":[", outtypes[data[0] % 3]);
  for (uint32_t i = 0; i < n; i++) {
    at += snprintf(options + at, sizeof options - (size_t)at, "%s{\"name\":\"%s\",\"bytes\":%llu}", i == 0 ? "" : ",",
                   NAMES[files[i].name], (unsigned long long)files[i].length);
  }
  (void)snprintf(options + at, sizeof options - (size_t)at, "]}");
  nk_status status = NK_STATUS_OK;
  static nook_context *context; /* its self-check takes longer than a conversion; a conversion leaves nothing in it */
  static uint8_t output[MAX_OUTPUT];
  if (context == NULL) context = nook_create("{\"isa\":\"scalar\"}", &status);
  CHECK(context != NULL && status == NK_STATUS_OK);
  CHECK(nook_convert_begin(context, options) == NK_STATUS_OK);
  uint64_t written = 0, done = 0;
  nook_conversion step = {0};
  while (!step.finished) {
    status = nook_convert_step(context, &step);
    if (status != NK_STATUS_OK) break;
    CHECK(step.done >= done && step.done <= step.total);
    done = step.done;
    if (step.output_bytes > 0) {
      if (step.output_bytes > MAX_OUTPUT - written) break; /* a sound model that is too large for this test */
      memcpy(output + written, step.output, step.output_bytes);
      written += step.output_bytes;
    }
    if (step.length == 0) continue;
    CHECK(step.file < n);
    const file *f = &files[step.file];
    CHECK(step.offset <= f->length && step.length <= f->length - step.offset);
    uint64_t here = step.offset < f->given ? f->given - step.offset : 0;
    if (here > step.length) here = step.length;
    if (here > 0) memcpy(step.destination, f->bytes + step.offset, here);
    memset(step.destination + here, 0, step.length - here);
  }
  if (status != NK_STATUS_OK) CHECK(strstr(nook_error(context), "\"message\":\"\"") == NULL);
  bool whole = step.finished != 0;
  char said[64];
  (void)snprintf(said, sizeof said, "\"bytes\":%llu", (unsigned long long)written);
  if (whole) CHECK(strstr(nook_result(context), said) != NULL);
  nook_convert_end(context);
  if (whole) check_output(context, output, written);
  nook_unload(context);
  return 0;
}
