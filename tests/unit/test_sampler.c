/* test_sampler.c: each step of the sampler against its definition, written plainly here, and the draws as a distribution.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generate/sampler.h"

#define VOCAB 40u

typedef struct fixture {
  nk_sampler sampler;
  void *scratch;
} fixture;

static fixture make(const nk_sampler_options *options, uint32_t vocab) {
  fixture f;
  f.scratch = malloc((size_t)nk_sampler_bytes(vocab));
  assert_non_null(f.scratch);
  nk_error error = {0};
  assert_int_equal(nk_sampler_init(&f.sampler, options, vocab, f.scratch, &error), NK_STATUS_OK);
  return f;
}

static int32_t draw(fixture *f, const float *logits, const int32_t *past, uint32_t n_past, uint32_t n_prompt) {
  nk_error error = {0};
  int32_t token = -1;
  nk_status status = nk_sampler_draw(&f->sampler, logits, past, n_past, n_prompt, &token, &error);
  if (status != NK_STATUS_OK) fail_msg("%s", error.text);
  assert_true(token >= 0 && (uint32_t)token < f->sampler.vocab);
  return token;
}

/* Logits whose softmax has a few likely tokens and a tail, with some exact ties. */
static void random_logits(nk_random *random, float *logits, uint32_t vocab) {
  for (uint32_t i = 0; i < vocab; i++) {
    logits[i] = (float)(nk_random_f64(random) * 10 - 5);
    if (i > 0 && nk_random_u32(random) % 5 == 0) logits[i] = logits[nk_random_u32(random) % i];
  }
}

/* ---- Generator --------------------------------------------------------------------------------------------------- */

/* ---- Greedy and errors ------------------------------------------------------------------------------------------- */

static void temperature_0_takes_the_highest_and_of_equal_ones_the_lowest_id(void **state) {
  (void)state;
  nk_sampler_options options = nk_sampler_defaults();
  options.temperature = 0;
  options.top_k = 1;
  fixture f = make(&options, 6);
  const float ties[6] = {-1, 3, 2, 3, 3, -INFINITY};
  const float copy[6] = {-1, 3, 2, 3, 3, -INFINITY};
  assert_int_equal(draw(&f, ties, NULL, 0, 0), 1);
  assert_memory_equal(ties, copy, sizeof copy);
  const float last[6] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -1e30f};
  assert_int_equal(draw(&f, last, NULL, 0, 0), 5);
  free(f.scratch);
  /* The same through top-k 1, which is greedy at any temperature. */
  options.temperature = 5;
  f = make(&options, 6);
  for (int i = 0; i < 50; i++) assert_int_equal(draw(&f, ties, NULL, 0, 0), 1);
  free(f.scratch);
}

