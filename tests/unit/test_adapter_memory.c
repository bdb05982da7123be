/*
 * test_adapter_memory.c: reading, writing and making adapters when memory runs out: at each allocation in turn, alone and
 * with all that follow, the answer is an error of memory, and nothing is left behind.
 */
#include "adapter_fixture.h"
#include "failing_allocator.h"

#include "adapt/card.h"
#include "adapt/lora_gguf.h"

static nk_error error;

typedef struct task {
  const nk_model *model;
  nk_adapter_config config;
  nk_bytes peft_config, tensors, gguf;
} task;

/* Each ends with nothing held. */
static nk_status create(const task *t) {
  static const nk_card card = {.tool = "nook", .base_name = "x"};
  nk_adapter *adapter;
  nk_status status = nk_adapter_create(&adapter, t->model, &t->config, &error);
  if (status == NK_STATUS_OK) status = nk_adapter_initialize(adapter, t->model, 1, NULL, 0, &error);
  if (status == NK_STATUS_OK) status = nk_adapter_write_card(adapter, &card, &error);
  nk_adapter_free(adapter);
  return status;
}

static nk_status there_and_back(const task *t) {
  nk_adapter *adapter;
  nk_bytes config = {0}, tensors = {0};
  nk_status status = nk_peft_read(&adapter, t->model, t->peft_config.data, t->peft_config.length, t->tensors.data,
                                  t->tensors.length, &error);
  if (status == NK_STATUS_OK) status = nk_peft_write(adapter, t->model, &config, &tensors, &error);
  free(config.data);
  free(tensors.data);
  nk_adapter_free(adapter);
  return status;
}

static nk_status through_gguf(const task *t) {
  nk_adapter *adapter;
  nk_bytes file = {0};
  nk_status status = nk_lora_gguf_read(&adapter, t->model, t->gguf.data, t->gguf.length, &error);
  if (status == NK_STATUS_OK) status = nk_lora_gguf_write(adapter, t->model, &file, &error);
  free(file.data);
  nk_adapter_free(adapter);
  return status;
}

static void each_allocation(const task *t, nk_status (*work)(const task *), size_t at_least) {
  for (int forever = 0; forever < 2; forever++) {
    for_good = forever == 1;
    for (allowed = 0;; allowed++) {
      assert_true(allowed < 100000);
      asked = failed = 0;
      held = 0;
      armed = true;
      nk_status status = work(t);
      armed = false;
      if (held != 0) fail_msg("allocation %zu: %td blocks were left behind", allowed, held);
      if (status == NK_STATUS_OK && failed == 0) break;
      if (status != NK_STATUS_MEMORY) fail_msg("allocation %zu: status %u, %s", allowed, (unsigned)status, error.text);
    }
    assert_true(allowed >= at_least); /* else the linker's --wrap is missing and nothing failed */
  }
}

static void memory_may_run_out_at_any_allocation(void **state) {
  (void)state;
  nk_model *model = tiny_model("llama");
  for (uint32_t m = 0; m < NK_METHOD_COUNT; m++) {
    uint8_t layers[2] = {0, 1};
    task t = {.model = model, .config = {.method = (nk_method)m, .rank = 2, .n_virtual = 2, .layers = layers}};
    nk_adapter *adapter = random_adapter(model, &t.config, 1);
    static const nk_card card = {.tool = "nook", .base_name = "x"};
    assert_int_equal(nk_adapter_write_card(adapter, &card, &error), NK_STATUS_OK);
    assert_int_equal(nk_peft_write(adapter, model, &t.peft_config, &t.tensors, &error), NK_STATUS_OK);
    each_allocation(&t, create, 10);
    each_allocation(&t, there_and_back, 50);
    if (m == NK_METHOD_LORA) {
      assert_int_equal(nk_lora_gguf_write(adapter, model, &t.gguf, &error), NK_STATUS_OK);
      each_allocation(&t, through_gguf, 20);
    }
    free(t.peft_config.data);
    free(t.tensors.data);
    free(t.gguf.data);
    nk_adapter_free(adapter);
  }
  nk_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(memory_may_run_out_at_any_allocation)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
