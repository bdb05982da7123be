/*
 * rope.c: rotary positions of config.json: base, share of a head that turns, scaling.
 *
 * Forms     rope_theta, partial_rotary_factor and rope_scaling beside each other, or all of them in rope_parameters
 *           (transformers 5), where Gemma 3 has one set for each kind of layer.
 * Scalings  none; linear; llama3 as the tensor rope_freqs, the divisor of each frequency; longrope as the tensors
 *           rope_factors_long and _short; yarn by keys. Sources: transformers' modeling_rope_utils.py; Peng et al. 2023
 *           (YaRN); Ding et al. 2024 (LongRoPE).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/internal.h"
#include "core/math.h"
#include "model/config.h"

typedef struct rope {
  const nk_document *config;
  const cJSON *parameters; /* where type and factor are; NULL: no scaling */
  uint32_t context, n_rot;
  double theta;
} rope;

static nk_status wrong(const rope *r, const char *key, const cJSON *value, const char *needed, nk_error *error) {
  return nk_fail(error, NK_STATUS_FORMAT, "%s: the rope scaling's key \"%s\" is %s; %s is needed", r->config->name, key,
                 nk_json_words(value).text, needed);
}

/* A number above 0. */
static nk_status positive(const rope *r, const char *keys, double fallback, double *out, nk_error *error) {
  nk_status status = nk_read_number(r->config, r->parameters, keys, fallback, out, error);
  if (status != NK_STATUS_OK || *out > 0.0) return status;
  return wrong(r, keys, nk_json_find(r->parameters, keys), "a number above 0", error);
}

/* The context that the scaling starts from, in the scaling or beside it. */
static nk_status original_context(const rope *r, double fallback, double *out, nk_error *error) {
  nk_status status = nk_read_number(r->config, r->config->root, "original_max_position_embeddings", fallback, out, error);
  if (status == NK_STATUS_OK) status = positive(r, "original_max_position_embeddings", *out, out, error);
  if (status != NK_STATUS_OK || (*out >= 1.0 && *out <= NK_MAX_CONTEXT)) return status;
  return wrong(r, "original_max_position_embeddings", NULL, "a context", error);
}

static float *make(nk_shape *shape, const char *name, uint32_t n, nk_error *error) {
  float *values = calloc(n == 0 ? 1 : n, sizeof *values);
  if (values == NULL || shape->n_made == NK_CONVERT_MADE) {
    free(values);
    (void)nk_fail(error, NK_STATUS_MEMORY, "no memory for the tensor %s", name);
    return NULL;
  }
  nk_made_tensor *made = &shape->made[shape->n_made++];
  if (snprintf(made->name, sizeof made->name, "%s", name) < 0) made->name[0] = '\0';
  made->values = values;
  made->n = n;
  return values;
}

/* base^x */
static double power(double base, double x) { return nk_exp_f64(x * nk_log_f64(base)); }

/* Llama 3.1: long waves are stretched by the factor, short ones stay, a ramp between them. */
static nk_status llama3(nk_shape *shape, const rope *r, nk_error *error) {
  double factor, low, high, original;
  nk_status status = positive(r, "factor", 8.0, &factor, error);
  if (status == NK_STATUS_OK) status = positive(r, "low_freq_factor", 1.0, &low, error);
  if (status == NK_STATUS_OK) status = positive(r, "high_freq_factor", 4.0, &high, error);
  if (status == NK_STATUS_OK) status = original_context(r, 8192.0, &original, error);
  if (status != NK_STATUS_OK) return status;
  if (!(high > low))
    return wrong(r, "high_freq_factor", nk_json_find(r->parameters, "high_freq_factor"), "more than the low one", error);
  float *divisors = make(shape, "rope_freqs.weight", r->n_rot / 2, error);
  if (divisors == NULL) return error == NULL ? NK_STATUS_MEMORY : error->status;
  for (uint32_t i = 0; i < r->n_rot / 2; i++) {
    double wave = 2.0 * 3.14159265358979323846 * power(r->theta, 2.0 * i / r->n_rot);
    double ramp = (original / wave - low) / (high - low);
    double divisor = wave < original / high ? 1.0 : wave > original / low ? factor : 1.0 / ((1.0 - ramp) / factor + ramp);
    divisors[i] = (float)divisor;
  }
  return NK_STATUS_OK;
}

