/* options.c: see options.h. */
#include "train/options.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/label.h"

#define MAX_SEED 9007199254740991.0 /* 2^53 - 1, also of bytes */

/* In the order of nk_method. Learning rates that fall steadily on a model of 135M in a few dozen steps; LoRA decays as
   PyTorch's AdamW does by default, where the others' values are no difference from 0. */
#define METHODS "lora|prompt|prefix|ia3"
static const struct {
  double lr, weight_decay;
} defaults[NK_METHOD_COUNT] = {
    [NK_METHOD_LORA] = {1e-3, 0.01},
    [NK_METHOD_PROMPT] = {5e-3, 0},
    [NK_METHOD_PREFIX] = {1e-2, 0},
    [NK_METHOD_IA3] = {1e-2, 0},
};

void nk_train_options_free(nk_train_options *options) {
  free(options->layers);
  free(options->init_ids);
  options->layers = NULL;
  options->adapter.layers = NULL;
  options->init_ids = NULL;
  options->n_init_ids = 0;
}

/* ---- Which options belong to which methods ------------------------------------------------------------------------- */

#define OF(method) (1u << NK_METHOD_##method)

static nk_status check_method(const cJSON *root, nk_method method, nk_error *error) {
  static const struct {
    const char *key, *who;
    uint32_t methods;
  } owned[] = {
      {"rank", "lora", OF(LORA)},
      {"alpha", "lora", OF(LORA)},
      {"dropout", "lora", OF(LORA)},
      {"rslora", "lora", OF(LORA)},
      {"targets", "lora and ia3", OF(LORA) | OF(IA3)},
      {"layers", "lora and ia3", OF(LORA) | OF(IA3)},
      {"tokens", "prompt and prefix", OF(PROMPT) | OF(PREFIX)},
      {"init_ids", "prompt", OF(PROMPT)},
  };
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(root, owned[i].key);
    if (value == NULL || cJSON_IsNull(value) || (owned[i].methods >> method & 1u) != 0) continue;
    return nk_fail(error, NK_STATUS_DATA, "the option \"%s\" belongs to %s; the method is %s", owned[i].key, owned[i].who,
                   nk_method_name(method));
  }
  return NK_STATUS_OK;
}

/* ---- Lists --------------------------------------------------------------------------------------------------------- */

/* Short names, and what the modules of a layer are called in Hugging Face's checkpoints. */
static const struct {
  const char *name;
  nk_slot slot;
} modules[] = {
    {"q", NK_SLOT_Q},
    {"k", NK_SLOT_K},
    {"v", NK_SLOT_V},
    {"o", NK_SLOT_ATTN_OUT},
    {"gate", NK_SLOT_GATE},
    {"up", NK_SLOT_UP},
    {"down", NK_SLOT_DOWN},
    {"q_proj", NK_SLOT_Q},
    {"k_proj", NK_SLOT_K},
    {"v_proj", NK_SLOT_V},
    {"o_proj", NK_SLOT_ATTN_OUT},
    {"gate_proj", NK_SLOT_GATE},
    {"up_proj", NK_SLOT_UP},
    {"down_proj", NK_SLOT_DOWN},
    {"query_key_value", NK_SLOT_Q},
    {"qkv_proj", NK_SLOT_Q},
    {"in_proj", NK_SLOT_Q},
    {"attn_out", NK_SLOT_ATTN_OUT},
    {"out_proj", NK_SLOT_ATTN_OUT},
    {"dense", NK_SLOT_ATTN_OUT},
    {"gate_up_proj", NK_SLOT_GATE},
    {"fc1", NK_SLOT_UP},
    {"dense_h_to_4h", NK_SLOT_UP},
    {"fc2", NK_SLOT_DOWN},
    {"dense_4h_to_h", NK_SLOT_DOWN},
};

