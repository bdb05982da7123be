/*
 * test_adapted_pass.c: adapters in the forward pass, each method on every decoder: what changes nothing, what is restored,
 * the same bits whatever the way, scales and sums, the cache between adapters, places in the context.
 */
#include "adapted_fixture.h"

#define N 44u /* beyond the tiny models' windows */

static void assert_same_bits(const float *a, const float *b, size_t n, const char *path, const char *what) {
  if (memcmp(a, b, n * sizeof *a) != 0) fail_msg("%s, %s: off by %.3g", path, what, max_abs_difference(a, b, n));
}

static void assert_moved(const float *a, const float *b, size_t n, const char *path, const char *what) {
  double moved = max_abs_difference(a, b, n);
  if (!(moved > 1e-3)) fail_msg("%s, %s: the logits move by %.3g only", path, what, moved);
}

static void assert_near(const float *a, const float *b, size_t n, double tolerance, const char *path, const char *what) {
  double off = max_abs_difference(a, b, n);
  if (!(off <= tolerance)) fail_msg("%s, %s: off by %.3g", path, what, off);
}

typedef struct subject {
  host h;
  uint32_t vocab;
  size_t n; /* logits of the sequence */
  int32_t ids[N];
} subject;

static subject subject_open(const char *path, uint32_t threads, const char *options) {
  subject s = {.h = host_open(path, "simd128", threads, options)};
  s.vocab = host_columns(&s.h);
  s.n = (size_t)N * s.vocab;
  random_ids(s.ids, N, s.vocab, 5);
  return s;
}

static float *logits(subject *s, uint32_t chunk) { return host_logits(&s->h, s->ids, N, chunk, s->vocab); }

/* ---- What changes nothing ------------------------------------------------------------------------------------------ */

static void check_fresh(const char *path) {
  subject s = subject_open(path, 1, "");
  float *base = logits(&s, 0);
  for (size_t w = 0; w < N_WAYS; w++) {
    if (WAYS[w].config.method != NK_METHOD_LORA && WAYS[w].config.method != NK_METHOD_IA3) continue;
    nk_adapter *adapter = adapter_of(s.h.context->model, &WAYS[w]);
    nk_error error = {0};
    if (nk_adapter_initialize(adapter, s.h.context->model, 7, NULL, 0, &error) != NK_STATUS_OK) fail_msg("%s", error.text);
    apply_one(&s.h, adapter_hold(&s.h, adapter), 1.0f);
    float *own = logits(&s, 0);
    assert_near(own, base, s.n, 0.0, path, WAYS[w].name); /* a zero may have the other sign */
    free(own);
  }
  free(base);
  host_close(&s.h);
}

static void a_fresh_lora_or_ia3_leaves_the_logits_as_they_are(void **state) {
  (void)state;
  every_decoder(check_fresh);
}

/* ---- The same bits whatever the way, and the model's own once the adapter is gone ----------------------------------- */

static void check_ways(const char *path) {
  static const uint32_t chunks[] = {1, 5, 32};
  subject one = subject_open(path, 1, ""), three = subject_open(path, 3, "");
  float *base = logits(&one, 0);
  for (size_t w = 0; w < N_WAYS; w++) {
    const char *name = WAYS[w].name;
    uint32_t id = adapter_hold(&one.h, adapter_random(one.h.context->model, &WAYS[w], 11 + w));
    apply_one(&one.h, id, 1.0f);
    float *whole = logits(&one, 0);
    assert_moved(whole, base, one.n, path, name);
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
      float *other = logits(&one, chunks[c]);
      assert_same_bits(other, whole, one.n, path, name);
      free(other);
    }
    apply_one(&three.h, adapter_hold(&three.h, adapter_random(three.h.context->model, &WAYS[w], 11 + w)), 1.0f);
    for (uint32_t chunk = 0; chunk < 10; chunk += 9) {
      float *other = logits(&three, chunk);
      assert_same_bits(other, whole, one.n, path, name);
      free(other);
    }
    free(whole);
    if (w % 2 == 0) apply_all(&one.h, NULL, NULL, 0);
    else assert_int_equal(nook_adapter_remove(one.h.context, id), NK_STATUS_OK);
    float *again = logits(&one, 0);
    assert_same_bits(again, base, one.n, path, name);
    free(again);
  }
  free(base);
  host_close(&one.h);
  host_close(&three.h);
}

