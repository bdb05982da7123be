/*
 * wasm_runtime.c: what Emscripten's JavaScript would otherwise do, in C, so that a build of Nook is one bare module that
 * imports its memory and nothing else.
 *
 * Purpose  The C library of Emscripten's sysroot leaves some functions to its host: growth of the memory, copying,
 *          yielding, the end of the program. They are defined here; the linker refuses a module with any other import.
 * Limits   The memory ends one page short of 4 GiB, so that its size in bytes fits size_t. There is no standard output, no
 *          clock and no file: the engine needs none. abort() traps: it can only be reached through a bug.
 * Threads  Only in the builds with shared memory; the start of a helper is described in docs/wasm-threads.md.
 */
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 65536u
#define MOST_PAGES 65535u
#define GROWTH_PAGES 4u /* at least 256 KiB at once: small allocations should not grow the memory one by one */

void __wasm_call_ctors(void);
void nook_wasm_initialize(void) __attribute__((export_name("_initialize")));
size_t emscripten_get_heap_size(void);
int emscripten_resize_heap(size_t bytes);
void _emscripten_memcpy_js(void *to, const void *from, size_t bytes);
void *_emscripten_memcpy_bulkmem(void *to, const void *from, size_t bytes);
void *_emscripten_memset_bulkmem(void *to, int value, size_t bytes);
int sched_yield(void);
_Noreturn void _abort_js(void);

/* Constructors, in the first instance over a memory only; the first call that the loader makes. */
void nook_wasm_initialize(void) { __wasm_call_ctors(); }

size_t emscripten_get_heap_size(void) {
  size_t pages = __builtin_wasm_memory_size(0);
  return (pages < MOST_PAGES ? pages : MOST_PAGES) * (size_t)PAGE_BYTES;
}

/* Grows to at least `bytes`; 0 when the host refuses, and malloc gives NULL. The planned bulk of a model's memory is grown
   by the loader before; this serves the rest. */
int emscripten_resize_heap(size_t bytes) {
  size_t pages = __builtin_wasm_memory_size(0);
  size_t wanted = bytes / PAGE_BYTES + (bytes % PAGE_BYTES != 0 ? 1u : 0u);
  if (wanted <= pages) return 1;
  if (wanted > MOST_PAGES) return 0;
  size_t missing = wanted - pages;
  if (missing < GROWTH_PAGES && pages + GROWTH_PAGES <= MOST_PAGES &&
      __builtin_wasm_memory_grow(0, GROWTH_PAGES) != (size_t)-1) {
    return 1;
  }
  return __builtin_wasm_memory_grow(0, missing) != (size_t)-1;
}

/* With bulk memory these are one instruction each (memory.copy, memory.fill), not calls of themselves. */
void _emscripten_memcpy_js(void *to, const void *from, size_t bytes) { __builtin_memcpy(to, from, bytes); }
void *_emscripten_memcpy_bulkmem(void *to, const void *from, size_t bytes) { return __builtin_memcpy(to, from, bytes); }
void *_emscripten_memset_bulkmem(void *to, int value, size_t bytes) { return __builtin_memset(to, value, bytes); }

/* The allocator's lock is held for some hundred nanoseconds: spinning is right, and a browser's main thread may not
   sleep. */
int sched_yield(void) { return 0; }

_Noreturn void _abort_js(void) { __builtin_trap(); }