static void broken_logits_are_an_error_with_a_sentence(void **state) {
  (void)state;
  nk_sampler_options options = nk_sampler_defaults();
  fixture f = make(&options, 4);
  nk_error error = {0};
  int32_t token;
  const float nan[4] = {0, 1, NAN, 2}, infinite[4] = {0, INFINITY, 1, 2},
              none[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  assert_int_equal(nk_sampler_draw(&f.sampler, nan, NULL, 0, 0, &token, &error), NK_STATUS_FORMAT);
  assert_non_null(strstr(error.text, "the logit of token 2 is not a number"));
  assert_int_equal(nk_sampler_draw(&f.sampler, infinite, NULL, 0, 0, &token, &error), NK_STATUS_FORMAT);
  assert_non_null(strstr(error.text, "the logit of token 1 is infinite"));
  assert_int_equal(nk_sampler_draw(&f.sampler, none, NULL, 0, 0, &token, &error), NK_STATUS_FORMAT);
  assert_non_null(strstr(error.text, "every token of the vocabulary has been ruled out"));
  free(f.scratch);
}

static void options_out_of_range_are_named(void **state) {
  (void)state;
  static const struct {
    const char *name;
    size_t offset;
    double low, high; /* the nearest values that are refused */
  } cases[] = {
      {"temperature", offsetof(nk_sampler_options, temperature), -0.01, 100.1},
      {"top_p", offsetof(nk_sampler_options, top_p), -0.01, 1.01},
      {"min_p", offsetof(nk_sampler_options, min_p), -0.01, 1.01},
      {"typical_p", offsetof(nk_sampler_options, typical_p), -0.01, 1.01},
      {"repetition_penalty", offsetof(nk_sampler_options, repetition_penalty), 0, 101},
      {"frequency_penalty", offsetof(nk_sampler_options, frequency_penalty), -2.01, 2.01},
      {"presence_penalty", offsetof(nk_sampler_options, presence_penalty), -2.01, 2.01},
  };
  nk_sampler sampler;
  double memory[2 * 4];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const double values[] = {cases[i].low, cases[i].high, NAN, INFINITY};
    for (int v = 0; v < 4; v++) {
      nk_sampler_options options = nk_sampler_defaults();
      memcpy((char *)&options + cases[i].offset, &values[v], sizeof(double));
      nk_error error = {0};
      assert_int_equal(nk_sampler_init(&sampler, &options, 4, memory, &error), NK_STATUS_DATA);
      assert_non_null(strstr(error.text, cases[i].name));
      assert_non_null(strstr(error.text, "allowed is"));
    }
  }
  const nk_logit_bias biases[] = {{-1, 0}, {4, 0}, {2, 1001}, {2, -1001}, {2, NAN}};
  for (size_t i = 0; i < sizeof biases / sizeof biases[0]; i++) {
    nk_sampler_options options = nk_sampler_defaults();
    options.bias = &biases[i];
    options.n_bias = 1;
    nk_error error = {0};
    assert_int_equal(nk_sampler_init(&sampler, &options, 4, memory, &error), NK_STATUS_DATA);
    assert_non_null(strstr(error.text, "logit_bias"));
  }
}

/* ---- Bias and penalties: greedy leaves the changed scores in the candidates, by id ------------------------------- */

static void assert_score(const fixture *f, uint32_t token, double wanted) {
  assert_int_equal(f->sampler.candidates[token].token, token);
  float got = f->sampler.candidates[token].score;
  if (got != (float)wanted) fail_msg("token %u has score %.9g, not %.9g", token, (double)got, wanted);
}

static void biases_are_added_and_penalties_follow_their_formulas(void **state) {
  (void)state;
  const float logits[8] = {1, -1, 2, -2, 0.5f, 3, -3, 0};
  const int32_t past[] = {2, 3, 2, 5, 5, 5, 3, 99, -4, 7};
  const nk_logit_bias bias[] = {{0, 4}, {0, 0.5f}, {2, -1}, {6, 10}};
  nk_sampler_options options = nk_sampler_defaults();
  options.temperature = 0;
  options.bias = bias;
  options.n_bias = 4;
  options.repetition_penalty = 1.25;
  options.frequency_penalty = 0.5;
  options.presence_penalty = 0.25;
  options.frequency_sees_prompt = true;
  fixture f = make(&options, 8);
  for (int again = 0; again < 2; again++) { /* nothing is left over from the draw before */
    (void)draw(&f, logits, past, 10, 4);
    assert_score(&f, 0, 1 + 4.5);
    assert_score(&f, 1, -1);
    assert_score(&f, 2, (2 - 1) / 1.25 - 2 * 0.5 - 0.25);
    assert_score(&f, 3, -2 * 1.25 - 2 * 0.5 - 0.25);
    assert_score(&f, 4, 0.5);
    assert_score(&f, 5, 3 / 1.25 - 3 * 0.5 - 0.25);
    assert_score(&f, 6, -3 + 10);
    assert_score(&f, 7, 0 - 0.5 - 0.25);
  }
  free(f.scratch);
  /* Negative penalties reward, a repetition penalty below 1 too. */
  options.repetition_penalty = 0.5;
  options.frequency_penalty = -1;
  options.presence_penalty = -2;
  options.n_bias = 0;
  f = make(&options, 8);
  (void)draw(&f, logits, past, 10, 4);
  assert_score(&f, 2, 2 / 0.5 + 2 + 2);
  assert_score(&f, 3, -2 * 0.5 + 2 + 2);
  free(f.scratch);
}

