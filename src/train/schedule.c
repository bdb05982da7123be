/* schedule.c: see schedule.h. */
#include "train/schedule.h"

#include "core/trig.h"

static double shape(nk_schedule_kind kind, double progress) {
  if (kind == NK_SCHEDULE_CONSTANT) return 1;
  if (kind == NK_SCHEDULE_LINEAR) return 1 - progress;
  double sine, cosine;
  nk_sincos_f64(3.141592653589793 * progress, &sine, &cosine);
  return 0.5 * (1 + cosine);
}

double nk_schedule_rate(const nk_schedule *s, uint64_t t) {
  if (s->kind != NK_SCHEDULE_CONSTANT && t >= s->total) return 0;
  if (t < s->warmup) return s->lr * ((double)(t + 1) / (double)s->warmup);
  uint64_t falling = s->total > s->warmup ? s->total - s->warmup : 1;
  return s->lr * shape(s->kind, (double)(t - s->warmup) / (double)falling);
}
