/*
 * test_train_options.c: what may be asked of a training, what follows from it, and how each mistake is told.
 *
 * The source is compiled here a second time, with an allocator that fails on demand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/options.h"

static size_t allowed = SIZE_MAX, asked, held; /* allocations that succeed before one fails */

static void *count(void *memory) {
  held += memory != NULL;
  return memory;
}

static void *failing_malloc(size_t bytes) { return asked++ == allowed ? NULL : count(malloc(bytes)); }
static void *failing_calloc(size_t n, size_t bytes) { return asked++ == allowed ? NULL : count(calloc(n, bytes)); }
static void counting_free(void *memory) {
  held -= memory != NULL;
  free(memory);
}

#define nk_train_options_read failing_read
#define nk_train_options_free failing_free
#define nk_train_options_slots failing_slots
#define nk_train_options_held_out failing_held_out
#define nk_train_options_epoch_steps failing_epoch_steps
#define nk_train_options_total failing_total
#define nk_train_options_schedule failing_schedule
#define calloc failing_calloc
#define free counting_free
#include "train/options.c"
#undef nk_train_options_read
#undef nk_train_options_free
#undef nk_train_options_slots
#undef nk_train_options_held_out
#undef nk_train_options_epoch_steps
#undef nk_train_options_total
#undef nk_train_options_schedule
#undef calloc
#undef free

enum { LAYERS = 6, Q = 1 << NK_SLOT_Q, K = 1 << NK_SLOT_K, V = 1 << NK_SLOT_V, O = 1 << NK_SLOT_ATTN_OUT,
       GATE = 1 << NK_SLOT_GATE, UP = 1 << NK_SLOT_UP, DOWN = 1 << NK_SLOT_DOWN };

static nk_train_options options_of(const char *text) {
  nk_train_options options;
  nk_error error = {0};
  if (nk_train_options_read(&options, text, LAYERS, &error) != NK_STATUS_OK) fail_msg("%s: %s", text, error.text);
  return options;
}

static void what_is_left_out_has_the_methods_defaults(void **state) {
  (void)state;
  static const struct {
    const char *text;
    nk_method method;
    double lr, decay;
  } methods[] = {
      {NULL, NK_METHOD_LORA, 1e-3, 0.01},
      {"{}", NK_METHOD_LORA, 1e-3, 0.01},
      {"{\"method\": \"lora\"}", NK_METHOD_LORA, 1e-3, 0.01},
      {"{\"method\": \"prompt\"}", NK_METHOD_PROMPT, 5e-3, 0},
      {"{\"method\": \"prefix\"}", NK_METHOD_PREFIX, 1e-2, 0},
      {"{\"method\": \"ia3\"}", NK_METHOD_IA3, 1e-2, 0},
  };
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    nk_train_options o = options_of(methods[i].text);
    assert_int_equal(o.adapter.method, methods[i].method);
    assert_true(o.lr == methods[i].lr && o.adamw.weight_decay == methods[i].decay);
    assert_true(o.adamw.beta1 == 0.9 && o.adamw.beta2 == 0.999 && o.adamw.epsilon == 1e-8);
    assert_true(o.adapter.rank == 0 && o.adapter.slots == 0 && o.adapter.layers == NULL && o.adapter.n_virtual == 0);
    assert_true(!o.all_targets && o.init_ids == NULL && o.clip == 1 && o.shuffle && o.seed == 0);
    assert_int_equal(o.budget, NK_BUDGET_EPOCHS);
    assert_int_equal(o.epochs, 3);
    assert_int_equal(o.batch_size, 4);
    assert_int_equal(o.accumulate, 1);
    assert_int_equal(o.schedule, NK_SCHEDULE_COSINE);
    assert_true(o.held_out == 0 && o.held_out_random && o.patience == 0 && o.eval_every == 0 && o.memory_limit == 0);
    nk_train_options_free(&o);
  }
}

static void every_method_has_its_name_and_a_rate(void **state) {
  (void)state;
  for (uint32_t m = 0; m < NK_METHOD_COUNT; m++) {
    char text[64];
    (void)snprintf(text, sizeof text, "{\"method\": \"%s\"}", nk_method_name((nk_method)m));
    nk_train_options o = options_of(text);
    assert_int_equal(o.adapter.method, m);
    assert_true(o.lr > 0);
    nk_train_options_free(&o);
  }
}

