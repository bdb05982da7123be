/*
 * mutate.c: mutated model files against the engine, each case loaded and used as a host would; see trial.h and mutator.h.
 *
 * usage: mutate [--seed S] [--cuts N] [--changes N] [--case I] [--json] FILE...    tests the files
 *        mutate --graft OUT FILE                                                   a small model around a vocabulary's keys
 *        mutate --hang FILE, mutate --leak FILE                                    what the tests of this program do wrong
 * Cases    0 .. cuts - 1 are truncations, the rest changes; case 0's seed and all others depend on (seed, the file's name
 *          without its folder, number) alone, so --case I replays one.
 * Result   1 when a case crashed, hung, leaked, drew a sanitizer's report, had no sentence or loaded what it must not; each
 *          is told with seed, file and mutation. Cases run in a child process, so that the next ones are still tested.
 * --json   One line a case on stdout: what was changed and what came of it, for builds with other sizes to compare.
 * Memory   Allocations above a cap fail (AddressSanitizer's; elsewhere setrlimit), so that a header cannot take the
 *          machine.
 */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutator.h"
#include "trial.h"

#define MEMORY_CAP_MB 192
#define CASE_SECONDS \
  60u /* under a sanitizer, on a busy machine, for a model of 135 M parameters; far above any sound case */
#define MAX_FAILURES 10u

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#if SANITIZED
size_t __sanitizer_get_current_allocated_bytes(void); /* of the runtime; its header does not come with gcc everywhere */
#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
  return "allocator_may_return_null=1:detect_leaks=1:quarantine_size_mb=16:max_allocation_size_mb=" TEXT_OF(MEMORY_CAP_MB);
}
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "print_stacktrace=1"; }
static size_t allocated(void) { return __sanitizer_get_current_allocated_bytes(); }
#else
static size_t allocated(void) { return 0; }
#endif

typedef struct settings {
  uint64_t seed;
  uint32_t cuts, changes;
  int64_t only; /* one case, or -1 */
  bool json, hang, leak;
} settings;

/* What the child tells its parent while it works; lies in shared memory. */
typedef struct progress {
  uint32_t number;
  uint32_t loaded, refused, out_of_memory, broken;
  char what[400];
  char broken_text[400];
} progress;

/* ---- One case ---------------------------------------------------------------------------------------------------- */

static void print_string(const char *text) {
  putchar('"');
  for (const uint8_t *at = (const uint8_t *)text; *at != 0; at++) {
    if (*at == '"' || *at == '\\') putchar('\\');
    if (*at < 32 || *at > 126) printf("\\u%04x", *at); /* bytes as Latin-1: only compared, never decoded */
    else putchar(*at);
  }
  putchar('"');
}

static void print_case(uint32_t number, const mutation *m, const char *options, const trial_outcome *out) {
  printf("{\"case\":%u,\"what\":", number);
  print_string(m->what);
  printf(",\"options\":{%s},\"bytes\":%llu,\"splices\":[", options[0] == ',' ? options + 1 : options,
         (unsigned long long)m->bytes);
  for (uint32_t i = 0; i < m->n; i++) {
    printf("%s[%llu,%u,\"", i > 0 ? "," : "", (unsigned long long)m->splices[i].offset, m->splices[i].removed);
    for (uint32_t b = 0; b < m->splices[i].added; b++) printf("%02x", m->pool[m->splices[i].at + b]);
    printf("\"]");
  }
  printf("],\"status\":\"%s\",\"message\":", nk_status_code(out->status));
  print_string(out->message);
  printf(",\"tokens\":\"%016llx\",\"logits\":\"%016llx\",\"generation\":\"%s\",\"drawn\":[",
         (unsigned long long)out->tokens_hash, (unsigned long long)out->logits_hash, out->generation);
  for (uint32_t i = 0; i < out->n_drawn; i++) printf("%s%d", i > 0 ? "," : "", out->drawn[i]);
  printf("]}\n");
}

