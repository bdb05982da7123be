/* sampler.c: see sampler.h. */
#include "generate/sampler.h"

#include <float.h>
#include <string.h>

#include "core/math.h"

/* ---- Options ----------------------------------------------------------------------------------------------------- */

nk_sampler_options nk_sampler_defaults(void) {
  return (nk_sampler_options){
      .temperature = 1, .top_p = 1, .typical_p = 1, .repetition_penalty = 1, .repetition_sees_prompt = true};
}

static nk_status check_range(const char *name, double value, double min, double max, nk_error *error) {
  if (value >= min && value <= max) return NK_STATUS_OK; /* false for NaN */
  return nk_fail(error, NK_STATUS_DATA, "the option \"%s\" is %.10g; allowed is a number from %.10g to %.10g", name, value,
                 min, max);
}

static nk_status check_options(const nk_sampler_options *o, uint32_t vocab, nk_error *error) {
  const struct {
    const char *name;
    double value, min, max;
  } ranges[] = {
      {"temperature", o->temperature, 0, 100},
      {"top_p", o->top_p, 0, 1},
      {"min_p", o->min_p, 0, 1},
      {"typical_p", o->typical_p, 0, 1},
      {"repetition_penalty", o->repetition_penalty, 0.01, 100},
      {"frequency_penalty", o->frequency_penalty, -2, 2},
      {"presence_penalty", o->presence_penalty, -2, 2},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
    nk_status status = check_range(ranges[i].name, ranges[i].value, ranges[i].min, ranges[i].max, error);
    if (status != NK_STATUS_OK) return status;
  }
  for (uint32_t i = 0; i < o->n_bias; i++) {
    if (o->bias[i].token < 0 || (uint32_t)o->bias[i].token >= vocab) {
      return nk_fail(error, NK_STATUS_DATA, "the option \"logit_bias\" names the token %d; allowed are 0 to %u",
                     o->bias[i].token, vocab - 1);
    }
    nk_status status = check_range("logit_bias", (double)o->bias[i].bias, -1000, 1000, error);
    if (status != NK_STATUS_OK) return status;
  }
  return NK_STATUS_OK;
}

uint64_t nk_sampler_bytes(uint32_t vocab) { return (uint64_t)vocab * (sizeof(double) + sizeof(nk_candidate)); }

nk_status nk_sampler_init(nk_sampler *sampler, const nk_sampler_options *options, uint32_t vocab, void *scratch,
                          nk_error *error) {
  memset(sampler, 0, sizeof *sampler);
  nk_status status = check_options(options, vocab, error);
  if (status != NK_STATUS_OK) return status;
  sampler->options = *options;
  sampler->random = nk_random_seed(options->seed);
  sampler->vocab = vocab;
  sampler->keys = scratch;
  sampler->candidates = (nk_candidate *)(void *)(sampler->keys + vocab);
  return NK_STATUS_OK;
}

/* ---- Bias and penalties ------------------------------------------------------------------------------------------ */

/* Back to float, within its range: beyond it the conversion is undefined. */
static float narrow(double score) {
  if (score > (double)FLT_MAX) return FLT_MAX;
  if (score < -(double)FLT_MAX) return -FLT_MAX;
  return (float)score;
}

typedef struct counts {
  uint32_t frequency; /* occurrences that frequency and presence penalties see */
  uint32_t repeated;  /* 1: the repetition penalty sees it */
} counts;

static void penalize_one(const nk_sampler_options *o, nk_candidate *candidate, counts seen) {
  if (!(candidate->score >= -FLT_MAX)) return; /* ruled out already: -infinity times 0.5 or minus 1 stays so anyway */
  double score = (double)candidate->score;
  if (seen.repeated != 0) score = score > 0 ? score / o->repetition_penalty : score * o->repetition_penalty;
  if (seen.frequency != 0) score -= (double)seen.frequency * o->frequency_penalty + o->presence_penalty;
  candidate->score = narrow(score);
}