static void everything_that_is_given_arrives(void **state) {
  (void)state;
  nk_train_options o = options_of(
      "{\"method\": \"lora\", \"rank\": 16, \"alpha\": 24.5, \"dropout\": 0.1, \"rslora\": true, \"targets\": [\"q\", "
      "\"v_proj\"], \"layers\": [0, 5], \"steps\": 24, \"batch_size\": 2, \"accumulate\": 8, \"lr\": 0.0005, \"schedule\": "
      "\"linear\", \"warmup_steps\": 4, \"weight_decay\": 0, \"clip\": 0.25, \"patience\": 3, \"eval_every\": 7, "
      "\"held_out\": 0.25, \"held_out_from\": \"end\", \"seed\": 9007199254740991, \"shuffle\": false, \"memory_limit\": "
      "5000000000}");
  assert_int_equal(o.adapter.rank, 16);
  assert_true(o.adapter.alpha == 24.5 && o.adapter.dropout == 0.1 && o.adapter.rslora);
  assert_int_equal(o.adapter.slots, Q | V);
  assert_ptr_equal(o.adapter.layers, o.layers);
  assert_memory_equal(o.layers, "\1\0\0\0\0\1", LAYERS);
  assert_int_equal(o.budget, NK_BUDGET_STEPS);
  assert_int_equal(o.steps, 24);
  assert_int_equal(o.batch_size, 2);
  assert_int_equal(o.accumulate, 8);
  assert_true(o.lr == 0.0005 && o.adamw.weight_decay == 0 && o.clip == 0.25);
  assert_int_equal(o.schedule, NK_SCHEDULE_LINEAR);
  assert_int_equal(o.warmup_steps, 4);
  assert_int_equal(o.patience, 3);
  assert_int_equal(o.eval_every, 7);
  assert_true(o.held_out == 0.25 && !o.held_out_random && !o.shuffle);
  assert_true(o.seed == 9007199254740991u && o.memory_limit == 5000000000u);
  nk_train_options_free(&o);
  o = options_of("{\"method\": \"prompt\", \"tokens\": 7, \"init_ids\": [5, 0, 300], \"minutes\": 2.5}");
  assert_int_equal(o.adapter.n_virtual, 7);
  assert_int_equal(o.n_init_ids, 3);
  assert_true(o.init_ids[0] == 5 && o.init_ids[1] == 0 && o.init_ids[2] == 300);
  assert_int_equal(o.budget, NK_BUDGET_MINUTES);
  assert_true(o.minutes == 2.5);
  assert_int_equal(o.schedule, NK_SCHEDULE_CONSTANT); /* the only one that needs no last step */
  nk_train_options_free(&o);
  o = options_of("{\"method\": \"prefix\", \"tokens\": 1, \"epochs\": 2, \"rank\": null, \"steps\": null}");
  assert_true(o.adapter.n_virtual == 1 && o.budget == NK_BUDGET_EPOCHS && o.epochs == 2);
  nk_train_options_free(&o);
}

static void targets_go_by_short_names_and_by_those_of_peft(void **state) {
  (void)state;
  static const struct {
    const char *targets;
    uint32_t slots;
  } names[] = {
      {"\"q\"", Q},
      {"[\"q\", \"k\", \"v\", \"o\", \"gate\", \"up\", \"down\"]", Q | K | V | O | GATE | UP | DOWN},
      {"[\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\"]", Q | K | V | O},
      {"[\"gate_proj\", \"up_proj\", \"down_proj\"]", GATE | UP | DOWN},
      {"[\"query_key_value\", \"dense\", \"dense_h_to_4h\", \"dense_4h_to_h\"]", Q | O | UP | DOWN},
      {"[\"qkv_proj\", \"gate_up_proj\"]", Q | GATE},
      {"[\"fc1\", \"fc2\", \"out_proj\"]", UP | DOWN | O},
      {"[\"v\", \"v_proj\", \"v\"]", V},
      {"\"in_proj\"", Q},
      {"\"attn_out\"", O},
  };
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char text[128];
    (void)snprintf(text, sizeof text, "{\"targets\": %s}", names[i].targets);
    nk_train_options o = options_of(text);
    assert_int_equal(o.adapter.slots, names[i].slots);
    assert_false(o.all_targets);
    nk_train_options_free(&o);
  }
}