static void penalties_see_the_window_and_the_prompt_as_told(void **state) {
  (void)state;
  const float logits[4] = {1, 1, 1, 1};
  const int32_t past[] = {0, 0, 1, 1, 2}; /* 0, 0, 1 are the prompt's */
  for (uint32_t window = 0; window <= 6; window++) {
    for (int flags = 0; flags < 4; flags++) {
      nk_sampler_options options = nk_sampler_defaults();
      options.temperature = 0;
      options.repetition_penalty = 2;
      options.frequency_penalty = 1;
      options.penalty_window = window;
      options.repetition_sees_prompt = (flags & 1) != 0;
      options.frequency_sees_prompt = (flags & 2) != 0;
      fixture f = make(&options, 4);
      (void)draw(&f, logits, past, 5, 3);
      for (uint32_t token = 0; token < 4; token++) {
        bool repeated = false;
        int count = 0;
        for (uint32_t i = 0; i < 5; i++) {
          bool inside = window == 0 || i + window >= 5;
          if (!inside || past[i] != (int32_t)token) continue;
          if (i >= 3 || (flags & 1) != 0) repeated = true;
          if (i >= 3 || (flags & 2) != 0) count++;
        }
        assert_score(&f, token, (repeated ? 0.5 : 1) - count);
      }
      free(f.scratch);
    }
  }
}

static void scores_stay_finite_and_ruled_out_tokens_stay_out(void **state) {
  (void)state;
  const float logits[4] = {FLT_MAX, -FLT_MAX, -INFINITY, 0};
  const int32_t past[] = {0, 1, 2};
  const nk_logit_bias bias[] = {{2, 1000}};
  nk_sampler_options options = nk_sampler_defaults();
  options.repetition_penalty = 0.01;
  options.bias = bias;
  options.n_bias = 1;
  options.presence_penalty = -2;
  fixture f = make(&options, 4);
  for (int i = 0; i < 20; i++) assert_int_equal(draw(&f, logits, past, 3, 0), 0);
  assert_true(f.sampler.candidates[0].score == FLT_MAX);
  free(f.scratch);
  options.repetition_penalty = 100;
  f = make(&options, 4);
  for (int i = 0; i < 20; i++) assert_int_equal(draw(&f, logits, past, 3, 0), 0);
  assert_true(f.sampler.candidates[1].score == -FLT_MAX);
  free(f.scratch);
}

/* ---- Filters, against plain versions ----------------------------------------------------------------------------- */

typedef struct entry {
  uint32_t token;
  double score, p, key;
} entry;

static int by_score(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return x->token < y->token ? -1 : 1;
}

static int by_key(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return x->token < y->token ? -1 : 1;
}

static void fill_p(entry *list, uint32_t n) {
  double sum = 0, top = -INFINITY;
  for (uint32_t i = 0; i < n; i++) top = fmax(top, list[i].score);
  for (uint32_t i = 0; i < n; i++) sum += list[i].p = exp(list[i].score - top);
  for (uint32_t i = 0; i < n; i++) list[i].p /= sum;
}

static uint32_t fewest(const entry *list, uint32_t n, double mass) {
  uint32_t kept = 0;
  for (double sum = 0; kept < n && (kept == 0 || sum < mass);) sum += list[kept++].p;
  return kept;
}