/* candidates [vocab] are still in the order of their ids. */
static void penalize(nk_sampler *sampler, const int32_t *past, uint32_t n_past, uint32_t n_prompt) {
  const nk_sampler_options *o = &sampler->options;
  bool repetition = o->repetition_penalty < 1 || o->repetition_penalty > 1;
  bool frequency =
      o->frequency_penalty < 0 || o->frequency_penalty > 0 || o->presence_penalty < 0 || o->presence_penalty > 0;
  if (!repetition && !frequency) return;
  _Static_assert(sizeof(counts) == sizeof(double), "the counts lie in the keys' memory");
  counts *seen = (counts *)(void *)sampler->keys;
  memset(seen, 0, (size_t)sampler->vocab * sizeof *seen);
  uint32_t begin = o->penalty_window != 0 && o->penalty_window < n_past ? n_past - o->penalty_window : 0;
  for (uint32_t i = begin; i < n_past; i++) {
    if (past[i] < 0 || (uint32_t)past[i] >= sampler->vocab) continue;
    if (repetition && (i >= n_prompt || o->repetition_sees_prompt)) seen[past[i]].repeated = 1;
    if (frequency && (i >= n_prompt || o->frequency_sees_prompt)) seen[past[i]].frequency++;
  }
  for (uint32_t i = begin; i < n_past; i++) {
    if (past[i] < 0 || (uint32_t)past[i] >= sampler->vocab) continue;
    penalize_one(o, &sampler->candidates[past[i]], seen[past[i]]);
    seen[past[i]] = (counts){0, 0}; /* once for each token */
  }
}

/* ---- Order ------------------------------------------------------------------------------------------------------- */

/* True when a comes before b: the higher score, then the lower id. */
static bool before(nk_candidate a, nk_candidate b) {
  if (a.score > b.score) return true;
  return !(a.score < b.score) && a.token < b.token;
}

/* A heap whose root comes first. A pop costs log n, so that what no filter keeps is never put in order. */
static void sift(nk_candidate *heap, uint32_t root, uint32_t n) {
  nk_candidate moving = heap[root];
  for (uint64_t child; (child = 2 * (uint64_t)root + 1) < n; root = (uint32_t)child) {
    if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
    if (!before(heap[child], moving)) break;
    heap[root] = heap[child];
  }
  heap[root] = moving;
}

static void make_heap(nk_candidate *heap, uint32_t n) {
  for (uint32_t i = n / 2; i-- > 0;) sift(heap, i, n);
}

/* Moves the first of heap [n] to heap[n - 1]; n - 1 are left. */
static void pop(nk_candidate *heap, uint32_t n) {
  nk_candidate first = heap[0];
  heap[0] = heap[n - 1];
  heap[n - 1] = first;
  sift(heap, 0, n - 1);
}

/* After `kept` pops from [n], they lie at the end, the first one last: puts them at the beginning, in order. Both ends may
   overlap, so it turns the whole array when more than half was kept. */
static void gather_popped(nk_candidate *candidates, uint32_t n, uint32_t kept) {
  for (uint32_t low = 0, high = n - 1; low < kept && low < high; low++, high--) {
    nk_candidate other = candidates[low];
    candidates[low] = candidates[high];
    candidates[high] = other;
  }
}

/* The same heap by key, lowest first, then by id; keys and candidates move together. */
static bool key_before(const nk_sampler *s, uint32_t a, uint32_t b) {
  if (s->keys[a] < s->keys[b]) return true;
  return !(s->keys[a] > s->keys[b]) && s->candidates[a].token < s->candidates[b].token;
}

static void swap_keyed(nk_sampler *s, uint32_t a, uint32_t b) {
  double key = s->keys[a];
  nk_candidate candidate = s->candidates[a];
  s->keys[a] = s->keys[b];
  s->candidates[a] = s->candidates[b];
  s->keys[b] = key;
  s->candidates[b] = candidate;
}

static void sift_keyed(nk_sampler *s, uint32_t root, uint32_t n) {
  for (uint64_t child; (child = 2 * (uint64_t)root + 1) < n; root = (uint32_t)child) {
    if (child + 1 < n && key_before(s, (uint32_t)child + 1, (uint32_t)child)) child++;
    if (!key_before(s, (uint32_t)child, root)) break;
    swap_keyed(s, (uint32_t)child, root);
  }
}