static void run_case(const settings *s, const anatomy *a, const char *name, uint32_t number, progress *p) {
  static const char *const choices[] = {"", ",\"activations\":\"f32\"", ",\"kv\":\"f32\"", ",\"kv\":\"q8\""};
  static mutation m; /* too large for a stack of any size */
  uint64_t seed = mutator_seed(s->seed, name, number);
  if (number < s->cuts) mutator_cut(&m, a, seed);
  else mutator_change(&m, a, seed);
  p->number = number;
  memcpy(p->what, m.what, sizeof p->what);
  uint64_t head_bytes;
  uint8_t *head = mutator_apply(&m, a, &head_bytes);
  trial_outcome out = {0};
  char options[64];
  (void)snprintf(options, sizeof options, "%s%s", choices[seed >> 8 & 3], (seed & 7) == 0 ? "" : ",\"context\":96");
  if (head == NULL) TRIAL_BROKEN(&out, "memory was out before the case began");
  if (head != NULL) {
    if (head_bytes > m.bytes) head_bytes = m.bytes; /* a cut inside the header */
    uint8_t *exact = realloc(head, head_bytes == 0 ? 1 : (size_t)head_bytes);
    if (exact != NULL) head = exact;
    trial_file file = {head, a->bytes + a->header_bytes, head_bytes, a->file_bytes - a->header_bytes, m.bytes};
    /* The sanitizer's sums wrap where size_t has 32 bits: what a try left behind counts if the next leaves as much. */
    int64_t left = 1, left_before = 0;
    for (uint32_t tries = 0; tries < 2 && left != 0; tries++) {
      size_t before = allocated();
      nk_status status;
      nook_context *context = nook_create("{\"isa\":\"simd128\",\"check\":false}", &status);
      if (context == NULL || status != NK_STATUS_OK) TRIAL_BROKEN(&out, "the engine does not start");
      else trial_run(context, &file, options, &out);
      nook_destroy(context);
      if (s->leak && malloc(77) == NULL) _exit(9);
      while (s->hang) {}
      left_before = left;
      left = (int64_t)allocated() - (int64_t)before;
    }
    if (left != 0 && left == left_before) {
      TRIAL_BROKEN(&out, "%lld bytes were left behind", (long long)left);
    }
  }
  free(head);
  if (out.status == NK_STATUS_OK && m.cut && m.bytes < a->data_end)
    TRIAL_BROKEN(&out, "a file without its last bytes was loaded");
  if (s->json) {
    print_case(number, &m, options, &out);
    fflush(stdout);
  }
  if (out.broken[0] != '\0') {
    memcpy(p->broken_text, out.broken, sizeof p->broken_text);
    p->broken = 1;
    return;
  }
  if (out.status == NK_STATUS_OK) p->loaded++;
  else if (out.status == NK_STATUS_MEMORY) p->out_of_memory++;
  else p->refused++;
}

/* ---- A file ------------------------------------------------------------------------------------------------------ */

static uint8_t *map_file(const char *path, uint64_t *bytes) {
  int handle = open(path, O_RDONLY);
  struct stat facts;
  if (handle < 0 || fstat(handle, &facts) != 0 || facts.st_size == 0) {
    fprintf(stderr, "%s cannot be opened.\n", path);
    exit(2);
  }
  *bytes = (uint64_t)facts.st_size;
  void *mapped = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, handle, 0);
  close(handle);
  if (mapped == MAP_FAILED) {
    fprintf(stderr, "%s cannot be mapped.\n", path);
    exit(2);
  }
  return mapped;
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

static void work(const settings *s, const anatomy *a, const char *name, uint32_t from, uint32_t to, progress *p) {
#if !SANITIZED
  struct rlimit limit = {(rlim_t)MEMORY_CAP_MB << 21, (rlim_t)MEMORY_CAP_MB << 21};
  (void)setrlimit(RLIMIT_AS, &limit);
#endif
  for (uint32_t number = from; number < to; number++) {
    alarm(s->hang ? 1 : CASE_SECONDS); /* its signal ends the child; the parent tells of a hang */
    run_case(s, a, name, number, p);
    if (p->broken) _exit(3);
  }
  exit(0); /* with a last look for leaks */
}

