/*
 * test_hostile_load.c: every file of tests/hostile through the whole loader, as a host gives it, whole and byte by byte of
 * what is wanted; each ends as the manifest says, with one sentence, and leaves a context that loads a sound model.
 */
#include "engine_fixture.h"
#include "tests/mutation/trial.h"

static cJSON *read_manifest(void) {
  size_t length;
  uint8_t *text = read_whole("tests/hostile/manifest.json", &length);
  cJSON *manifest = cJSON_ParseWithLength((const char *)text, length);
  free(text);
  assert_non_null(manifest);
  return manifest;
}

static const char *text_of(const cJSON *entry, const char *key) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, key));
  if (text == NULL) fail_msg("an entry of the manifest lacks %s", key);
  return text;
}

/* The file in memory of exactly its size, so that a read beyond it is seen. */
static uint8_t *read_hostile(const char *name, trial_file *file) {
  char path[300];
  size_t length;
  (void)snprintf(path, sizeof path, "tests/hostile/%s", name);
  uint8_t *bytes = read_whole(path, &length);
  uint8_t *exact = malloc(length == 0 ? 1 : length);
  assert_non_null(exact);
  memcpy(exact, bytes, length);
  free(bytes);
  *file = (trial_file){.head = exact, .head_bytes = length, .bytes = length};
  return exact;
}

/* One sentence: not empty, no line break, no control character, not cut off. */
static void assert_sentence(const char *file, const char *text) {
  size_t length = strlen(text);
  if (length < 12 || length > 400) fail_msg("%s: \"%s\" is no sentence", file, text);
  for (size_t i = 0; i < length; i++) {
    if ((uint8_t)text[i] < 32) fail_msg("%s: \"%s\" holds a control character", file, text);
  }
}

static void each_hostile_file_ends_as_the_manifest_says(void **state) {
  (void)state;
  cJSON *manifest = read_manifest();
  nk_status status;
  nook_context *context = nook_create("{\"isa\":\"simd128\"}", &status);
  assert_int_equal(status, NK_STATUS_OK);
  trial_file sound;
  uint8_t *sound_bytes = read_hostile("sound-model.gguf", &sound);
  trial_outcome first, out;
  trial_run(context, &sound, "", &first);
  assert_string_equal(first.broken, "");
  assert_int_equal(first.status, NK_STATUS_OK);
  assert_int_equal(first.n_drawn, TRIAL_DRAW);
  int of_loader = 0, wrong = 0;
  const cJSON *entry;
  cJSON_ArrayForEach(entry, manifest) {
    const char *name = text_of(entry, "file"), *code = text_of(entry, "status"), *says = text_of(entry, "says");
    of_loader += strcmp(text_of(entry, "layer"), "load") == 0;
    trial_file file;
    uint8_t *bytes = read_hostile(name, &file);
    trial_run(context, &file, "", &out);
    bool right =
        out.broken[0] == '\0' && strcmp(nk_status_code(out.status), code) == 0 && strstr(out.message, says) != NULL;
    if (!right) {
      print_error("%s: wanted %s \"%s\", got %s \"%s\" %s\n", name, code, says, nk_status_code(out.status), out.message,
                  out.broken);
      wrong++;
    }
    if (out.status != NK_STATUS_OK) {
      assert_sentence(name, out.message);
      assert_sentence(name, out.hint);
    }
    free(bytes);
    trial_run(context, &sound, "", &out);
    if (memcmp(&out, &first, sizeof out) != 0) fail_msg("after %s the sound model gives something else", name);
  }
  assert_int_equal(wrong, 0);
  assert_true(of_loader >= 60);
  nook_destroy(context);
  free(sound_bytes);
  cJSON_Delete(manifest);
}

/* Parts of a split model given in the wrong order, or one of them twice, as here. */
static void parts_in_the_wrong_order_are_refused(void **state) {
  (void)state;
  nk_status status;
  nook_context *context = nook_create("{\"isa\":\"scalar\"}", &status);
  assert_int_equal(status, NK_STATUS_OK);
  trial_file part;
  uint8_t *bytes = read_hostile("split-count-2.gguf", &part);
  char options[128];
  (void)snprintf(options, sizeof options, "{\"files\":[{\"bytes\":%zu},{\"bytes\":%zu}]}", (size_t)part.bytes,
                 (size_t)part.bytes);
  assert_int_equal(nook_load_begin(context, options), NK_STATUS_OK);
  nook_want want;
  while ((status = nook_load_step(context, &want)) == NK_STATUS_OK && !want.finished) {
    assert_true(trial_read(&part, want.offset, want.destination, want.length));
  }
  assert_int_equal(status, NK_STATUS_FORMAT);
  assert_non_null(strstr(nook_error(context), "file 2 says it is part 1 of 2"));
  nook_destroy(context);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_hostile_file_ends_as_the_manifest_says),
                                     cmocka_unit_test(parts_in_the_wrong_order_are_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