/* The whole chain by full sorts. Fills `kept` [vocab]. */
static void filter_plainly(const nk_sampler_options *o, const float *logits, uint32_t vocab, bool *kept) {
  entry list[VOCAB];
  uint32_t n = vocab;
  for (uint32_t i = 0; i < n; i++) list[i] = (entry){i, (double)logits[i], 0, 0};
  qsort(list, n, sizeof list[0], by_score);
  if (o->top_k > 0 && o->top_k < n) n = o->top_k;
  if (o->typical_p < 1) {
    fill_p(list, n);
    double entropy = 0;
    for (uint32_t i = 0; i < n; i++) entropy -= list[i].p * log(list[i].p);
    /* Equal scores have equal keys, but for the last bit of a plain logarithm: rounded, so that ids decide. */
    for (uint32_t i = 0; i < n; i++) list[i].key = round(fabs(-log(list[i].p) - entropy) * 1e9) / 1e9;
    qsort(list, n, sizeof list[0], by_key);
    n = fewest(list, n, o->typical_p);
    qsort(list, n, sizeof list[0], by_score);
  }
  if (o->top_p < 1) {
    fill_p(list, n);
    n = fewest(list, n, o->top_p);
  }
  if (o->min_p > 0) {
    fill_p(list, n);
    uint32_t least = 0;
    while (least < n && list[least].p >= o->min_p * list[0].p * (1 - 1e-9)) least++;
    n = least;
  }
  memset(kept, 0, vocab * sizeof *kept);
  for (uint32_t i = 0; i < n; i++) kept[list[i].token] = true;
}

/* At temperature 100 what is kept is drawn almost evenly: so many draws see each of up to 40 tokens. */
static void assert_keeps_what_the_plain_version_keeps(nk_sampler_options options, const float *logits) {
  bool wanted[VOCAB], seen[VOCAB] = {false};
  filter_plainly(&options, logits, VOCAB, wanted);
  options.temperature = 100;
  fixture f = make(&options, VOCAB);
  for (int i = 0; i < 1000; i++) seen[draw(&f, logits, NULL, 0, 0)] = true;
  for (uint32_t i = 0; i < VOCAB; i++) {
    if (seen[i] != wanted[i]) {
      fail_msg("token %u (k %u, typical %g, top-p %g, min-p %g): %s", i, options.top_k, options.typical_p, options.top_p,
               options.min_p, seen[i] ? "drawn, but filtered" : "kept, but never drawn");
    }
  }
  free(f.scratch);
}

static void top_k_keeps_the_k_highest(void **state) {
  (void)state;
  nk_random random = nk_random_seed(1);
  float logits[VOCAB];
  for (uint32_t k = 0; k <= VOCAB + 1; k++) {
    nk_sampler_options options = nk_sampler_defaults();
    options.top_k = k;
    options.seed = k;
    random_logits(&random, logits, VOCAB);
    assert_keeps_what_the_plain_version_keeps(options, logits);
  }
}

static void typical_keeps_the_fewest_of_typical_surprise(void **state) {
  (void)state;
  nk_random random = nk_random_seed(2);
  float logits[VOCAB];
  for (int i = 0; i <= 60; i++) {
    nk_sampler_options options = nk_sampler_defaults();
    options.typical_p = i == 60 ? 1 : i / 60.0;
    random_logits(&random, logits, VOCAB);
    assert_keeps_what_the_plain_version_keeps(options, logits);
  }
}

static void top_p_keeps_the_fewest_of_that_mass(void **state) {
  (void)state;
  nk_random random = nk_random_seed(3);
  float logits[VOCAB];
  for (int i = 0; i <= 60; i++) {
    nk_sampler_options options = nk_sampler_defaults();
    options.top_p = i == 60 ? 1 : i / 60.0;
    random_logits(&random, logits, VOCAB);
    assert_keeps_what_the_plain_version_keeps(options, logits);
  }
  /* Exactly reached mass is enough: four equal tokens, half of the mass, two kept, the lower ids. */
  const float equal[4] = {1, 1, 1, 1};
  nk_sampler_options options = nk_sampler_defaults();
  options.top_p = 0.5;
  fixture f = make(&options, 4);
  for (int i = 0; i < 200; i++) assert_true(draw(&f, equal, NULL, 0, 0) < 2);
  free(f.scratch);
}

static void min_p_keeps_what_is_near_the_highest(void **state) {
  (void)state;
  nk_random random = nk_random_seed(4);
  float logits[VOCAB];
  for (int i = 0; i <= 60; i++) {
    nk_sampler_options options = nk_sampler_defaults();
    options.min_p = i / 60.0;
    random_logits(&random, logits, VOCAB);
    assert_keeps_what_the_plain_version_keeps(options, logits);
  }
}