static uint32_t test_file(const settings *s, const char *path, progress *p) {
  uint64_t bytes;
  const char *why, *name = base_name(path);
  uint8_t *mapped = map_file(path, &bytes);
  anatomy a;
  if (!anatomy_open(&a, mapped, bytes, &why)) {
    fprintf(stderr, "%s cannot be mutated: %s.\n", path, why);
    exit(2);
  }
  *p = (progress){0};
  uint32_t failures = 0, total = s->cuts + s->changes;
  uint32_t next = s->only >= 0 ? (uint32_t)s->only : 0, end = s->only >= 0 ? next + 1 : total;
  while (next < end && failures < MAX_FAILURES) {
    p->broken = 0;
    p->number = next;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) work(s, &a, name, next, end, p);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
      fprintf(stderr, "No child process could be made.\n");
      exit(2);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
    failures++;
    bool hang = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
    fprintf(stderr,
            "FAILED %s, seed %llu, case %u (%s): %s\n  replay: mutate --seed %llu --cuts %u --changes %u --case %u %s\n",
            name, (unsigned long long)s->seed, p->number, p->what,
            p->broken             ? p->broken_text
            : hang                ? "it hangs"
            : WIFSIGNALED(status) ? "it crashed"
                                  : "a sanitizer reported it",
            (unsigned long long)s->seed, s->cuts, s->changes, p->number, path);
    next = p->number + 1;
  }
  fprintf(stderr, "%s: %u cases: %u loaded, %u refused, %u out of memory, %u failed\n", name, s->only >= 0 ? 1 : total,
          p->loaded, p->refused, p->out_of_memory, failures);
  anatomy_close(&a);
  munmap(mapped, (size_t)bytes);
  return failures;
}

/* ---- A model around a vocabulary --------------------------------------------------------------------------------- */

typedef struct writer {
  FILE *file;
  uint64_t at;
} writer;

static void put_bytes(writer *w, const void *bytes, size_t n) {
  if (fwrite(bytes, 1, n, w->file) != n) {
    fprintf(stderr, "The grafted model cannot be written.\n");
    exit(2);
  }
  w->at += n;
}

static void put_u(writer *w, uint64_t value, uint32_t n) {
  uint8_t little[8];
  for (uint32_t i = 0; i < n; i++) little[i] = (uint8_t)(value >> 8 * i);
  put_bytes(w, little, n);
}

static void put_text(writer *w, const char *text) {
  put_u(w, strlen(text), 8);
  put_bytes(w, text, strlen(text));
}

static bool is_of_tokenizer(const anatomy *a, uint32_t pair) {
  static const char prefix[] = "tokenizer.";
  const uint8_t *key = a->bytes + a->pairs[pair].begin + 8;
  return a->pairs[pair].end - a->pairs[pair].begin > 8 + sizeof prefix && memcmp(key, prefix, sizeof prefix - 1) == 0;
}

static uint64_t count_tokens(const anatomy *a) {
  static const char key[] = "tokenizer.ggml.tokens";
  for (uint32_t i = 0; i + 3 < a->n_fields; i++) {
    const field *f = &a->fields[i];
    if (f->kind != FIELD_KEY || f->bytes != sizeof key - 1 || memcmp(a->bytes + f->offset, key, f->bytes) != 0) continue;
    if (a->fields[i + 3].kind != FIELD_COUNT) return 0;
    uint64_t count = 0;
    for (uint32_t b = 0; b < 4; b++) count |= (uint64_t)a->bytes[a->fields[i + 3].offset + b] << 8 * b;
    return count;
  }
  return 0;
}