static void chunks_and_threads_change_no_bit_and_removal_restores_the_model(void **state) {
  (void)state;
  every_decoder(check_ways);
}

/* ---- Scales and sums ----------------------------------------------------------------------------------------------- */

#define SUM_TOLERANCE 2e-4 /* logits up to some tens, in another order of sums */

/* B · factor in every slot. */
static void fold(nk_adapter *adapter, float factor) {
  for (uint32_t i = 0; i < adapter->n_params; i++) {
    const nk_param *p = &adapter->params[i];
    for (uint64_t k = 0; p->kind == NK_PARAM_LORA_B && k < (uint64_t)p->rows * p->cols; k++)
      adapter->values[p->offset + k] *= factor;
  }
  nk_adapter_rekey(adapter);
}

/* Both in one of twice the rank: rows of A and of B below one another. */
static nk_adapter *stacked(const nk_model *model, const struct way *way, const nk_adapter *a, const nk_adapter *b) {
  struct way twice = *way;
  twice.config.rank *= 2;
  twice.config.alpha *= 2.0;
  nk_adapter *sum = adapter_of(model, &twice);
  assert_int_equal(sum->n_params, a->n_params);
  for (uint32_t i = 0; i < sum->n_params; i++) {
    size_t n = (size_t)a->params[i].rows * a->params[i].cols;
    float *to = sum->values + sum->params[i].offset;
    memcpy(to, a->values + a->params[i].offset, n * sizeof *to);
    memcpy(to + n, b->values + b->params[i].offset, n * sizeof *to);
  }
  nk_adapter_rekey(sum);
  return sum;
}

static void check_scales(const char *path) {
  subject s = subject_open(path, 1, ",\"activations\":\"f32\"");
  const nk_model *model = s.h.context->model;
  for (size_t w = 0; w < 2; w++) {
    const struct way *way = &WAYS[w];
    nk_adapter *a = adapter_random(model, way, 21), *b = adapter_random(model, way, 22);
    nk_adapter *half = adapter_random(model, way, 21), *sum = stacked(model, way, a, b);
    fold(half, 0.5f);
    uint32_t ids[2] = {adapter_hold(&s.h, a), adapter_hold(&s.h, b)};
    uint32_t half_id = adapter_hold(&s.h, half), sum_id = adapter_hold(&s.h, sum);
    static const float ones[2] = {1.0f, 1.0f};
    apply_one(&s.h, ids[0], 1.0f);
    float *at_one = logits(&s, 0);
    apply_one(&s.h, ids[0], 0.5f);
    float *at_half = logits(&s, 0);
    apply_one(&s.h, half_id, 1.0f);
    float *folded = logits(&s, 0);
    apply_all(&s.h, ids, ones, 2);
    float *both = logits(&s, 0);
    apply_one(&s.h, sum_id, 1.0f);
    float *stack = logits(&s, 0);
    assert_moved(at_half, at_one, s.n, path, "half the scale");
    assert_moved(both, at_one, s.n, path, "two adapters");
    assert_near(folded, at_half, s.n, 1e-5, path, "half of B");
    assert_near(both, stack, s.n, SUM_TOLERANCE, path, "two adapters against one of both");
    free(at_one);
    free(at_half);
    free(folded);
    free(both);
    free(stack);
  }
  host_close(&s.h);
}

static void scales_multiply_and_two_loras_add_up(void **state) {
  (void)state;
  every_decoder(check_scales);
}

/* At half the scale: half of each factor's distance from 1. */
static void check_factors(const char *path) {
  subject s = subject_open(path, 1, ",\"activations\":\"f32\"");
  for (size_t w = 2; w < 4; w++) {
    nk_adapter *whole = adapter_random(s.h.context->model, &WAYS[w], 25);
    nk_adapter *half = adapter_random(s.h.context->model, &WAYS[w], 25);
    for (uint64_t i = 0; i < half->n_values; i++) half->values[i] = 1.0f + 0.5f * (half->values[i] - 1.0f);
    nk_adapter_rekey(half);
    uint32_t whole_id = adapter_hold(&s.h, whole), half_id = adapter_hold(&s.h, half);
    apply_one(&s.h, whole_id, 1.0f);
    float *at_one = logits(&s, 0);
    apply_one(&s.h, whole_id, 0.5f);
    float *at_half = logits(&s, 0);
    apply_one(&s.h, half_id, 1.0f);
    float *halved = logits(&s, 0);
    assert_moved(at_half, at_one, s.n, path, "IA3 at half the scale");
    assert_near(halved, at_half, s.n, 1e-5, path, "half of IA3");
    free(at_one);
    free(at_half);
    free(halved);
  }
  host_close(&s.h);
}