static nk_status add_target(nk_train_options *options, const char *name, nk_error *error) {
  if (strcmp(name, "all") == 0 || strcmp(name, "all-linear") == 0) {
    options->all_targets = true;
    return NK_STATUS_OK;
  }
  for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
    if (strcmp(modules[i].name, name) != 0) continue;
    options->adapter.slots |= 1u << modules[i].slot;
    return NK_STATUS_OK;
  }
  return nk_fail(error, NK_STATUS_DATA,
                 "the option \"targets\" has \"%s\"; allowed are all, q, k, v, o, gate, up, down and PEFT's names of them "
                 "(q_proj, query_key_value, fc1, ...)",
                 nk_label_of(name, strlen(name)).text);
}

static nk_status read_targets(nk_train_options *options, const cJSON *targets, nk_error *error) {
  if (targets == NULL) return NK_STATUS_OK;
  if (cJSON_IsString(targets)) return add_target(options, targets->valuestring, error);
  nk_status status = NK_STATUS_OK;
  bool right = cJSON_IsArray(targets) && targets->child != NULL;
  for (const cJSON *item = targets->child; right && item != NULL && status == NK_STATUS_OK; item = item->next) {
    right = cJSON_IsString(item);
    if (right) status = add_target(options, item->valuestring, error);
  }
  if (right) return status;
  return nk_fail(error, NK_STATUS_DATA, "the option \"targets\" must be a name or a list of names that is not empty");
}

/* The integer in [0, limit), or false. */
static bool as_index(const cJSON *item, double limit, uint32_t *index) {
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < limit)) return false;
  *index = (uint32_t)item->valuedouble;
  return !((double)*index < item->valuedouble);
}