static void all_targets_are_the_slots_that_the_chosen_layers_have(void **state) {
  (void)state;
  const nk_format *some = nk_format_at(0); /* a slot is there when it has a format */
  nk_layer layers[LAYERS];
  memset(layers, 0, sizeof layers);
  for (int l = 0; l < LAYERS; l++) {
    layers[l].qkv[0].matrix.format = layers[l].up.matrix.format = some;
    if (l == 3) layers[l].gate.matrix.format = some;
  }
  nk_model model;
  memset(&model, 0, sizeof model);
  model.layers = layers;
  model.config.n_layers = LAYERS;
  nk_train_options o = options_of("{\"targets\": \"all\"}");
  assert_true(o.all_targets);
  uint32_t slots = nk_train_options_slots(&o, &model);
  assert_int_equal(slots, Q | UP | GATE);
  nk_train_options_free(&o);
  o = options_of("{\"targets\": [\"all-linear\"], \"layers\": [0, 2, 4]}");
  assert_int_equal(nk_train_options_slots(&o, &model), Q | UP);
  nk_train_options_free(&o);
  o = options_of("{\"targets\": [\"v\"]}"); /* the adapter says that there is none */
  assert_int_equal(nk_train_options_slots(&o, &model), V);
  nk_train_options_free(&o);
}

