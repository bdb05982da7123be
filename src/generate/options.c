/* options.c: see options.h. */
#include "generate/options.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"

void nk_generation_options_free(nk_generation_options *options) {
  free(options->bias);
  cJSON_Delete(options->root);
  options->bias = NULL;
  options->root = NULL;
}

/* "stop": a string or a list of strings */
static nk_status read_stops(nk_generation_options *options, const cJSON *stop, nk_error *error) {
  if (stop == NULL) return NK_STATUS_OK;
  if (cJSON_IsString(stop)) {
    options->stops[0] = (nk_stop){stop->valuestring, strlen(stop->valuestring)};
    options->n_stops = 1;
    return NK_STATUS_OK;
  }
  if (!cJSON_IsArray(stop)) return nk_fail(error, NK_STATUS_DATA, "stop must be a string or a list of strings");
  const cJSON *item;
  cJSON_ArrayForEach(item, stop) {
    if (!cJSON_IsString(item)) return nk_fail(error, NK_STATUS_DATA, "stop must be a string or a list of strings");
    if (options->n_stops == NK_MAX_STOPS)
      return nk_fail(error, NK_STATUS_DATA, "stop has more than %u strings", NK_MAX_STOPS);
    options->stops[options->n_stops++] = (nk_stop){item->valuestring, strlen(item->valuestring)};
  }
  return NK_STATUS_OK;
}

/* "logit_bias": {"<token id>": bias} */
static nk_status read_bias(nk_generation_options *options, const cJSON *map, uint32_t vocab, nk_error *error) {
  if (map == NULL) return NK_STATUS_OK;
  if (!cJSON_IsObject(map)) return nk_fail(error, NK_STATUS_DATA, "logit_bias must be an object of token ids");
  int count = cJSON_GetArraySize(map);
  if (count == 0) return NK_STATUS_OK;
  if ((uint32_t)count > NK_MAX_LOGIT_BIAS) {
    return nk_fail(error, NK_STATUS_DATA, "logit_bias has %d tokens, allowed are %u", count, NK_MAX_LOGIT_BIAS);
  }
  options->bias = calloc((size_t)count, sizeof *options->bias);
  if (options->bias == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for logit_bias");
  const cJSON *item;
  cJSON_ArrayForEach(item, map) {
    char *end;
    unsigned long id = strtoul(item->string, &end, 10);
    if (item->string[0] < '0' || item->string[0] > '9' || *end != '\0' || id >= vocab) {
      return nk_fail(error, NK_STATUS_DATA, "logit_bias has the key \"%.20s\"; keys are token ids below %u", item->string,
                     vocab);
    }
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= -1000.0 && item->valuedouble <= 1000.0)) {
      return nk_fail(error, NK_STATUS_DATA, "logit_bias of token %lu must be a number from -1000 to 1000", id);
    }
    options->bias[options->sampler.n_bias++] = (nk_logit_bias){(int32_t)id, (float)item->valuedouble};
  }
  options->sampler.bias = options->bias;
  return NK_STATUS_OK;
}

nk_status nk_generation_options_read(nk_generation_options *options, const char *text, uint32_t vocab, nk_error *error) {
  *options = (nk_generation_options){.sampler = nk_sampler_defaults(), .max_tokens = UINT32_MAX, .logprobs = UINT32_MAX,
                                     .reuse = true};
  const cJSON *stop = NULL, *bias = NULL;
  uint32_t full = 0;
  double seed = 0.0;
  nk_sampler_options *s = &options->sampler;
  const nk_json_option table[] = {
      {.key = "max_tokens", .kind = NK_JSON_U32, .target = &options->max_tokens, .min = 1, .max = NK_MAX_GENERATED},
      {.key = "temperature", .kind = NK_JSON_F64, .target = &s->temperature, .min = 0, .max = 100},
      {.key = "top_k", .kind = NK_JSON_U32, .target = &s->top_k},
      {.key = "top_p", .kind = NK_JSON_F64, .target = &s->top_p, .min = 0, .max = 1},
      {.key = "min_p", .kind = NK_JSON_F64, .target = &s->min_p, .min = 0, .max = 1},
      {.key = "typical_p", .kind = NK_JSON_F64, .target = &s->typical_p, .min = 0, .max = 1},
      {.key = "repetition_penalty", .kind = NK_JSON_F64, .target = &s->repetition_penalty, .min = 0.01, .max = 100},
      {.key = "frequency_penalty", .kind = NK_JSON_F64, .target = &s->frequency_penalty, .min = -2, .max = 2},
      {.key = "presence_penalty", .kind = NK_JSON_F64, .target = &s->presence_penalty, .min = -2, .max = 2},
      {.key = "penalty_window", .kind = NK_JSON_U32, .target = &s->penalty_window},
      {.key = "logit_bias", .kind = NK_JSON_VALUE, .target = &bias},
      {.key = "seed", .kind = NK_JSON_F64, .target = &seed, .min = 0, .max = 9007199254740991.0},
      {.key = "stop", .kind = NK_JSON_VALUE, .target = &stop},
      {.key = "logprobs", .kind = NK_JSON_U32, .target = &options->logprobs, .min = 0, .max = NK_SAMPLER_MAX_TOP},
      {.key = "ignore_end", .kind = NK_JSON_BOOL, .target = &options->ignore_end},
      {.key = "context_full", .kind = NK_JSON_CHOICE, .target = &full, .choices = "stop|shift"},
      {.key = "keep", .kind = NK_JSON_U32, .target = &options->keep},
      {.key = "chunk", .kind = NK_JSON_U32, .target = &options->chunk},
      {.key = "reuse", .kind = NK_JSON_BOOL, .target = &options->reuse},
  };
  nk_status status = nk_json_options(text, table, sizeof table / sizeof table[0], &options->root, error);
  if (status == NK_STATUS_OK && seed != (double)(uint64_t)seed) {
    status = nk_fail(error, NK_STATUS_DATA, "seed must be an integer from 0 to 2^53 - 1");
  }
  if (status == NK_STATUS_OK) status = read_stops(options, stop, error);
  if (status == NK_STATUS_OK) status = read_bias(options, bias, vocab, error);
  if (status != NK_STATUS_OK) {
    nk_generation_options_free(options);
    return status;
  }
  s->seed = (uint64_t)seed;
  options->shift = full == 1;
  return NK_STATUS_OK;
}