static void filters_follow_each_other_in_the_stated_order(void **state) {
  (void)state;
  nk_random random = nk_random_seed(5);
  float logits[VOCAB];
  for (int i = 0; i < 150; i++) {
    nk_sampler_options options = nk_sampler_defaults();
    options.top_k = 2 + nk_random_u32(&random) % VOCAB;
    options.typical_p = 0.4 + 0.6 * nk_random_f64(&random);
    options.top_p = 0.4 + 0.6 * nk_random_f64(&random);
    options.min_p = 0.2 * nk_random_f64(&random);
    random_logits(&random, logits, VOCAB);
    assert_keeps_what_the_plain_version_keeps(options, logits);
  }
}

/* ---- The draw ---------------------------------------------------------------------------------------------------- */

/* Pearson's statistic of many draws against softmax(logits / temperature) over the tokens that are kept. The bound is far
   out in the tail (the 1 - 1e-6 quantile of 39 degrees of freedom is 93), and the seed is fixed. */
static void assert_draws_follow_the_softmax(nk_sampler_options options, const float *logits, double bound) {
  enum { DRAWS = 40000 };
  bool kept[VOCAB];
  filter_plainly(&options, logits, VOCAB, kept);
  double p[VOCAB], sum = 0, statistic = 0;
  uint32_t counts[VOCAB] = {0};
  for (uint32_t i = 0; i < VOCAB; i++) sum += p[i] = kept[i] ? exp((double)logits[i] / options.temperature) : 0;
  fixture f = make(&options, VOCAB);
  for (int i = 0; i < DRAWS; i++) counts[draw(&f, logits, NULL, 0, 0)]++;
  for (uint32_t i = 0; i < VOCAB; i++) {
    double expected = p[i] / sum * (double)DRAWS;
    if (expected > 0)
      statistic += (counts[i] - expected) * (counts[i] - expected) / fmax(expected, 1);
    else
      assert_int_equal(counts[i], 0);
  }
  if (statistic > bound) fail_msg("chi-square %g", statistic);
  free(f.scratch);
}

static void draws_follow_the_softmax_at_each_temperature(void **state) {
  (void)state;
  nk_random random = nk_random_seed(6);
  float logits[VOCAB];
  random_logits(&random, logits, VOCAB);
  static const double temperatures[] = {0.3, 0.7, 1, 1.7, 10};
  for (int i = 0; i < 5; i++) {
    nk_sampler_options options = nk_sampler_defaults();
    options.temperature = temperatures[i];
    options.seed = 100 + (uint64_t)i;
    assert_draws_follow_the_softmax(options, logits, 93);
    options.top_k = 9;
    assert_draws_follow_the_softmax(options, logits, 45);
    options.top_k = 0;
    options.top_p = 0.8;
    assert_draws_follow_the_softmax(options, logits, 93);
    options.top_p = 1;
    options.min_p = 0.2;
    assert_draws_follow_the_softmax(options, logits, 93);
  }
}

static void a_tiny_temperature_is_greedy_and_never_breaks(void **state) {
  (void)state;
  nk_sampler_options options = nk_sampler_defaults();
  options.temperature = DBL_MIN;
  fixture f = make(&options, 3);
  const float logits[3] = {-FLT_MAX, 2, FLT_MAX};
  for (int i = 0; i < 100; i++) assert_int_equal(draw(&f, logits, NULL, 0, 0), 2);
  free(f.scratch);
}