/* ---- Filters: candidates [n] in, the kept ones at the beginning and their number out ----------------------------- */

static float highest(const nk_candidate *candidates, uint32_t n) {
  float top = candidates[0].score;
  for (uint32_t i = 1; i < n; i++) {
    if (candidates[i].score > top) top = candidates[i].score;
  }
  return top;
}

/* e^((s - top) / temperature). */
static double weight(float score, float top, double temperature) {
  return nk_exp_f64(((double)score - (double)top) / temperature);
}

static double total_weight(const nk_candidate *candidates, uint32_t n, float top, double temperature) {
  double sum = 0;
  for (uint32_t i = 0; i < n; i++) sum += weight(candidates[i].score, top, temperature);
  return sum;
}

static uint32_t keep_top_k(nk_candidate *candidates, uint32_t n, uint32_t k) {
  if (k == 0 || k >= n) return n;
  make_heap(candidates, n);
  for (uint32_t kept = 0; kept < k; kept++) pop(candidates, n - kept);
  gather_popped(candidates, n, k);
  return k;
}

static uint32_t keep_typical(nk_sampler *s, uint32_t n, double typical_p) {
  if (typical_p >= 1) return n;
  nk_candidate *candidates = s->candidates;
  float top = highest(candidates, n);
  double sum = total_weight(candidates, n, top, 1), log_sum = nk_log_f64(sum), entropy = 0;
  for (uint32_t i = 0; i < n; i++) {
    double surprise = log_sum - ((double)candidates[i].score - (double)top); /* -ln p */
    entropy += weight(candidates[i].score, top, 1) / sum * surprise;
    s->keys[i] = surprise;
  }
  for (uint32_t i = 0; i < n; i++) s->keys[i] = s->keys[i] > entropy ? s->keys[i] - entropy : entropy - s->keys[i];
  for (uint32_t i = n / 2; i-- > 0;) sift_keyed(s, i, n);
  uint32_t kept = 0;
  for (double mass = 0; kept < n && (kept == 0 || mass < typical_p * sum); kept++) {
    mass += weight(candidates[0].score, top, 1);
    swap_keyed(s, 0, n - kept - 1);
    sift_keyed(s, 0, n - kept - 1);
  }
  gather_popped(candidates, n, kept);
  return kept;
}

static uint32_t keep_top_p(nk_candidate *candidates, uint32_t n, double top_p) {
  if (top_p >= 1) return n;
  float top = highest(candidates, n);
  double sum = total_weight(candidates, n, top, 1);
  make_heap(candidates, n);
  uint32_t kept = 0;
  for (double mass = 0; kept < n && (kept == 0 || mass < top_p * sum); kept++) {
    mass += weight(candidates[0].score, top, 1);
    pop(candidates, n - kept);
  }
  gather_popped(candidates, n, kept);
  return kept;
}

static uint32_t keep_min_p(nk_candidate *candidates, uint32_t n, double min_p) {
  if (min_p <= 0) return n;
  double least = (double)highest(candidates, n) + nk_log_f64(min_p);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < n; i++) {
    if ((double)candidates[i].score >= least) candidates[kept++] = candidates[i];
  }
  return kept; /* the highest at least: ln min_p <= 0 */
}

/* ---- The draw ---------------------------------------------------------------------------------------------------- */

static nk_status take_logits(nk_sampler *sampler, const float *logits, nk_error *error) {
  for (uint32_t i = 0; i < sampler->vocab; i++) {
    if (!(logits[i] <= FLT_MAX)) { /* NaN too */
      return nk_fail_hint(error, NK_STATUS_FORMAT, "Its weights overflow: fetch the file again, or take another model.",
                          "the logit of token %u is %s: the model's arithmetic broke", i,
                          logits[i] > FLT_MAX ? "infinite" : "not a number");
    }
    sampler->candidates[i] = (nk_candidate){logits[i], i};
  }
  for (uint32_t i = 0; i < sampler->options.n_bias; i++) {
    nk_candidate *candidate = &sampler->candidates[sampler->options.bias[i].token];
    if (candidate->score >= -FLT_MAX)
      candidate->score = narrow((double)candidate->score + (double)sampler->options.bias[i].bias);
  }
  return NK_STATUS_OK;
}