static void the_scale_of_ia3_goes_from_the_model_to_its_factors(void **state) {
  (void)state;
  every_decoder(check_factors);
}

/* LoRA, IA3 and a prefix at once: another result than without any one of them, the same bits in chunks. */
static void check_together(const char *path) {
  subject s = subject_open(path, 1, "");
  static const size_t ways[3] = {1, 2, 5};
  uint32_t ids[3];
  float scales[3] = {1.0f, 1.0f, 1.0f};
  for (size_t i = 0; i < 3; i++)
    ids[i] = adapter_hold(&s.h, adapter_random(s.h.context->model, &WAYS[ways[i]], 31 + i));
  apply_all(&s.h, ids, scales, 3);
  float *all = logits(&s, 0), *chunked = logits(&s, 7);
  assert_same_bits(chunked, all, s.n, path, "three adapters in chunks");
  for (size_t without = 0; without < 3; without++) {
    uint32_t two[2] = {ids[without == 0 ? 1 : 0], ids[without == 2 ? 1 : 2]};
    apply_all(&s.h, two, scales, 2);
    float *fewer = logits(&s, 0);
    assert_moved(fewer, all, s.n, path, WAYS[ways[without]].name);
    free(fewer);
  }
  free(all);
  free(chunked);
  host_close(&s.h);
}

static void lora_ia3_and_a_prefix_work_together(void **state) {
  (void)state;
  every_decoder(check_together);
}

/* ---- The cache ----------------------------------------------------------------------------------------------------- */

/* The last row of the sequence, as much of the cache reused as the session thinks right. */
static void last_row(subject *s, float *row) {
  char options[48];
  (void)snprintf(options, sizeof options, "{\"from\":%u}", N - 1);
  if (nook_eval_begin(s->h.context, s->ids, N, options) != NK_STATUS_OK) fail_msg("%s", nook_error(s->h.context));
  uint32_t got = 0;
  for (nook_rows rows = {0}; !rows.finished;) {
    assert_int_equal(nook_eval_step(s->h.context, &rows), NK_STATUS_OK);
    if (rows.n_rows == 0) continue;
    assert_int_equal(rows.n_rows, 1);
    memcpy(row, rows.values, s->vocab * sizeof *row);
    got++;
  }
  assert_int_equal(got, 1);
  nook_eval_end(s->h.context);
}

static void check_reuse(const char *path) {
  subject s = subject_open(path, 1, ""), fresh = subject_open(path, 1, "");
  float *own = malloc(s.vocab * sizeof *own);
  assert_non_null(own);
  uint32_t ids[N_WAYS], fresh_ids[N_WAYS];
  for (size_t w = 0; w < N_WAYS; w++) {
    ids[w] = adapter_hold(&s.h, adapter_random(s.h.context->model, &WAYS[w], 41 + w));
    fresh_ids[w] = adapter_hold(&fresh.h, adapter_random(fresh.h.context->model, &WAYS[w], 41 + w));
  }
  /* each way at two scales, the model alone between some of them */
  for (size_t turn = 0; turn < 2 * N_WAYS; turn++) {
    size_t w = turn / 2;
    bool linear = WAYS[w].config.method == NK_METHOD_LORA || WAYS[w].config.method == NK_METHOD_IA3;
    float scale = turn % 2 == 1 && linear ? 0.5f : 1.0f;
    uint32_t n = turn % 2 == 1 && !linear ? 0 : 1;
    apply_all(&s.h, &ids[w], &scale, n);
    apply_all(&fresh.h, &fresh_ids[w], &scale, n);
    float *expected = logits(&fresh, 0);
    for (int again = 0; again < 2; again++) { /* after others; then after itself */
      last_row(&s, own);
      assert_same_bits(own, expected + (size_t)(N - 1) * s.vocab, s.vocab, path, WAYS[w].name);
    }
    free(expected);
  }
  free(own);
  host_close(&s.h);
  host_close(&fresh.h);
}