static void every_mistake_is_told_in_a_sentence(void **state) {
  (void)state;
  static const struct {
    const char *text, *sentence;
  } mistakes[] = {
      {"{\"method\": \"dora\"}", "the option \"method\" is \"dora\"; allowed is one of lora|prompt|prefix|ia3"},
      {"{\"rank\": 0}", "the option \"rank\" is 0; allowed is an integer from 1 to 1024"},
      {"{\"rank\": 2.5}", "the option \"rank\" is 2.5; allowed is an integer from 1 to 1024"},
      {"{\"alpha\": 0}", "the option \"alpha\" is 0; allowed is a number from 1e-06 to 1000000"},
      {"{\"dropout\": 1}", "the option \"dropout\" is 1; allowed is a number from 0 to 0.99"},
      {"{\"lr\": 0}", "the option \"lr\" is 0; allowed is a number from 1e-09 to 10"},
      {"{\"lr\": 11}", "the option \"lr\" is 11; allowed is a number from 1e-09 to 10"},
      {"{\"epochs\": 0}", "the option \"epochs\" is 0; allowed is an integer from 1 to 10000"},
      {"{\"steps\": 10000001}", "the option \"steps\" is 10000001; allowed is an integer from 1 to 10000000"},
      {"{\"batch_size\": 0}", "the option \"batch_size\" is 0; allowed is an integer from 1 to 1024"},
      {"{\"accumulate\": 1025}", "the option \"accumulate\" is 1025; allowed is an integer from 1 to 1024"},
      {"{\"weight_decay\": -0.1}", "the option \"weight_decay\" is -0.1; allowed is a number from 0 to 10"},
      {"{\"clip\": -1}", "the option \"clip\" is -1; allowed is a number from 0 to 1000000"},
      {"{\"schedule\": \"step\"}", "the option \"schedule\" is \"step\"; allowed is one of constant|linear|cosine"},
      {"{\"seed\": 0.5}", "the option \"seed\" must be an integer"},
      {"{\"memory_limit\": 10.5}", "the option \"memory_limit\" must be an integer"},
      {"{\"held_out\": 2.5}", "the option \"held_out\" must be an integer or a share below 1"},
      {"{\"held_out\": -1}", "the option \"held_out\" is -1; allowed is a number from 0 to 4194304"},
      {"{\"held_out_from\": \"start\"}", "the option \"held_out_from\" is \"start\"; allowed is one of random|end"},
      {"{\"epochs\": 1, \"steps\": 5}",
       "2 of the options \"epochs\", \"steps\" and \"minutes\" are given; allowed is one"},
      {"{\"minutes\": 1, \"epochs\": 1, \"steps\": 5}",
       "3 of the options \"epochs\", \"steps\" and \"minutes\" are given; allowed is one"},
      {"{\"minutes\": 1, \"schedule\": \"cosine\"}",
       "a schedule that falls needs to know its last step, which \"minutes\" does not tell"},
      {"{\"targets\": []}", "the option \"targets\" must be a name or a list of names that is not empty"},
      {"{\"targets\": [1]}", "the option \"targets\" must be a name or a list of names that is not empty"},
      {"{\"targets\": [\"q\", null]}", "the option \"targets\" must be a name or a list of names that is not empty"},
      {"{\"targets\": {\"q\": \"v\"}}", "the option \"targets\" must be a name or a list of names that is not empty"},
      {"{\"targets\": \"lm_head\"}",
       "the option \"targets\" has \"lm_head\"; allowed are all, q, k, v, o, gate, up, down and PEFT's names of them "
       "(q_proj, query_key_value, fc1, ...)"},
      {"{\"layers\": [6]}", "the option \"layers\" must be a list of layers from 0 to 5, one at least"},
      {"{\"layers\": [-1]}", "the option \"layers\" must be a list of layers from 0 to 5, one at least"},
      {"{\"layers\": [1.5]}", "the option \"layers\" must be a list of layers from 0 to 5, one at least"},
      {"{\"layers\": [1, \"2\"]}", "the option \"layers\" must be a list of layers from 0 to 5, one at least"},
      {"{\"layers\": []}", "the option \"layers\" must be a list of layers from 0 to 5, one at least"},
      {"{\"layers\": 3}", "the option \"layers\" must be a list of layers from 0 to 5, one at least"},
      {"{\"method\": \"prompt\", \"init_ids\": []}",
       "the option \"init_ids\" must be a list of 1 to 1024 token ids"},
      {"{\"method\": \"prompt\", \"init_ids\": [1, 2147483648]}",
       "the option \"init_ids\" must be a list of 1 to 1024 token ids"},
      {"{\"method\": \"prompt\", \"init_ids\": [1, -1]}",
       "the option \"init_ids\" must be a list of 1 to 1024 token ids"},
      {"{\"method\": \"prompt\", \"tokens\": 1025}",
       "the option \"tokens\" is 1025; allowed is an integer from 1 to 1024"},
      {"{\"method\": \"ia3\", \"rank\": 8}", "the option \"rank\" belongs to lora; the method is ia3"},
      {"{\"method\": \"prompt\", \"alpha\": 8}", "the option \"alpha\" belongs to lora; the method is prompt"},
      {"{\"method\": \"ia3\", \"dropout\": 0}", "the option \"dropout\" belongs to lora; the method is ia3"},
      {"{\"method\": \"prefix\", \"rslora\": false}", "the option \"rslora\" belongs to lora; the method is prefix"},
      {"{\"method\": \"prompt\", \"targets\": \"q\"}",
       "the option \"targets\" belongs to lora and ia3; the method is prompt"},
      {"{\"method\": \"prefix\", \"layers\": [1]}",
       "the option \"layers\" belongs to lora and ia3; the method is prefix"},
      {"{\"tokens\": 8}", "the option \"tokens\" belongs to prompt and prefix; the method is lora"},
      {"{\"method\": \"prefix\", \"init_ids\": [1]}",
       "the option \"init_ids\" belongs to prompt; the method is prefix"},
  };
  for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
    nk_train_options o;
    nk_error error = {0};
    nk_status status = nk_train_options_read(&o, mistakes[i].text, LAYERS, &error);
    if (status != NK_STATUS_DATA) fail_msg("%s is accepted", mistakes[i].text);
    assert_string_equal(error.text, mistakes[i].sentence);
    assert_true(o.layers == NULL && o.init_ids == NULL);
  }
  nk_train_options o;
  nk_error error = {0};
  assert_int_equal(nk_train_options_read(&o, "{\"rnak\": 8}", LAYERS, &error), NK_STATUS_DATA);
  assert_non_null(strstr(error.text, "there is no option \"rnak\"; known are: method, rank, alpha"));
  char many[8192] = "{\"method\": \"prompt\", \"init_ids\": [1";
  for (int i = 0; i < 1024; i++) strcat(many, ",1");
  strcat(many, "]}");
  assert_int_equal(nk_train_options_read(&o, many, LAYERS, &error), NK_STATUS_DATA);
}