static uint32_t greedy(const nk_candidate *candidates, uint32_t n) {
  uint32_t best = 0; /* candidates are in the order of their ids, so the first of equal ones has the lowest */
  for (uint32_t i = 1; i < n; i++) {
    if (candidates[i].score > candidates[best].score) best = i;
  }
  return candidates[best].token;
}

static uint32_t draw(nk_sampler *sampler, uint32_t n) {
  const nk_candidate *candidates = sampler->candidates;
  double temperature = sampler->options.temperature;
  float top = highest(candidates, n);
  double sum = 0;
  for (uint32_t i = 0; i < n; i++) sampler->keys[i] = sum += weight(candidates[i].score, top, temperature);
  double target = nk_random_f64(&sampler->random) * sum; /* < sum, but for rounding */
  /* The first whose running sum is above the target; what weighs 0 is never it. */
  uint32_t low = 0, high = n - 1;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (sampler->keys[middle] > target)
      high = middle;
    else
      low = middle + 1;
  }
  while (low > 0 && !(sampler->keys[low] > sampler->keys[low - 1])) low--; /* the product rounded up to the whole sum */
  return candidates[low].token;
}

nk_status nk_sampler_draw(nk_sampler *sampler, const float *logits, const int32_t *past, uint32_t n_past, uint32_t n_prompt,
                          int32_t *token, nk_error *error) {
  nk_status status = take_logits(sampler, logits, error);
  if (status != NK_STATUS_OK) return status;
  penalize(sampler, past, n_past, n_prompt);
  const nk_sampler_options *o = &sampler->options;
  nk_candidate *candidates = sampler->candidates;
  uint32_t n = 0;
  for (uint32_t i = 0; i < sampler->vocab; i++) {
    if (candidates[i].score >= -FLT_MAX) candidates[n++] = candidates[i];
  }
  if (n == 0) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Its weights overflow: fetch the file again, or take another model.",
                        "every token of the vocabulary has been ruled out: no logit is finite");
  }
  if (o->temperature <= 0) {
    *token = (int32_t)greedy(candidates, n);
    return NK_STATUS_OK;
  }
  n = keep_top_k(candidates, n, o->top_k);
  n = keep_typical(sampler, n, o->typical_p);
  n = keep_top_p(candidates, n, o->top_p);
  n = keep_min_p(candidates, n, o->min_p);
  *token = (int32_t)draw(sampler, n);
  return NK_STATUS_OK;
}

/* ---- Log-probabilities ------------------------------------------------------------------------------------------- */

double nk_log_sum_exp(const float *logits, uint32_t vocab) {
  float top = logits[0];
  for (uint32_t i = 1; i < vocab; i++) {
    if (logits[i] > top) top = logits[i];
  }
  double sum = 0;
  for (uint32_t i = 0; i < vocab; i++) sum += nk_exp_f64((double)logits[i] - (double)top);
  return (double)top + nk_log_f64(sum);
}

float nk_logprob_of(const float *logits, uint32_t vocab, int32_t token) {
  return (float)((double)logits[token] - nk_log_sum_exp(logits, vocab));
}

uint32_t nk_logprobs(const float *logits, uint32_t vocab, int32_t token, float *logprob, nk_logprob *top, uint32_t n) {
  double normalizer = nk_log_sum_exp(logits, vocab);
  *logprob = (float)((double)logits[token] - normalizer);
  uint32_t found = 0;
  for (uint32_t i = 0; i < vocab && n > 0; i++) {
    if (found == n && !(logits[i] > logits[top[n - 1].token])) continue;
    uint32_t at = found < n ? found++ : n - 1;
    for (; at > 0 && logits[i] > logits[top[at - 1].token]; at--) top[at] = top[at - 1];
    top[at].token = (int32_t)i;
  }
  for (uint32_t i = 0; i < found; i++) top[i].logprob = (float)((double)logits[top[i].token] - normalizer);
  return found;
}