static nk_status factors(nk_shape *shape, const rope *r, const char *key, const char *name, nk_error *error) {
  const cJSON *list = nk_json_find(r->parameters, key);
  float *values = make(shape, name, r->n_rot / 2, error);
  if (values == NULL) return error == NULL ? NK_STATUS_MEMORY : error->status;
  uint32_t n = 0;
  for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item != NULL; item = item->next, n++) {
    if (n == r->n_rot / 2 || !cJSON_IsNumber(item) || !(item->valuedouble > 0.0 && item->valuedouble < 1e30)) {
      return wrong(r, key, item, "one number above 0 for each frequency", error);
    }
    values[n] = (float)item->valuedouble;
  }
  return n == r->n_rot / 2 ? NK_STATUS_OK : wrong(r, key, list, "one number above 0 for each frequency", error);
}

/* LongRoPE: the factors of long and of short texts; attention grows by √(1 + ln s / ln original). */
static nk_status longrope(nk_shape *shape, const rope *r, nk_gguf_writer *writer, nk_error *error) {
  double original, attention;
  nk_status status = original_context(r, 0.0, &original, error);
  if (status == NK_STATUS_OK) status = factors(shape, r, "long_factor", "rope_factors_long.weight", error);
  if (status == NK_STATUS_OK) status = factors(shape, r, "short_factor", "rope_factors_short.weight", error);
  if (status != NK_STATUS_OK) return status;
  double scale = r->context / original;
  double usual = scale <= 1.0 || original <= 1.0 ? 1.0 : sqrt(1.0 + nk_log_f64(scale) / nk_log_f64(original));
  status = positive(r, "attention_factor", usual, &attention, error);
  if (status != NK_STATUS_OK) return status;
  nk_put_arch_u32(writer, shape, "rope.scaling.original_context_length", (uint32_t)original);
  nk_put_arch_f32(writer, shape, "rope.scaling.attn_factor", attention);
  return NK_STATUS_OK;
}

static nk_status yarn(const nk_shape *shape, const rope *r, nk_gguf_writer *writer, nk_error *error) {
  double factor, original, fast, slow, attention;
  nk_status status = positive(r, "factor", 0.0, &factor, error);
  if (status == NK_STATUS_OK) status = original_context(r, r->context, &original, error);
  if (status == NK_STATUS_OK) status = positive(r, "beta_fast", 32.0, &fast, error);
  if (status == NK_STATUS_OK) status = positive(r, "beta_slow", 1.0, &slow, error);
  double usual = factor > 1.0 ? 0.1 * nk_log_f64(factor) + 1.0 : 1.0; /* what readers of GGUF multiply by anyway */
  if (status == NK_STATUS_OK) status = positive(r, "attention_factor", usual, &attention, error);
  if (status != NK_STATUS_OK) return status;
  /* Forms of it that the keys of GGUF do not say. */
  static const char *const others[] = {"mscale", "mscale_all_dim"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    const cJSON *value = nk_json_find(r->parameters, others[i]);
    if (value != NULL) return nk_document_refuse(r->config, others[i], value, "yarn is converted without it", error);
  }
  if (cJSON_IsFalse(nk_json_find(r->parameters, "truncate"))) {
    return nk_document_refuse(r->config, "truncate", nk_json_find(r->parameters, "truncate"),
                              "yarn is converted without it", error);
  }
  nk_put_arch_text(writer, shape, "rope.scaling.type", "yarn");
  nk_put_arch_f32(writer, shape, "rope.scaling.factor", factor);
  nk_put_arch_u32(writer, shape, "rope.scaling.original_context_length", (uint32_t)original);
  nk_put_arch_f32(writer, shape, "rope.scaling.yarn_beta_fast", fast);
  nk_put_arch_f32(writer, shape, "rope.scaling.yarn_beta_slow", slow);
  if (fabs(attention - usual) > 1e-9) nk_put_arch_f32(writer, shape, "rope.scaling.attn_factor", attention / usual);
  return NK_STATUS_OK;
}