static void memory_that_runs_out_is_told_and_leaves_nothing_behind(void **state) {
  (void)state;
  static const char *const texts[] = {"{\"rank\": 4, \"targets\": [\"q\"], \"layers\": [1, 2]}",
                                      "{\"method\": \"prompt\", \"init_ids\": [1, 2, 3]}"};
  cJSON_Hooks hooks = {failing_malloc, counting_free};
  for (int t = 0; t < 2; t++) {
    nk_status status = NK_STATUS_MEMORY;
    for (size_t fault = 0; status == NK_STATUS_MEMORY; fault++) {
      nk_train_options o;
      nk_error error = {0};
      cJSON_InitHooks(&hooks);
      allowed = fault;
      asked = held = 0;
      status = failing_read(&o, texts[t], LAYERS, &error);
      allowed = SIZE_MAX;
      if (status == NK_STATUS_OK) failing_free(&o);
      cJSON_InitHooks(NULL);
      assert_true(status == NK_STATUS_OK || (status == NK_STATUS_MEMORY && error.text[0] != '\0'));
      assert_int_equal(held, 0);
      assert_true(status == NK_STATUS_MEMORY || fault > 8);
    }
  }
}

static void steps_and_schedule_follow_from_the_examples(void **state) {
  (void)state;
  nk_train_options o = options_of("{\"epochs\": 3, \"batch_size\": 4, \"accumulate\": 2}");
  assert_int_equal(nk_train_options_epoch_steps(&o, 1), 1);
  assert_int_equal(nk_train_options_epoch_steps(&o, 8), 1);
  assert_int_equal(nk_train_options_epoch_steps(&o, 9), 2);
  assert_int_equal(nk_train_options_total(&o, 17), 9);
  assert_int_equal(nk_train_options_total(&o, 400), 150);
  nk_schedule s = nk_train_options_schedule(&o, 150);
  assert_true(s.kind == NK_SCHEDULE_COSINE && s.lr == o.lr && s.warmup == 10 && s.total == 150);
  assert_int_equal(nk_train_options_schedule(&o, 39).warmup, 3);
  assert_int_equal(nk_train_options_schedule(&o, 9).warmup, 0);
  nk_train_options_free(&o);
  o = options_of("{\"steps\": 24, \"warmup_steps\": 0, \"schedule\": \"constant\"}");
  assert_int_equal(nk_train_options_total(&o, 4000000), 24);
  assert_int_equal(nk_train_options_schedule(&o, 24).warmup, 0);
  assert_int_equal(nk_train_options_schedule(&o, 24).kind, NK_SCHEDULE_CONSTANT);
  nk_train_options_free(&o);
  o = options_of("{\"minutes\": 5, \"batch_size\": 1024, \"accumulate\": 1024}");
  assert_int_equal(nk_train_options_total(&o, 100), 0);
  assert_int_equal(nk_train_options_schedule(&o, 0).warmup, 10);
  assert_int_equal(nk_train_options_epoch_steps(&o, UINT32_MAX), 4096);
  nk_train_options_free(&o);
}

static void the_held_out_part_is_a_share_or_a_count(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint32_t n, held;
  } parts[] = {
      {"{}", 100, 0},
      {"{\"held_out\": 0.1}", 100, 10},
      {"{\"held_out\": 0.1}", 4, 1}, /* never none */
      {"{\"held_out\": 0.25}", 10, 3},
      {"{\"held_out\": 24}", 120, 24},
      {"{\"held_out\": 1}", 120, 1},
      {"{\"held_out\": 200}", 120, 200}, /* the split refuses it */
  };
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    nk_train_options o = options_of(parts[i].text);
    assert_int_equal(nk_train_options_held_out(&o, parts[i].n), parts[i].held);
    nk_train_options_free(&o);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_left_out_has_the_methods_defaults),
      cmocka_unit_test(every_method_has_its_name_and_a_rate),
      cmocka_unit_test(everything_that_is_given_arrives),
      cmocka_unit_test(targets_go_by_short_names_and_by_those_of_peft),
      cmocka_unit_test(all_targets_are_the_slots_that_the_chosen_layers_have),
      cmocka_unit_test(every_mistake_is_told_in_a_sentence),
      cmocka_unit_test(memory_that_runs_out_is_told_and_leaves_nothing_behind),
      cmocka_unit_test(steps_and_schedule_follow_from_the_examples),
      cmocka_unit_test(the_held_out_part_is_a_share_or_a_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
