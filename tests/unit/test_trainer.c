/*
 * test_trainer.c: the trainer's promises: a training that is interrupted anywhere goes on to the same bits; neither threads
 * nor memory change one; it ends where it should, with the values that it should; what cannot be is refused in a sentence.
 */
#include "gradient_fixture.h"

#include "core/random.h"
#include "train/trainer.h"

#define MODEL "tests/fixtures/tiny/llama.gguf"
#define EXAMPLES 7u
#define COUNT(list) (sizeof(list) / sizeof *(list))
static const uint8_t HASH[32] = {7};

/* Examples of 5 to 20 tokens, of which the later half is scored; the same every time. */
static void add_examples(nk_trainer *t, uint32_t first, uint32_t n, bool held_out) {
  nk_error error = {0};
  for (uint32_t i = first; i < first + n; i++) {
    nk_random random = nk_random_stream(5, i);
    int32_t ids[20], labels[20];
    uint32_t length = 5 + nk_random_below(&random, 16);
    for (uint32_t k = 0; k < length; k++) {
      ids[k] = (int32_t)nk_random_below(&random, 300);
      labels[k] = k < length / 2 ? NK_NOT_SCORED : ids[k];
    }
    if (nk_trainer_add(t, ids, labels, length, held_out, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  }
}

static nk_trainer *open_trainer(const host *h, const char *options, bool start) {
  nk_trainer *t = NULL;
  nk_error error = {0};
  if (nk_trainer_create(&t, h->context->model, &h->context->machine, options, 64, true, &error) != NK_STATUS_OK)
    fail_msg("%s", error.text);
  add_examples(t, 0, EXAMPLES, false);
  if (start && nk_trainer_start(t, HASH, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  return t;
}

/* On to the event of that type, or to the end. */
static nk_train_event go_on(nk_trainer *t, nk_train_event_type until) {
  nk_error error = {0};
  nk_train_event event = {.type = NK_TRAIN_WORK};
  while (event.type != NK_TRAIN_DONE && event.type != until)
    if (nk_trainer_step(t, 0.5, &event, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
  return event;
}

static void assert_same_values(const nk_adapter *a, const nk_adapter *b) {
  assert_int_equal(a->n_values, b->n_values);
  assert_memory_equal(a->values, b->values, a->n_values * sizeof *a->values);
}

static const char *const WAYS[] = {
    "{\"method\":\"lora\",\"rank\":4,\"dropout\":0.2,\"epochs\":2,\"batch_size\":2,\"accumulate\":2,\"lr\":0.01}",
    "{\"method\":\"lora\",\"targets\":\"all\",\"steps\":5,\"batch_size\":3,\"held_out\":2,\"eval_every\":2,\"patience\":3}",
    "{\"method\":\"prompt\",\"tokens\":4,\"epochs\":2,\"batch_size\":3,\"schedule\":\"linear\",\"held_out\":0.3}",
    "{\"method\":\"prefix\",\"tokens\":5,\"steps\":4,\"batch_size\":2,\"seed\":9}",
    "{\"method\":\"ia3\",\"steps\":4,\"batch_size\":7,\"shuffle\":false,\"schedule\":\"constant\"}",
};

static void an_interrupted_training_ends_with_the_same_bits(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, "");
  for (size_t way = 0; way < COUNT(WAYS); way++) {
    nk_trainer *whole = open_trainer(&h, WAYS[way], true);
    (void)go_on(whole, NK_TRAIN_DONE);
    /* Interrupted after every single event, in the middle of a window too: each time a new trainer goes on. */
    nk_trainer *t = open_trainer(&h, WAYS[way], true);
    for (uint32_t i = 0; i < 200; i++) {
      nk_error error = {0};
      nk_train_event event = go_on(t, NK_TRAIN_STEP);
      if (event.type == NK_TRAIN_DONE) break;
      if (i % 2 == 1 && nk_trainer_step(t, 0.0, &event, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
      const uint8_t *bytes;
      uint64_t n;
      bool others = true;
      if (nk_trainer_checkpoint(t, &bytes, &n, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
      nk_trainer *next = open_trainer(&h, WAYS[way], true);
      if (nk_trainer_resume(next, bytes, n, &others, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
      assert_false(others);
      nk_trainer_free(t);
      t = next;
    }
    assert_same_values(nk_trainer_adapter(t), nk_trainer_adapter(whole));
    assert_int_equal(nk_trainer_end_reason(t), nk_trainer_end_reason(whole));
    double loss, loss_whole;
    uint64_t step, step_whole;
    assert_int_equal(nk_trainer_best(t, &loss, &step), nk_trainer_best(whole, &loss_whole, &step_whole));
    assert_memory_equal(&loss, &loss_whole, sizeof loss);
    assert_int_equal(step, step_whole);
    nk_trainer_free(t);
    nk_trainer_free(whole);
  }
  host_close(&h);
}

static void neither_threads_nor_the_memory_limit_change_a_bit(void **state) {
  (void)state;
  for (size_t way = 0; way < COUNT(WAYS); way++) {
    host one = host_open(MODEL, "simd128", 1, ""), three = host_open(MODEL, "simd128", 3, "");
    nk_trainer *a = open_trainer(&one, WAYS[way], true), *b = open_trainer(&three, WAYS[way], true);
    char options[256];
    (void)snprintf(options, sizeof options, "{\"memory_limit\":1,%s", WAYS[way] + 1);
    nk_trainer *small = open_trainer(&one, options, true);
    (void)go_on(a, NK_TRAIN_DONE);
    (void)go_on(b, NK_TRAIN_DONE);
    (void)go_on(small, NK_TRAIN_DONE);
    assert_same_values(nk_trainer_adapter(a), nk_trainer_adapter(b));
    assert_same_values(nk_trainer_adapter(a), nk_trainer_adapter(small));
    nk_trainer_free(a);
    nk_trainer_free(b);
    nk_trainer_free(small);
    host_close(&one);
    host_close(&three);
  }
}

/* The same examples as held-out ones, and a rate that spoils what was learned: the best values come back. */
static void patience_ends_it_and_gives_the_best_values_back(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, "");
  nk_trainer *t = open_trainer(&h, "{\"method\":\"lora\",\"steps\":400,\"batch_size\":7,\"lr\":0.5,\"eval_every\":1,"
                                   "\"patience\":3,\"schedule\":\"constant\",\"warmup_steps\":0,\"clip\":0}", false);
  nk_error error = {0};
  add_examples(t, 50, 3, true);
  assert_int_equal(nk_trainer_start(t, HASH, &error), NK_STATUS_OK);
  double best = INFINITY;
  uint64_t measured = 0, best_step = 0;
  nk_train_event event;
  while ((event = go_on(t, NK_TRAIN_EVAL)).type == NK_TRAIN_EVAL) {
    if (event.loss < best) {
      best = event.loss;
      best_step = event.step;
    }
    measured++;
  }
  assert_true(measured < 400);
  assert_int_equal(nk_trainer_end_reason(t), NK_TRAIN_PATIENCE);
  double loss;
  uint64_t step;
  assert_true(nk_trainer_best(t, &loss, &step));
  assert_true(loss == best && step == best_step);
  /* What it gives has that loss: another trainer that begins with it measures the same. */
  nk_adapter *made = nk_trainer_take(t);
  nk_trainer *again = NULL;
  assert_int_equal(nk_trainer_create(&again, h.context->model, &h.context->machine,
                                     "{\"method\":\"lora\",\"steps\":1,\"batch_size\":7}", 64, true, &error), NK_STATUS_OK);
  assert_int_equal(nk_trainer_begin_with(again, made, &error), NK_STATUS_OK);
  add_examples(again, 0, EXAMPLES, false);
  add_examples(again, 50, 3, true);
  assert_int_equal(nk_trainer_start(again, HASH, &error), NK_STATUS_OK);
  event = go_on(again, NK_TRAIN_EVAL);
  assert_true(event.loss == best);
  nk_trainer_free(again);
  nk_trainer_free(t);
  nk_adapter_free(made);
  host_close(&h);
}

static void a_loss_that_is_not_finite_ends_it_with_finite_values(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, "");
  nk_trainer *t = open_trainer(&h, "{\"method\":\"ia3\",\"steps\":300,\"batch_size\":7,\"lr\":10,\"clip\":0,"
                                   "\"schedule\":\"constant\",\"warmup_steps\":0,\"weight_decay\":10}", true);
  (void)go_on(t, NK_TRAIN_DONE);
  assert_int_equal(nk_trainer_end_reason(t), NK_TRAIN_DIVERGED);
  nk_error error = {0};
  assert_int_equal(nk_adapter_check(nk_trainer_adapter(t), h.context->model, &error), NK_STATUS_OK);
  nk_trainer_free(t);
  host_close(&h);
}

static void minutes_end_it_by_the_hosts_clock(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, "");
  nk_trainer *t = open_trainer(&h, "{\"method\":\"lora\",\"minutes\":0.05,\"batch_size\":7}", true);
  nk_train_event event = go_on(t, NK_TRAIN_DONE);
  assert_int_equal(nk_trainer_end_reason(t), NK_TRAIN_BUDGET);
  assert_in_range(event.step, 1, 6); /* half a second a call, three seconds in all */
  assert_int_equal(event.total, 0);
  nk_trainer_free(t);
  host_close(&h);
}

static void a_foreign_checkpoint_is_refused_in_a_sentence(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, ""), scalar = host_open(MODEL, "scalar", 1, "");
  const uint8_t *bytes;
  uint64_t n;
  bool others = false;
  nk_error error = {0};
  nk_trainer *t = open_trainer(&h, WAYS[0], true);
  (void)go_on(t, NK_TRAIN_STEP);
  assert_int_equal(nk_trainer_checkpoint(t, &bytes, &n, &error), NK_STATUS_OK);

  nk_trainer *other = open_trainer(&h, WAYS[1], true); /* other options */
  assert_int_not_equal(nk_trainer_resume(other, bytes, n, &others, &error), NK_STATUS_OK);
  assert_true(strlen(error.text) > 20);
  nk_trainer_free(other);

  other = open_trainer(&h, WAYS[0], false); /* other examples */
  add_examples(other, 90, 1, false);
  assert_int_equal(nk_trainer_start(other, HASH, &error), NK_STATUS_OK);
  assert_int_equal(nk_trainer_resume(other, bytes, n, &others, &error), NK_STATUS_DATA);
  nk_trainer_free(other);

  const uint8_t another_model[32] = {8};
  other = open_trainer(&h, WAYS[0], false);
  assert_int_equal(nk_trainer_start(other, another_model, &error), NK_STATUS_OK);
  assert_int_equal(nk_trainer_resume(other, bytes, n, &others, &error), NK_STATUS_ADAPTER_MISMATCH);
  nk_trainer_free(other);

  other = open_trainer(&scalar, WAYS[0], true); /* other kernels: allowed, and told */
  assert_int_equal(nk_trainer_resume(other, bytes, n, &others, &error), NK_STATUS_OK);
  assert_true(others);
  (void)go_on(other, NK_TRAIN_DONE);
  nk_trainer_free(other);
  nk_trainer_free(t);
  host_close(&h);
  host_close(&scalar);
}

static void nothing_to_learn_from_is_told(void **state) {
  (void)state;
  host h = host_open(MODEL, "simd128", 1, "");
  nk_trainer *t = NULL;
  nk_error error = {0};
  assert_int_equal(nk_trainer_create(&t, h.context->model, &h.context->machine, "{}", 64, false, &error), NK_STATUS_OK);
  assert_int_equal(nk_trainer_start(t, HASH, &error), NK_STATUS_DATA);
  const int32_t ids[] = {1, 2, 3}, none[] = {-100, -100, -100}, wild[] = {1, 2, 32000};
  assert_int_equal(nk_trainer_add(t, ids, none, 3, false, &error), NK_STATUS_OK);
  assert_int_equal(nk_trainer_add(t, wild, wild, 3, false, &error), NK_STATUS_DATA);
  assert_int_equal(nk_trainer_counts(t, false)->unscored, 1);
  assert_int_equal(nk_trainer_start(t, HASH, &error), NK_STATUS_DATA);
  nk_trainer_free(t);
  host_close(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_interrupted_training_ends_with_the_same_bits),
      cmocka_unit_test(neither_threads_nor_the_memory_limit_change_a_bit),
      cmocka_unit_test(patience_ends_it_and_gives_the_best_values_back),
      cmocka_unit_test(a_loss_that_is_not_finite_ends_it_with_finite_values),
      cmocka_unit_test(minutes_end_it_by_the_hosts_clock),
      cmocka_unit_test(a_foreign_checkpoint_is_refused_in_a_sentence),
      cmocka_unit_test(nothing_to_learn_from_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