static nk_status read_layers(nk_train_options *options, const cJSON *layers, uint32_t n_layers, nk_error *error) {
  if (layers == NULL) return NK_STATUS_OK;
  bool right = cJSON_IsArray(layers) && layers->child != NULL;
  if (right) {
    options->layers = calloc(n_layers, 1);
    if (options->layers == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the list of layers");
    options->adapter.layers = options->layers;
  }
  for (const cJSON *item = layers->child; right && item != NULL; item = item->next) {
    uint32_t layer;
    right = as_index(item, n_layers, &layer);
    if (right) options->layers[layer] = 1;
  }
  if (right) return NK_STATUS_OK;
  return nk_fail(error, NK_STATUS_DATA, "the option \"layers\" must be a list of layers from 0 to %u, one at least",
                 n_layers - 1);
}

static nk_status read_init_ids(nk_train_options *options, const cJSON *ids, nk_error *error) {
  if (ids == NULL) return NK_STATUS_OK;
  int count = cJSON_IsArray(ids) ? cJSON_GetArraySize(ids) : 0;
  bool right = count > 0 && (uint32_t)count <= NK_ADAPTER_MAX_VIRTUAL;
  if (right) {
    options->init_ids = calloc((size_t)count, sizeof *options->init_ids);
    if (options->init_ids == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for init_ids");
  }
  for (const cJSON *item = ids->child; right && item != NULL; item = item->next) {
    uint32_t id;
    right = as_index(item, (double)INT32_MAX, &id);
    if (right) options->init_ids[options->n_init_ids++] = (int32_t)id;
  }
  if (right) return NK_STATUS_OK;
  return nk_fail(error, NK_STATUS_DATA, "the option \"init_ids\" must be a list of 1 to %u token ids",
                 NK_ADAPTER_MAX_VIRTUAL);
}

/* ---- What hangs together ------------------------------------------------------------------------------------------- */

static nk_status check_budget(nk_train_options *options, bool scheduled, nk_error *error) {
  uint32_t given = (uint32_t)(options->epochs > 0) + (options->steps > 0) + (options->minutes > 0);
  if (given > 1) {
    return nk_fail(error, NK_STATUS_DATA,
                   "%u of the options \"epochs\", \"steps\" and \"minutes\" are given; allowed is one", given);
  }
  options->budget = options->minutes > 0 ? NK_BUDGET_MINUTES : options->steps > 0 ? NK_BUDGET_STEPS : NK_BUDGET_EPOCHS;
  if (given == 0) options->epochs = 3;
  if (options->budget != NK_BUDGET_MINUTES) return NK_STATUS_OK;
  if (scheduled && options->schedule != NK_SCHEDULE_CONSTANT) {
    return nk_fail_hint(error, NK_STATUS_DATA, "Give steps or epochs, or leave the schedule constant.",
                        "a schedule that falls needs to know its last step, which \"minutes\" does not tell");
  }
  options->schedule = NK_SCHEDULE_CONSTANT;
  return NK_STATUS_OK;
}

static bool whole(double number) { return !((double)(uint64_t)number < number); } /* 0 <= number < 2^64 */

static nk_status check_whole(const nk_train_options *options, double seed, double memory, nk_error *error) {
  const char *key = !whole(seed)                                             ? "seed"
                    : !whole(memory)                                         ? "memory_limit"
                    : options->held_out >= 1 && !whole(options->held_out) ? "held_out"
                                                                             : NULL;
  if (key == NULL) return NK_STATUS_OK;
  return nk_fail(error, NK_STATUS_DATA, "the option \"%s\" must be an integer%s", key,
                 key[0] == 'h' ? " or a share below 1" : "");
}

static void set_defaults(nk_train_options *options) {
  *options = (nk_train_options){
      .batch_size = 4,
      .accumulate = 1,
      .adamw = nk_adamw_defaults(),
      .clip = 1,
      .schedule = NK_SCHEDULE_COSINE,
      .warmup_steps = NK_TRAIN_WARMUP_DEFAULT,
      .shuffle = true,
  };
}

nk_status nk_train_options_read(nk_train_options *options, const char *text, uint32_t n_layers, nk_error *error) {
  set_defaults(options);
  const cJSON *targets = NULL, *layers = NULL, *init_ids = NULL;
  uint32_t method = NK_METHOD_LORA, schedule = UINT32_MAX, from = 0;
  double seed = 0, memory = 0, lr = 0, decay = -1;
  nk_adapter_config *a = &options->adapter;
  const nk_json_option table[] = {
      {.key = "method", .kind = NK_JSON_CHOICE, .target = &method, .choices = METHODS},
      {.key = "rank", .kind = NK_JSON_U32, .target = &a->rank, .min = 1, .max = NK_ADAPTER_MAX_RANK},
      {.key = "alpha", .kind = NK_JSON_F64, .target = &a->alpha, .min = 1e-6, .max = 1e6},
      {.key = "dropout", .kind = NK_JSON_F64, .target = &a->dropout, .min = 0, .max = 0.99},
      {.key = "rslora", .kind = NK_JSON_BOOL, .target = &a->rslora},
      {.key = "targets", .kind = NK_JSON_VALUE, .target = &targets},
      {.key = "layers", .kind = NK_JSON_VALUE, .target = &layers},
      {.key = "tokens", .kind = NK_JSON_U32, .target = &a->n_virtual, .min = 1, .max = NK_ADAPTER_MAX_VIRTUAL},
      {.key = "init_ids", .kind = NK_JSON_VALUE, .target = &init_ids},
      {.key = "epochs", .kind = NK_JSON_U32, .target = &options->epochs, .min = 1, .max = NK_TRAIN_MAX_EPOCHS},
      {.key = "steps", .kind = NK_JSON_U32, .target = &options->steps, .min = 1, .max = NK_TRAIN_MAX_STEPS},
      {.key = "minutes", .kind = NK_JSON_F64, .target = &options->minutes, .min = 0.01, .max = 100000},
      {.key = "batch_size", .kind = NK_JSON_U32, .target = &options->batch_size, .min = 1, .max = NK_TRAIN_MAX_BATCH},
      {.key = "accumulate", .kind = NK_JSON_U32, .target = &options->accumulate, .min = 1, .max = NK_TRAIN_MAX_BATCH},
      {.key = "lr", .kind = NK_JSON_F64, .target = &lr, .min = 1e-9, .max = 10},
      {.key = "schedule", .kind = NK_JSON_CHOICE, .target = &schedule, .choices = NK_SCHEDULE_CHOICES},
      {.key = "warmup_steps", .kind = NK_JSON_U32, .target = &options->warmup_steps, .min = 0, .max = NK_TRAIN_MAX_STEPS},
      {.key = "weight_decay", .kind = NK_JSON_F64, .target = &decay, .min = 0, .max = 10},
      {.key = "clip", .kind = NK_JSON_F64, .target = &options->clip, .min = 0, .max = 1e6},
      {.key = "patience", .kind = NK_JSON_U32, .target = &options->patience, .min = 0, .max = NK_TRAIN_MAX_STEPS},
      {.key = "eval_every", .kind = NK_JSON_U32, .target = &options->eval_every, .min = 0, .max = NK_TRAIN_MAX_STEPS},
      {.key = "held_out", .kind = NK_JSON_F64, .target = &options->held_out, .min = 0, .max = 4194304},
      {.key = "held_out_from", .kind = NK_JSON_CHOICE, .target = &from, .choices = "random|end"},
      {.key = "seed", .kind = NK_JSON_F64, .target = &seed, .min = 0, .max = MAX_SEED},
      {.key = "shuffle", .kind = NK_JSON_BOOL, .target = &options->shuffle},
      {.key = "memory_limit", .kind = NK_JSON_F64, .target = &memory, .min = 0, .max = MAX_SEED},
  };
  cJSON *root = NULL;
  nk_status status = nk_json_options(text, table, sizeof table / sizeof table[0], &root, error);
  a->method = (nk_method)method;
  options->schedule = schedule == UINT32_MAX ? NK_SCHEDULE_COSINE : (nk_schedule_kind)schedule;
  options->lr = lr > 0 ? lr : defaults[method].lr;
  options->adamw.weight_decay = decay >= 0 ? decay : defaults[method].weight_decay;
  if (status == NK_STATUS_OK) status = check_method(root, a->method, error);
  if (status == NK_STATUS_OK) status = check_budget(options, schedule != UINT32_MAX, error);
  if (status == NK_STATUS_OK) status = check_whole(options, seed, memory, error);
  if (status == NK_STATUS_OK) status = read_targets(options, targets, error);
  if (status == NK_STATUS_OK) status = read_layers(options, layers, n_layers, error);
  if (status == NK_STATUS_OK) status = read_init_ids(options, init_ids, error);
  cJSON_Delete(root);
  if (status != NK_STATUS_OK) {
    nk_train_options_free(options);
    return status;
  }
  options->seed = (uint64_t)seed;
  options->memory_limit = (uint64_t)memory;
  options->held_out_random = from == 0;
  return NK_STATUS_OK;
}

/* ---- What follows from them ---------------------------------------------------------------------------------------- */

uint32_t nk_train_options_slots(const nk_train_options *options, const nk_model *model) {
  uint32_t slots = options->adapter.slots;
  for (uint32_t l = 0; options->all_targets && l < model->config.n_layers; l++) {
    if (options->layers != NULL && options->layers[l] == 0) continue;
    for (uint32_t s = 0; s < NK_SLOT_COUNT; s++) {
      if (nk_layer_slot(&model->layers[l], (nk_slot)s) != NULL) slots |= 1u << s;
    }
  }
  return slots;
}

uint32_t nk_train_options_held_out(const nk_train_options *options, uint32_t n) {
  if (options->held_out >= 1) return (uint32_t)options->held_out;
  if (!(options->held_out > 0)) return 0;
  uint32_t rounded = (uint32_t)((double)n * options->held_out + 0.5);
  return rounded > 0 ? rounded : 1;
}

uint64_t nk_train_options_epoch_steps(const nk_train_options *options, uint32_t n) {
  uint64_t window = (uint64_t)options->batch_size * options->accumulate;
  return (n + window - 1) / window;
}

uint64_t nk_train_options_total(const nk_train_options *options, uint32_t n) {
  if (options->budget == NK_BUDGET_MINUTES) return 0;
  if (options->budget == NK_BUDGET_STEPS) return options->steps;
  return options->epochs * nk_train_options_epoch_steps(options, n);
}

nk_schedule nk_train_options_schedule(const nk_train_options *options, uint64_t total) {
  uint64_t warmup = options->warmup_steps;
  if (warmup == NK_TRAIN_WARMUP_DEFAULT) {
    warmup = total == 0 ? 10 : total / 10;
    if (warmup > 10) warmup = 10;
  }
  return (nk_schedule){.kind = options->schedule, .lr = options->lr, .warmup = warmup, .total = total};
}
