/*
 * failing_allocator.h: malloc and its kin in the place of the system's (--wrap, see cmake/tests.cmake), for the engine and
 * for cJSON alike, so that no build carries a hook for tests. Once an allocation fails alone, once it and all after it
 * fail.
 */
#ifndef NOOK_TESTS_FAILING_ALLOCATOR_H
#define NOOK_TESTS_FAILING_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *memory);

static bool armed;     /* the engine is at work, not the test */
static bool for_good;  /* after the first failure all fail */
static size_t allowed; /* allocations that succeed before one fails */
static size_t asked, failed;
static ptrdiff_t held;

static bool fails(void) {
  if (!armed) return false;
  bool now = for_good ? asked >= allowed : asked == allowed;
  asked++;
  failed += now;
  return now;
}

static void *count(void *memory) {
  if (armed && memory != NULL) held++;
  return memory;
}

void *__wrap_malloc(size_t bytes) { return fails() ? NULL : count(__real_malloc(bytes)); }
void *__wrap_calloc(size_t n, size_t bytes) { return fails() ? NULL : count(__real_calloc(n, bytes)); }
void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
  return fails() ? NULL : count(__real_aligned_alloc(alignment, bytes));
}

void *__wrap_realloc(void *memory, size_t bytes) {
  if (fails()) return NULL;
  void *moved = __real_realloc(memory, bytes);
  return memory == NULL ? count(moved) : moved;
}

void __wrap_free(void *memory) {
  if (armed && memory != NULL) held--;
  __real_free(memory);
}

#endif