/* One layer of 32 dimensions; the embedding in Q4_0, since vocabularies are large. */
static int graft(const char *out, const char *path) {
  enum { D = 32 };
  uint64_t bytes;
  const char *why;
  anatomy a;
  const uint8_t *mapped = map_file(path, &bytes);
  if (!anatomy_open(&a, mapped, bytes, &why)) {
    fprintf(stderr, "%s cannot be grafted: %s.\n", path, why);
    return 2;
  }
  static const struct { const char *name; uint64_t cols, rows; uint32_t type; } tensors[] = {
      {"token_embd.weight", D, 0, 2},        {"output_norm.weight", D, 1, 0},       {"blk.0.attn_norm.weight", D, 1, 0},
      {"blk.0.attn_q.weight", D, D, 0},      {"blk.0.attn_k.weight", D, D, 0},      {"blk.0.attn_v.weight", D, D, 0},
      {"blk.0.attn_output.weight", D, D, 0}, {"blk.0.ffn_norm.weight", D, 1, 0},    {"blk.0.ffn_gate.weight", D, D, 0},
      {"blk.0.ffn_up.weight", D, D, 0},      {"blk.0.ffn_down.weight", D, D, 0}};
  static const struct {
    const char *key;
    uint32_t value;
  } sizes[] = {{"llama.block_count", 1},
               {"llama.embedding_length", D},
               {"llama.context_length", 256},
               {"llama.attention.head_count", 2},
               {"llama.feed_forward_length", D}};
  enum { N_TENSORS = sizeof tensors / sizeof *tensors, N_SIZES = sizeof sizes / sizeof *sizes };
  uint64_t vocab = count_tokens(&a), kept = 0, offset = 0;
  for (uint32_t i = 0; i < a.n_pairs; i++) kept += is_of_tokenizer(&a, i);
  writer w = {fopen(out, "wb"), 0};
  if (vocab == 0 || w.file == NULL) {
    fprintf(stderr, vocab == 0 ? "%s has no vocabulary.\n" : "%s: its model cannot be written.\n", path);
    return 2;
  }
  put_bytes(&w, "GGUF", 4);
  put_u(&w, 3, 4);
  put_u(&w, N_TENSORS, 8);
  put_u(&w, kept + 2 + N_SIZES, 8);
  put_text(&w, "general.architecture");
  put_u(&w, 8, 4);
  put_text(&w, "llama");
  put_text(&w, "llama.attention.layer_norm_rms_epsilon");
  put_u(&w, 6, 4);
  put_u(&w, 0x3727c5ac, 4); /* 1e-5 */
  for (uint32_t i = 0; i < N_SIZES; i++) {
    put_text(&w, sizes[i].key);
    put_u(&w, 4, 4);
    put_u(&w, sizes[i].value, 4);
  }
  for (uint32_t i = 0; i < a.n_pairs; i++) {
    if (is_of_tokenizer(&a, i)) put_bytes(&w, a.bytes + a.pairs[i].begin, (size_t)(a.pairs[i].end - a.pairs[i].begin));
  }
  for (uint32_t i = 0; i < N_TENSORS; i++) {
    uint64_t rows = tensors[i].rows == 0 ? vocab : tensors[i].rows;
    put_text(&w, tensors[i].name);
    put_u(&w, rows == 1 ? 1 : 2, 4);
    put_u(&w, tensors[i].cols, 8);
    if (rows != 1) put_u(&w, rows, 8);
    put_u(&w, tensors[i].type, 4);
    put_u(&w, offset, 8);
    offset += (rows * (tensors[i].type == 2 ? 18 : 4 * D) + 31) / 32 * 32;
  }
  while (w.at % 32 != 0) put_u(&w, 0, 1);
  uint64_t state = 1;
  for (uint32_t i = 0; i < N_TENSORS; i++) {
    uint64_t rows = tensors[i].rows == 0 ? vocab : tensors[i].rows;
    for (uint64_t row = 0; row < rows; row++) {
      if (tensors[i].type == 2) put_u(&w, 0x2c00, 2); /* 1/16 */
      for (uint32_t b = 0; b < (tensors[i].type == 2 ? 16u : (uint32_t)D); b++) {
        state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
        uint32_t chance = (uint32_t)(state >> 40);
        float x = rows == 1 ? 1.0f : (float)chance / 8388608.0f - 1.0f; /* a norm is 1, a weight in [-1, 1) */
        uint32_t bits;
        memcpy(&bits, &x, 4);
        if (tensors[i].type == 2) put_u(&w, chance & 255, 1);
        else put_u(&w, bits, 4);
      }
    }
    while (w.at % 32 != 0) put_u(&w, 0, 1);
  }
  if (fclose(w.file) != 0) return 2;
  anatomy_close(&a);
  return 0;
}

/* ---- Command line ------------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
  settings s = {.seed = 1, .cuts = 20, .changes = 200, .only = -1};
  if (argc == 4 && strcmp(argv[1], "--graft") == 0) return graft(argv[2], argv[3]);
  progress *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return 2;
  uint32_t failures = 0, files = 0;
  for (int i = 1; i < argc; i++) {
    bool more = i + 1 < argc;
    if (strcmp(argv[i], "--seed") == 0 && more) s.seed = strtoull(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--cuts") == 0 && more) s.cuts = (uint32_t)strtoul(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--changes") == 0 && more) s.changes = (uint32_t)strtoul(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--case") == 0 && more) s.only = strtoll(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--json") == 0) s.json = true;
    else if (strcmp(argv[i], "--hang") == 0) s.hang = true;
    else if (strcmp(argv[i], "--leak") == 0) s.leak = true;
    else if (argv[i][0] == '-') return fprintf(stderr, "%s is no option of mutate.\n", argv[i]) > 0 ? 2 : 2;
    else {
      failures += test_file(&s, argv[i], p);
      files++;
    }
  }
  if (files == 0)
    return fprintf(stderr, "usage: mutate [--seed S] [--cuts N] [--changes N] [--case I] [--json] FILE...\n") > 0 ? 2 : 2;
  return failures > 0 ? 1 : 0;
}