static void nothing_read_with_other_adapters_is_reused(void **state) {
  (void)state;
  every_decoder(check_reuse);
}

static void check_kv(const char *path) {
  static const char *const kinds[] = {"f32", "f16", "q8"};
  float *exact = NULL;
  for (size_t k = 0; k < 3; k++) {
    char options[64];
    (void)snprintf(options, sizeof options, ",\"kv\":\"%s\",\"activations\":\"f32\"", kinds[k]);
    subject s = subject_open(path, 1, options);
    apply_one(&s.h, adapter_hold(&s.h, adapter_random(s.h.context->model, &WAYS[5], 51)), 1.0f);
    float *whole = logits(&s, 0), *single = logits(&s, 1);
    assert_same_bits(single, whole, s.n, path, kinds[k]);
    if (exact == NULL) {
      exact = whole;
    } else {
      double error = 0.0, size = 0.0;
      for (size_t i = 0; i < s.n; i++) {
        double difference = (double)whole[i] - (double)exact[i];
        error += difference * difference;
        size += (double)exact[i] * (double)exact[i];
      }
      double off = sqrt(error / size);
      if (!(off <= (k == 1 ? 2e-3 : 3e-2))) fail_msg("%s, %s: off by %.3g", path, kinds[k], off);
      free(whole);
    }
    free(single);
    host_close(&s.h);
  }
  free(exact);
}

static void a_prefix_stands_before_every_kind_of_cache(void **state) {
  (void)state;
  every_decoder(check_kv);
}

/* ---- Places in the context ------------------------------------------------------------------------------------------ */

static void assert_full(host *h, nk_status status) {
  assert_int_equal(status, NK_STATUS_CONTEXT_FULL);
  assert_true(strlen(nook_error(h->context)) > 20);
}

static void check_places(const char *path) {
  static const char options[] = "{\"reuse\":false}";
  for (size_t w = 4; w < N_WAYS; w++) {
    subject s = subject_open(path, 1, ",\"context\":48");
    const nk_session *session = s.h.context->session;
    assert_int_equal(nk_session_context(session), 48);
    struct way wide = WAYS[w];
    wide.config.n_virtual = 48;
    uint32_t id = adapter_hold(&s.h, adapter_random(s.h.context->model, &WAYS[w], 61));
    uint32_t all = adapter_hold(&s.h, adapter_random(s.h.context->model, &wide, 61));
    apply_one(&s.h, id, 1.0f);
    uint32_t left = nk_session_context(session);
    assert_int_equal(left, 48 - WAYS[w].config.n_virtual);
    float *fits = host_logits(&s.h, s.ids, left, 0, s.vocab);
    assert_full(&s.h, nook_eval_begin(s.h.context, s.ids, left + 1, options));
    const float one = 1.0f;
    assert_full(&s.h, nook_adapters_apply(s.h.context, &all, &one, 1));
    float *still = host_logits(&s.h, s.ids, left, 0, s.vocab); /* the refused one changed nothing */
    assert_same_bits(still, fits, (size_t)left * s.vocab, path, WAYS[w].name);
    free(fits);
    free(still);
    apply_all(&s.h, NULL, NULL, 0);
    assert_int_equal(nk_session_context(session), 48);
    free(logits(&s, 0));
    host_close(&s.h);
  }
}

static void prompts_and_prefixes_take_their_places_from_the_context(void **state) {
  (void)state;
  every_decoder(check_places);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_fresh_lora_or_ia3_leaves_the_logits_as_they_are),
      cmocka_unit_test(chunks_and_threads_change_no_bit_and_removal_restores_the_model),
      cmocka_unit_test(scales_multiply_and_two_loras_add_up),
      cmocka_unit_test(the_scale_of_ia3_goes_from_the_model_to_its_factors),
      cmocka_unit_test(lora_ia3_and_a_prefix_work_together),
      cmocka_unit_test(nothing_read_with_other_adapters_is_reused),
      cmocka_unit_test(a_prefix_stands_before_every_kind_of_cache),
      cmocka_unit_test(prompts_and_prefixes_take_their_places_from_the_context),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
