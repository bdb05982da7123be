/* trainer_state.c: a trainer's state as a checkpoint, and back; see trainer.h and checkpoint.h. */
#include <stdlib.h>
#include <string.h>

#include "train/state.h"

static const char *variant_of(const nk_trainer *t) {
  switch (nk_ops_isa(t->machine->ops)) {
    case NK_ISA_SCALAR: return "scalar";
    case NK_ISA_SIMD128: return "simd128";
    case NK_ISA_RELAXED: return "relaxed";
  }
  return "unknown";
}

static void hash_of(const nk_examples *examples, uint8_t digest[32]) {
  memset(digest, 0, 32);
  if (examples->n > 0) nk_examples_hash(examples, digest);
}

nk_status nk_trainer_checkpoint(nk_trainer *t, const uint8_t **bytes, uint64_t *n, nk_error *error) {
  *bytes = NULL;
  *n = 0;
  if (t->gradient == NULL) return nk_fail(error, NK_STATUS_INTERNAL, "the training has not been started");
  nk_checkpoint c = {.variant = variant_of(t), .options = t->options_text, .progress = t->progress,
                     .n_values = t->adapter->n_values, .n_losses = t->n_losses, .n_evals = t->n_evals,
                     .values = t->adapter->values, .m = t->m, .v = t->v, .best = t->has_best ? t->best : NULL,
                     .losses = t->losses, .evals = t->evals};
  memcpy(c.model, t->model_hash, sizeof c.model);
  hash_of(&t->examples, c.data);
  hash_of(&t->held, c.held_out);
  uint64_t size = nk_checkpoint_bytes(&c);
  if (size == 0 || size > SIZE_MAX)
    return nk_fail(error, NK_STATUS_MEMORY, "the state of the training is too large to keep");
  free(t->checkpoint);
  t->checkpoint = malloc((size_t)size);
  if (t->checkpoint == NULL)
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for a checkpoint of %llu bytes", (unsigned long long)size);
  nk_status status = nk_checkpoint_write(&c, t->checkpoint, size, error);
  if (status != NK_STATUS_OK) return status;
  *bytes = t->checkpoint;
  *n = size;
  return NK_STATUS_OK;
}

static nk_status take_records(nk_loss_record **list, uint64_t *n, uint64_t *room, const void *from, uint64_t count,
                              nk_error *error) {
  nk_loss_record *copy = malloc((size_t)(count == 0 ? 1 : count) * sizeof *copy);
  if (copy == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the record of the losses");
  if (count > 0) memcpy(copy, from, (size_t)count * sizeof *copy);
  free(*list);
  *list = copy;
  *n = count;
  *room = count == 0 ? 1 : count;
  return NK_STATUS_OK;
}

nk_status nk_trainer_resume(nk_trainer *t, const uint8_t *checkpoint, uint64_t n, bool *other_kernels, nk_error *error) {
  *other_kernels = false;
  if (t->gradient == NULL || t->progress.step > 0)
    return nk_fail(error, NK_STATUS_INTERNAL, "a training resumes right after its start");
  nk_checkpoint c;
  nk_status status = nk_checkpoint_read(&c, checkpoint, n, error);
  if (status != NK_STATUS_OK) return status;
  nk_checkpoint_here here = {.variant = variant_of(t), .n_values = t->adapter->n_values, .n_examples = t->n_items};
  memcpy(here.model, t->model_hash, sizeof here.model);
  hash_of(&t->examples, here.data);
  hash_of(&t->held, here.held_out);
  status = nk_checkpoint_match(&c, &here, other_kernels, error);
  if (status != NK_STATUS_OK) return status;
  if (strcmp(c.options, t->options_text) != 0)
    return nk_fail_hint(error, NK_STATUS_DATA, "Resume with the options that it began with, or begin anew.",
                        "the checkpoint is of a training with other options");
  status = take_records(&t->losses, &t->n_losses, &t->losses_room, c.losses, c.n_losses, error);
  if (status == NK_STATUS_OK) status = take_records(&t->evals, &t->n_evals, &t->evals_room, c.evals, c.n_evals, error);
  if (status != NK_STATUS_OK) return status;
  size_t size = (size_t)t->adapter->n_values * sizeof(float);
  memcpy(t->adapter->values, c.values, size);
  memcpy(t->good, c.values, size);
  memcpy(t->m, c.m, size);
  memcpy(t->v, c.v, size);
  t->has_best = c.best != NULL;
  if (t->has_best) memcpy(t->best, c.best, size);
  t->progress = c.progress;
  nk_trainer_go_on(t);
  return NK_STATUS_OK;
}
