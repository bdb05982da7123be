/* trainer.c: see trainer.h. What is read from or written to a checkpoint is in trainer_state.c. */
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/order.h"
#include "train/state.h"

#define ROW_ENTRIES 512u   /* of a row at least, if a batch has so many */
#define RECORDS_FIRST 16u

/* ---- Making -------------------------------------------------------------------------------------------------------- */

nk_status nk_trainer_create(nk_trainer **out, const nk_model *model, const nk_machine *machine, const char *options,
                            uint32_t context, bool float_activations, nk_error *error) {
  *out = NULL;
  nk_trainer *t = calloc(1, sizeof *t);
  if (t == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for training");
  t->model = model;
  t->machine = machine;
  t->float_activations = float_activations;
  nk_status status = nk_train_options_read(&t->options, options, model->config.n_layers, error);
  if (status != NK_STATUS_OK) {
    free(t);
    return status;
  }
  t->options_text = malloc(strlen(options == NULL ? "" : options) + 1);
  if (t->options_text == NULL) {
    nk_trainer_free(t);
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for training");
  }
  memcpy(t->options_text, options == NULL ? "" : options, strlen(options == NULL ? "" : options) + 1);
  nk_adapter_config config = t->options.adapter;
  config.slots = nk_train_options_slots(&t->options, model);
  status = nk_adapter_create(&t->adapter, model, &config, error);
  if (status == NK_STATUS_OK)
    status = nk_adapter_initialize(t->adapter, model, t->options.seed, t->options.init_ids, t->options.n_init_ids, error);
  if (status != NK_STATUS_OK) {
    nk_trainer_free(t);
    return status;
  }
  t->context = context;
  nk_examples_init(&t->examples, model->vocab, nk_trainer_room(t));
  nk_examples_init(&t->held, model->vocab, nk_trainer_room(t));
  *out = t;
  return NK_STATUS_OK;
}

void nk_trainer_free(nk_trainer *t) {
  if (t == NULL) return;
  nk_gradient_free(t->gradient);
  nk_adapter_free(t->adapter);
  nk_examples_free(&t->examples);
  nk_examples_free(&t->held);
  nk_train_options_free(&t->options);
  nk_arena_free(&t->memory);
  free(t->options_text);
  free(t->losses);
  free(t->evals);
  free(t->checkpoint);
  free(t);
}

uint32_t nk_trainer_room(const nk_trainer *t) {
  uint32_t virtual = t->adapter->n_virtual;
  return t->context > virtual + 2 ? t->context - virtual : 2;
}

nk_status nk_trainer_begin_with(nk_trainer *t, const nk_adapter *from, nk_error *error) {
  if (t->examples.counts.given + t->held.counts.given > 0 || t->gradient != NULL)
    return nk_fail(error, NK_STATUS_INTERNAL, "the adapter to begin with comes before the examples");
  if (from->method != t->adapter->method)
    return nk_fail_hint(error, NK_STATUS_DATA, "Leave the method out, or name that one.",
                        "the adapter to begin with is of method %s, not %s", nk_method_name(from->method),
                        nk_method_name(t->adapter->method));
  nk_adapter *copy = NULL;
  nk_status status = nk_adapter_copy(&copy, t->model, from, error);
  if (status != NK_STATUS_OK) return status;
  copy->config.dropout = t->options.adapter.dropout;
  nk_adapter_free(t->adapter);
  t->adapter = copy;
  nk_examples_init(&t->examples, t->model->vocab, nk_trainer_room(t));
  nk_examples_init(&t->held, t->model->vocab, nk_trainer_room(t));
  return NK_STATUS_OK;
}

nk_status nk_trainer_add(nk_trainer *t, const int32_t *ids, const int32_t *labels, uint32_t n, bool held_out,
                         nk_error *error) {
  if (t->gradient != NULL) return nk_fail(error, NK_STATUS_BUSY, "the training has begun: no more examples");
  return nk_examples_add(held_out ? &t->held : &t->examples, ids, labels, n, error);
}

const nk_example_counts *nk_trainer_counts(const nk_trainer *t, bool held_out) {
  return held_out ? &t->held.counts : &t->examples.counts;
}

/* ---- Plan and start ------------------------------------------------------------------------------------------------ */

static uint32_t smaller(uint64_t a, uint64_t b) { return (uint32_t)(a < b ? a : b); }

/* Examples that are learned from; the others are held out. */
static uint32_t learned(const nk_trainer *t) {
  uint32_t held = nk_train_options_held_out(&t->options, t->examples.n);
  return held < t->examples.n ? t->examples.n - held : 0;
}

static void choose_sizes(nk_trainer *t) {
  uint32_t virtual = t->adapter->method == NK_METHOD_PROMPT ? t->adapter->n_virtual : 0;
  uint32_t longest = t->examples.counts.longest > t->held.counts.longest ? t->examples.counts.longest
                                                                         : t->held.counts.longest;
  uint64_t one = (uint64_t)longest + virtual, batch = one * t->options.batch_size;
  uint64_t row = one > ROW_ENTRIES ? one : smaller(batch, ROW_ENTRIES);
  t->pack.room = (uint32_t)row;
  t->pack.n_virtual = virtual;
}

static void carve(nk_trainer *t, nk_arena *arena) {
  uint64_t n = t->adapter->n_values;
  uint32_t room = t->pack.room, virtual = t->pack.n_virtual;
  t->m = nk_arena_take(arena, n, sizeof *t->m);
  t->v = nk_arena_take(arena, n, sizeof *t->v);
  t->good = nk_arena_take(arena, n, sizeof *t->good);
  t->best = nk_arena_take(arena, n, sizeof *t->best);
  t->items = nk_arena_take(arena, t->examples.n, sizeof *t->items);
  t->order = nk_arena_take(arena, t->examples.n, sizeof *t->order);
  t->all_held = nk_arena_take(arena, t->held.n, sizeof *t->all_held);
  nk_pack_carve(&t->pack, arena, room, virtual, t->options.batch_size);
}

static nk_gradient_options gradient_options(const nk_trainer *t, uint64_t others) {
  uint64_t limit = t->options.memory_limit;
  return (nk_gradient_options){.tokens = t->pack.room > 2 ? t->pack.room : 2, .float_activations = t->float_activations,
                               .memory = limit == 0 ? 0 : limit > others ? limit - others : 1};
}

/* The options of the gradient, with what is left of the memory limit for records; and what all takes. */
static nk_gradient_options plan_gradient(const nk_trainer *t, nk_train_plan *plan) {
  nk_arena arena = nk_arena_measure();
  nk_trainer probe = *t;
  carve(&probe, &arena);
  nk_gradient_options options = gradient_options(t, arena.used);
  nk_gradient_plan whole = nk_gradient_measure(t->model, t->machine, t->adapter, &options);
  if (options.memory > 1) { /* the limit is for everything: records get what the rest leaves */
    uint64_t rest = whole.bytes - whole.records;
    options.memory = options.memory > rest ? options.memory - rest : 1;
    whole = nk_gradient_measure(t->model, t->machine, t->adapter, &options);
  }
  *plan = (nk_train_plan){.bytes = whole.bytes > UINT64_MAX - arena.used ? UINT64_MAX : whole.bytes + arena.used,
                          .parameters = t->adapter->n_values, .steps = nk_train_options_total(&t->options, learned(t)),
                          .row = options.tokens, .kept = whole.kept, .n_layers = t->model->config.n_layers};
  return options;
}

nk_status nk_trainer_plan(nk_trainer *t, nk_train_plan *plan, nk_error *error) {
  nk_status status = nk_examples_check(&t->examples, error);
  if (status != NK_STATUS_OK) return status;
  choose_sizes(t);
  (void)plan_gradient(t, plan);
  return NK_STATUS_OK;
}

nk_status nk_trainer_start(nk_trainer *t, const uint8_t model_hash[32], nk_error *error) {
  if (t->gradient != NULL) return nk_fail(error, NK_STATUS_BUSY, "the training has begun already");
  nk_train_plan plan;
  nk_status status = nk_trainer_plan(t, &plan, error);
  if (status != NK_STATUS_OK) return status;
  uint32_t held = nk_train_options_held_out(&t->options, t->examples.n);
  if (held > 0 && t->held.n > 0)
    return nk_fail_hint(error, NK_STATUS_DATA, "Leave held_out away.",
                        "examples to measure were given, and held_out asks for others");
  nk_gradient_options options = plan_gradient(t, &plan);
  nk_arena measure = nk_arena_measure();
  nk_trainer probe = *t;
  carve(&probe, &measure);
  status = nk_arena_allocate(&t->memory, measure.used, "training", error);
  if (status != NK_STATUS_OK) return status;
  carve(t, &t->memory);
  status = nk_examples_split(&t->examples, held, t->options.held_out_random, t->options.seed, t->items, error);
  if (status != NK_STATUS_OK) return status;
  t->n_items = t->examples.n - held;
  t->n_held = held > 0 ? held : t->held.n;
  for (uint32_t i = 0; i < t->held.n; i++) t->all_held[i] = i;
  status = nk_gradient_create(&t->gradient, t->model, t->machine, t->adapter, &options, error);
  if (status != NK_STATUS_OK) return status;
  t->grads = nk_gradient_values(t->gradient, &t->n_grads);
  memcpy(t->model_hash, model_hash, sizeof t->model_hash);
  t->total = nk_train_options_total(&t->options, t->n_items);
  t->schedule = nk_train_options_schedule(&t->options, t->total);
  memcpy(t->good, t->adapter->values, (size_t)t->adapter->n_values * sizeof *t->good);
  t->task = t->n_held > 0 ? NK_TASK_MEASURE : NK_TASK_WINDOW;
  return NK_STATUS_OK;
}

/* ---- Rows ---------------------------------------------------------------------------------------------------------- */

/* Packs the examples chosen [n] and begins with its first row. */
static nk_status begin_batch(nk_trainer *t, const nk_examples *examples, const uint32_t *chosen, uint32_t n,
                             nk_error *error) {
  t->row = 0;
  t->in_row = false;
  return nk_pack_batch(&t->pack, examples, chosen, n, error);
}

/* A piece of the batch's rows. *done: all of them. */
static nk_status step_batch(nk_trainer *t, bool backward, bool *done, nk_error *error) {
  *done = t->row == t->pack.n_rows;
  if (*done) return NK_STATUS_OK;
  if (!t->in_row) {
    nk_pack_row row = nk_pack_row_at(&t->pack, t->row);
    const nk_row one = {row.ids, row.labels, row.starts, row.n};
    nk_random random = nk_random_stream(t->options.seed, NK_TRAIN_STREAM_DROPOUT + t->progress.step);
    uint64_t key = ((uint64_t)nk_random_u32(&random) << 32 | nk_random_u32(&random)) + t->rows_done;
    nk_status status = nk_gradient_begin(t->gradient, &one, backward, 1.0 / (double)t->scored, key, error);
    if (status != NK_STATUS_OK) return status;
    t->in_row = true;
  }
  bool row_done = false;
  nk_gradient_step(t->gradient, &row_done);
  if (!row_done) return NK_STATUS_OK;
  t->loss += nk_gradient_loss(t->gradient);
  t->in_row = false;
  t->rows_done++;
  *done = ++t->row == t->pack.n_rows;
  return NK_STATUS_OK;
}

/* ---- Updates ------------------------------------------------------------------------------------------------------- */

static void next_order(nk_trainer *t) {
  if (t->order_epoch == t->progress.epoch + 1) return;
  nk_order(t->order, t->items, t->n_items, t->options.seed, t->progress.epoch, t->options.shuffle);
  t->order_epoch = t->progress.epoch + 1;
}

static nk_status begin_window(nk_trainer *t, nk_error *error) {
  next_order(t);
  uint64_t window = (uint64_t)t->options.batch_size * t->options.accumulate;
  t->window = smaller(window, t->n_items - t->progress.position);
  t->window_done = 0;
  t->rows_done = 0;
  t->scored = 0;
  t->loss = 0.0;
  t->window_tokens = 0;
  for (uint32_t i = 0; i < t->window; i++) {
    nk_example one = nk_examples_at(&t->examples, t->order[t->progress.position + i]);
    t->scored += one.scored;
    t->window_tokens += one.n + t->pack.n_virtual;
  }
  memset(t->grads, 0, (size_t)t->n_grads * sizeof *t->grads);
  t->task = NK_TASK_LEARN;
  t->batch = smaller(t->options.batch_size, t->window);
  return begin_batch(t, &t->examples, t->order + t->progress.position, t->batch, error);
}

static nk_status keep_record(nk_loss_record **list, uint64_t *n, uint64_t *room, nk_loss_record record, nk_error *error) {
  if (*n == *room) {
    uint64_t more = *room == 0 ? RECORDS_FIRST : *room * 2;
    nk_loss_record *longer = more <= NK_CHECKPOINT_MAX_RECORDS ? realloc(*list, (size_t)more * sizeof **list) : NULL;
    if (longer == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the record of the losses");
    *list = longer;
    *room = more;
  }
  (*list)[(*n)++] = record;
  return NK_STATUS_OK;
}

static void end(nk_trainer *t, nk_train_end reason) {
  t->end = reason;
  t->task = NK_TASK_DONE;
}

/* On from a measurement: to the end, where it was the last or there were enough without a better one. */
static void after_measurement(nk_trainer *t) {
  bool enough = t->options.patience > 0 && t->progress.worse >= t->options.patience;
  t->task = NK_TASK_WINDOW;
  if (!enough && !t->last) return;
  end(t, t->last ? NK_TRAIN_BUDGET : NK_TRAIN_PATIENCE);
  if (t->options.patience > 0) memcpy(t->adapter->values, t->best, (size_t)t->adapter->n_values * sizeof *t->best);
}

/* The budget is used up, or the next thing to do: a measurement, or the next window. */
static void what_next(nk_trainer *t, bool epoch_ended) {
  bool used = t->total > 0 ? t->progress.step >= t->total : t->progress.seconds >= t->options.minutes * 60.0;
  bool due = t->options.eval_every > 0 ? t->progress.step % t->options.eval_every == 0 : epoch_ended;
  t->last = used;
  if (t->n_held > 0 && (due || used)) {
    t->task = NK_TASK_MEASURE;
  } else if (used) {
    end(t, NK_TRAIN_BUDGET);
  } else {
    t->task = NK_TASK_WINDOW;
  }
}

void nk_trainer_go_on(nk_trainer *t) {
  if (t->progress.step == 0 && t->n_evals == 0) return; /* as it was started */
  what_next(t, t->progress.position == 0);
  bool has_measured = t->n_evals > 0 && t->evals[t->n_evals - 1].step == t->progress.step;
  if (t->task == NK_TASK_MEASURE && has_measured) after_measurement(t);
}

static nk_status update(nk_trainer *t, nk_train_event *event, nk_error *error) {
  uint64_t n = t->adapter->n_values;
  double loss = t->loss / (double)t->scored, norm = nk_gradient_norm(t->grads, n);
  if (!isfinite(loss) || !isfinite(norm)) {
    memcpy(t->adapter->values, t->good, (size_t)n * sizeof *t->good);
    end(t, NK_TRAIN_DIVERGED);
    return NK_STATUS_OK;
  }
  double rate = nk_schedule_rate(&t->schedule, t->progress.step);
  const nk_loss_record record = {.step = t->progress.step, .loss = loss, .norm = norm, .rate = rate};
  nk_status status = keep_record(&t->losses, &t->n_losses, &t->losses_room, record, error);
  if (status != NK_STATUS_OK) return status;
  memcpy(t->good, t->adapter->values, (size_t)n * sizeof *t->good);
  nk_gradient_scale(t->grads, n, nk_clip_factor(norm, t->options.clip));
  nk_adamw_factors factors = nk_adamw_factors_at(&t->options.adamw, rate, t->progress.step + 1);
  nk_adamw_step(&factors, t->adapter->values, t->grads, t->m, t->v, n);
  t->progress.step++;
  t->progress.position += t->window;
  t->progress.examples += t->window;
  t->progress.tokens += t->window_tokens;
  bool epoch_ended = t->progress.position == t->n_items;
  if (epoch_ended) {
    t->progress.epoch++;
    t->progress.position = 0;
  }
  event->type = NK_TRAIN_STEP;
  event->loss = loss;
  event->norm = norm;
  event->rate = rate;
  what_next(t, epoch_ended);
  return NK_STATUS_OK;
}

static nk_status learn(nk_trainer *t, nk_train_event *event, nk_error *error) {
  bool done = false;
  nk_status status = step_batch(t, true, &done, error);
  if (status != NK_STATUS_OK || !done) return status;
  t->window_done += t->batch;
  if (t->window_done < t->window) {
    t->batch = smaller(t->options.batch_size, t->window - t->window_done);
    return begin_batch(t, &t->examples, t->order + t->progress.position + t->window_done, t->batch, error);
  }
  return update(t, event, error);
}

/* ---- Measuring ----------------------------------------------------------------------------------------------------- */

/* The held-out examples: of a store of their own, or the last of the items. */
static nk_status begin_measured_batch(nk_trainer *t, nk_error *error) {
  bool own = t->held.n > 0;
  const uint32_t *chosen = own ? t->all_held : t->items + t->n_items;
  t->batch = smaller(t->options.batch_size, t->n_held - t->window_done);
  return begin_batch(t, own ? &t->held : &t->examples, chosen + t->window_done, t->batch, error);
}

static nk_status begin_measure(nk_trainer *t, nk_error *error) {
  t->window = t->n_held;
  t->window_done = 0;
  t->rows_done = 0;
  t->loss = 0.0;
  t->scored = 1; /* losses alone: the mean is taken at the end */
  t->measured = 0;
  t->task = NK_TASK_MEASURING;
  return begin_measured_batch(t, error);
}

static nk_status measured(nk_trainer *t, nk_train_event *event, nk_error *error) {
  double loss = t->loss / (double)t->measured;
  if (!isfinite(loss)) {
    memcpy(t->adapter->values, t->good, (size_t)t->adapter->n_values * sizeof *t->good);
    end(t, NK_TRAIN_DIVERGED);
    return NK_STATUS_OK;
  }
  const nk_loss_record record = {.step = t->progress.step, .loss = loss};
  nk_status status = keep_record(&t->evals, &t->n_evals, &t->evals_room, record, error);
  if (status != NK_STATUS_OK) return status;
  if (!t->has_best || loss < t->progress.best_loss) {
    t->has_best = true;
    t->progress.best_loss = loss;
    t->progress.best_step = t->progress.step;
    t->progress.worse = 0;
    memcpy(t->best, t->adapter->values, (size_t)t->adapter->n_values * sizeof *t->best);
  } else {
    t->progress.worse++;
  }
  event->type = NK_TRAIN_EVAL;
  event->loss = loss;
  after_measurement(t);
  return NK_STATUS_OK;
}

static nk_status measure(nk_trainer *t, nk_train_event *event, nk_error *error) {
  bool done = false;
  nk_status status = step_batch(t, false, &done, error);
  if (status != NK_STATUS_OK || !done) return status;
  t->measured += t->pack.scored;
  t->window_done += t->batch;
  if (t->window_done < t->window) return begin_measured_batch(t, error);
  return measured(t, event, error);
}

/* ---- Steps --------------------------------------------------------------------------------------------------------- */

nk_status nk_trainer_step(nk_trainer *t, double seconds, nk_train_event *event, nk_error *error) {
  *event = (nk_train_event){.type = NK_TRAIN_WORK};
  if (t->gradient == NULL) return nk_fail(error, NK_STATUS_INTERNAL, "the training has not been started");
  if (seconds > 0.0 && isfinite(seconds)) t->progress.seconds += seconds;
  nk_status status = NK_STATUS_OK;
  switch (t->task) {
    case NK_TASK_WINDOW: status = begin_window(t, error); break;
    case NK_TASK_LEARN: status = learn(t, event, error); break;
    case NK_TASK_MEASURE: status = begin_measure(t, error); break;
    case NK_TASK_MEASURING: status = measure(t, event, error); break;
    case NK_TASK_DONE: break;
  }
  if (t->task == NK_TASK_DONE && event->type == NK_TRAIN_WORK) event->type = NK_TRAIN_DONE;
  event->step = t->progress.step;
  event->total = t->total;
  event->epoch = t->progress.epoch + (t->progress.position > 0 || t->task == NK_TASK_LEARN ? 1 : 0);
  event->tokens = t->progress.tokens;
  event->share = t->window == 0 ? 0.0 : (double)t->window_done / (double)t->window;
  return status;
}

nk_train_end nk_trainer_end_reason(const nk_trainer *t) { return t->end; }

bool nk_trainer_best(const nk_trainer *t, double *loss, uint64_t *step) {
  *loss = t->progress.best_loss;
  *step = t->progress.best_step;
  return t->has_best;
}

const nk_adapter *nk_trainer_adapter(const nk_trainer *t) { return t->adapter; }

nk_adapter *nk_trainer_take(nk_trainer *t) {
  nk_adapter *adapter = t->adapter;
  nk_gradient_free(t->gradient);
  t->gradient = NULL;
  t->adapter = NULL;
  nk_adapter_rekey(adapter);
  return adapter;
}

void nk_trainer_data_hash(const nk_trainer *t, uint8_t digest[32]) { nk_examples_hash(&t->examples, digest); }