static nk_status convert_scaling(nk_shape *shape, const rope *r, nk_gguf_writer *writer, nk_error *error) {
  const cJSON *type = nk_json_find(r->parameters, "rope_type|type");
  double factor;
  if (type == NULL || nk_json_is(type, "default")) return NK_STATUS_OK;
  if (nk_json_is(type, "llama3")) return llama3(shape, r, error);
  if (nk_json_is(type, "longrope") || nk_json_is(type, "su")) return longrope(shape, r, writer, error);
  if (nk_json_is(type, "yarn")) return yarn(shape, r, writer, error);
  if (!nk_json_is(type, "linear")) {
    return nk_document_refuse(r->config, "rope_type", type, "known are default, linear, llama3, longrope, yarn", error);
  }
  nk_status status = positive(r, "factor", 0.0, &factor, error);
  if (status != NK_STATUS_OK) return status;
  nk_put_arch_text(writer, shape, "rope.scaling.type", "linear");
  nk_put_arch_f32(writer, shape, "rope.scaling.factor", factor);
  return NK_STATUS_OK;
}

nk_status nk_convert_rope(nk_shape *shape, const nk_document *config, uint32_t context, nk_gguf_writer *writer,
                          nk_error *error) {
  if (!(shape->family->theta > 0.0)) return NK_STATUS_OK; /* learned positions */
  rope r = {.config = config, .context = context};
  double local, partial;
  const cJSON *parameters = nk_json_find(config->root, "rope_parameters"),
              *full = nk_json_find(parameters, "full_attention");
  const cJSON *sliding = nk_json_find(parameters, "sliding_attention");
  if (full != NULL) parameters = full;
  r.parameters = parameters != NULL ? parameters : nk_json_find(config->root, "rope_scaling");
  if (r.parameters != NULL && !cJSON_IsObject(r.parameters))
    return wrong(&r, "rope_scaling", r.parameters, "an object", error);
  static const char theta_keys[] = "rope_theta|rotary_emb_base|theta";
  static const char partial_keys[] = "partial_rotary_factor|rotary_pct|rotary_emb_fraction";
  nk_status status;
#define NK_TRY(expression) \
  if ((status = (expression)) != NK_STATUS_OK) return status
  NK_TRY(nk_read_number(config, config->root, theta_keys, shape->family->theta, &r.theta, error));
  NK_TRY(nk_read_number(config, parameters, theta_keys, r.theta, &r.theta, error));
  NK_TRY(nk_read_number(config, config->root, partial_keys, shape->family->partial, &partial, error));
  NK_TRY(nk_read_number(config, parameters, partial_keys, partial, &partial, error));
  NK_TRY(nk_read_number(config, config->root, "rope_local_base_freq", 0, &local, error));
  NK_TRY(nk_read_number(config, sliding, theta_keys, local, &local, error));
  if (!(r.theta > 1.0 && r.theta < 1e30))
    return wrong(&r, "rope_theta", nk_json_find(config->root, theta_keys), "a number above 1", error);
  if (!(partial > 0.0 && partial <= 1.0)) return wrong(&r, partial_keys, NULL, "a share between 0 and 1", error);
  r.n_rot = (uint32_t)(partial * shape->head_dim);
  nk_put_arch_u32(writer, shape, "rope.dimension_count", r.n_rot);
  nk_put_arch_f32(writer, shape, "rope.freq_base", r.theta);
  if (local > 0.0) nk_put_arch_f32(writer, shape, "rope.freq_base_swa", local);
  const cJSON *local_type = nk_json_find(sliding, "rope_type|type");
  if (local_type != NULL && !nk_json_is(local_type, "default")) {
    return nk_document_refuse(config, "rope_parameters/sliding_attention/rope_type", local_type,
                              "layers with a window are not scaled", error);
  }
  NK_TRY(convert_scaling(shape, &r, writer, error));
#undef NK_TRY
  return NK_STATUS_OK;
}