/* The same seed gives the same tokens, in every build and on every host: the sum over 2000 tokens is written down here. */
static void a_seed_fixes_the_tokens_for_good(void **state) {
  (void)state;
  uint32_t sums[3] = {0, 0, 0};
  for (int run = 0; run < 3; run++) {
    nk_random random = nk_random_seed(8);
    nk_sampler_options options = nk_sampler_defaults();
    options.temperature = 0.8;
    options.top_k = 30;
    options.typical_p = 0.95;
    options.top_p = 0.9;
    options.min_p = 0.01;
    options.repetition_penalty = 1.1;
    options.seed = run < 2 ? 0x123456789abcdef0u : 1;
    fixture f = make(&options, VOCAB);
    int32_t past[2000];
    float logits[VOCAB];
    for (uint32_t i = 0; i < 2000; i++) {
      random_logits(&random, logits, VOCAB);
      past[i] = draw(&f, logits, past, i, 0);
      sums[run] = (sums[run] ^ (uint32_t)past[i]) * 16777619u;
    }
    free(f.scratch);
  }
  assert_int_equal(sums[0], sums[1]);
  assert_int_not_equal(sums[0], sums[2]);
  if (sums[0] != 0x7096c963u) fail_msg("the tokens of a fixed seed have changed: 0x%xu", sums[0]);
}

/* ---- Log-probabilities ------------------------------------------------------------------------------------------- */

static void log_probabilities_are_those_of_the_model(void **state) {
  (void)state;
  enum { N = 5000 };
  nk_random random = nk_random_seed(9);
  float *logits = malloc(N * sizeof *logits);
  assert_non_null(logits);
  random_logits(&random, logits, N);
  logits[17] = 40;
  logits[18] = -1000;
  long double sum = 0;
  for (int i = 0; i < N; i++) sum += expl((long double)logits[i] - 40);
  for (int i = 0; i < N; i += 97) {
    long double wanted = (long double)logits[i] - 40 - logl(sum);
    assert_true(fabsl((long double)nk_logprob_of(logits, N, i) - wanted) <= 1e-6L * (1 + fabsl(wanted)));
  }
  for (uint32_t n = 0; n <= NK_SAMPLER_MAX_TOP; n++) {
    nk_logprob top[NK_SAMPLER_MAX_TOP + 1];
    top[n].token = -77;
    float logprob;
    assert_int_equal(nk_logprobs(logits, N, 18, &logprob, top, n), n);
    assert_int_equal(top[n].token, -77);
    assert_true(logprob == nk_logprob_of(logits, N, 18));
    bool taken[N] = {false};
    for (uint32_t i = 0; i < n; i++) {
      int32_t best = -1;
      for (int32_t j = 0; j < N; j++) {
        if (!taken[j] && (best < 0 || logits[j] > logits[best])) best = j;
      }
      taken[best] = true;
      assert_int_equal(top[i].token, best);
      assert_true(top[i].logprob == nk_logprob_of(logits, N, best));
    }
  }
  nk_logprob top[NK_SAMPLER_MAX_TOP];
  float logprob;
  const float three[3] = {0, 0, 0};
  assert_int_equal(nk_logprobs(three, 3, 1, &logprob, top, 20), 3);
  assert_true(fabsf(logprob + logf(3)) < 1e-6f);
  for (int32_t i = 0; i < 3; i++) assert_int_equal(top[i].token, i);
  free(logits);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(temperature_0_takes_the_highest_and_of_equal_ones_the_lowest_id),
      cmocka_unit_test(broken_logits_are_an_error_with_a_sentence),
      cmocka_unit_test(options_out_of_range_are_named),
      cmocka_unit_test(biases_are_added_and_penalties_follow_their_formulas),
      cmocka_unit_test(penalties_see_the_window_and_the_prompt_as_told),
      cmocka_unit_test(scores_stay_finite_and_ruled_out_tokens_stay_out),
      cmocka_unit_test(top_k_keeps_the_k_highest),
      cmocka_unit_test(typical_keeps_the_fewest_of_typical_surprise),
      cmocka_unit_test(top_p_keeps_the_fewest_of_that_mass),
      cmocka_unit_test(min_p_keeps_what_is_near_the_highest),
      cmocka_unit_test(filters_follow_each_other_in_the_stated_order),
      cmocka_unit_test(draws_follow_the_softmax_at_each_temperature),
      cmocka_unit_test(a_tiny_temperature_is_greedy_and_never_breaks),
      cmocka_unit_test(a_seed_fixes_the_tokens_for_good),
      cmocka_unit_test(log_probabilities_are_those_of_the_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
