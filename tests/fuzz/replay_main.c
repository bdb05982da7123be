/*
 * replay_main.c: runs a fuzz target on files, without libFuzzer.
 *
 * Purpose  Every fuzz_*.c links with this in builds that have no libFuzzer, so that a found input, the corpus and the named
 *          regressions run under gcc, the sanitizers and valgrind. usage: fuzz_NAME FILE...
 * Result   Exit status 0 when every file was read and the target returned; 1 and a sentence on stderr otherwise.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One file, read into a block of exactly its size: a read past the end is a report of the sanitizer. */
static int replay(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fprintf(stderr, "%s cannot be opened.\n", path);
    return 1;
  }
  long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  uint8_t *bytes = length < 0 ? NULL : malloc(length == 0 ? 1 : (size_t)length);
  int failed = bytes == NULL || fseek(file, 0, SEEK_SET) != 0 || fread(bytes, 1, (size_t)length, file) != (size_t)length;
  fclose(file);
  if (failed) fprintf(stderr, "%s cannot be read.\n", path);
  else (void)LLVMFuzzerTestOneInput(bytes, (size_t)length);
  free(bytes);
  return failed;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s FILE...\n", argv[0]);
    return 1;
  }
  int failed = 0;
  for (int i = 1; i < argc; i++) failed |= replay(argv[i]);
  if (!failed) printf("%d files replayed.\n", argc - 1);
  return failed;
}
