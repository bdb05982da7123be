/*
 * fuzz_load.c: the whole loader and what comes after it (tokens, evaluation, generation), on a whole file or on changes to
 * a small sound one. Asserted: the contracts of tests/mutation/trial.h. The first byte chooses: 0 to 127 one of FILES with
 * changes (four bytes each: offset from the header's start as 24 bits little-endian, modulo the header's bytes; the byte
 * that stands there), 128 to 255 the rest is the file. Its lowest bits also choose the load's options.
 */
#include <stdlib.h>

#include "gguf/gguf.h"
#include "tests/mutation/trial.h"

static const char *const FILES[] = {"tests/hostile/sound-model.gguf", "tests/hostile/scores-nan.gguf",
                                    "tests/hostile/byte-token-minus-1.gguf", "tests/fixtures/quants/model_llama.Q4_0.gguf"};
#define N_FILES (sizeof FILES / sizeof *FILES)

typedef struct sound_file {
  uint8_t *bytes;
  size_t length, header;
} sound_file;

static void stop(const char *sentence) {
  fprintf(stderr, "%s\n", sentence);
  __builtin_trap();
}

/* Read once; libFuzzer's process keeps them. */
static const sound_file *sound(size_t index) {
  static sound_file files[N_FILES];
  sound_file *file = &files[index];
  if (file->bytes != NULL) return file;
  FILE *opened = fopen(FILES[index], "rb");
  if (opened == NULL) stop("the fuzzer runs from the repository's root");
  enum { ROOM = 1 << 20 };
  file->bytes = malloc(ROOM);
  if (file->bytes == NULL) stop("no memory for a sound file");
  file->length = fread(file->bytes, 1, ROOM, opened);
  (void)fclose(opened);
  nk_gguf gguf;
  uint64_t more;
  if (nk_gguf_parse(&gguf, file->bytes, file->length, file->length, &more, NULL) != NK_STATUS_OK || more != 0) {
    stop("a sound file is not sound");
  }
  file->header = (size_t)gguf.header_bytes;
  nk_gguf_free(&gguf);
  return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static nook_context *context; /* one for all inputs: a failed load must leave it as it was */
  nk_status status;
  if (size == 0) return 0;
  if (context == NULL) context = nook_create("{\"isa\":\"simd128\"}", &status);
  if (context == NULL) stop("the engine does not start");
  uint8_t choice = data[0];
  data++;
  size--;
  static const char *const options[] = {",\"context\":16", ",\"context\":16,\"activations\":\"f32\"",
                                        ",\"context\":16,\"kv\":\"q8\"", ",\"context\":1"};
  uint8_t *copy = NULL;
  trial_file file = {.head = data, .head_bytes = size, .bytes = size};
  if (choice < 128) {
    const sound_file *base = sound(choice / 4 % N_FILES);
    copy = malloc(base->length);
    if (copy == NULL) stop("no memory for a copy");
    memcpy(copy, base->bytes, base->length);
    for (size_t at = 0; at + 4 <= size; at += 4) {
      size_t offset = (size_t)data[at] | (size_t)data[at + 1] << 8 | (size_t)data[at + 2] << 16;
      copy[offset % base->header] = data[at + 3];
    }
    file = (trial_file){.head = copy, .head_bytes = base->length, .bytes = base->length};
  }
  trial_outcome out;
  trial_run(context, &file, options[choice & 3], &out);
  if (out.broken[0] != '\0') stop(out.broken);
  free(copy);
  return 0;
}
