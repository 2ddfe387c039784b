/* What the parts of hermes-bench-module share. */
#ifndef HERMES_BENCH_H
#define HERMES_BENCH_H

#include <stdint.h>
#include <sys/types.h>

enum { BENCH_MOST_HOSTS = 64, BENCH_MOST_MODULES = 256, BENCH_MOST_SIGNALS = 100000, BENCH_MOST_FRAMES = 1000000000 };

/* Says what failed, and why by errno. */
_Noreturn void bench_fail(const char *what);

/* ---- Times: how long frames took, in buckets that are 0.8 % wide; no memory grows while it is measured. ---------------- */

typedef struct bench_times {
  uint64_t count, sum, most;
  uint32_t buckets[64 * 128];
} bench_times;

uint64_t bench_now(void); /* nanoseconds */
void bench_add(bench_times *times, uint64_t nanoseconds);
/* What `share` of all, 0 to 1, did not pass; 0 for nothing. */
uint64_t bench_percentile(const bench_times *times, double share);

/* Times of a loop that goes once around for each frame: from one visit to the next, those of the warm-up aside. */
typedef struct bench_laps {
  bench_times *times;
  uint64_t before;
  long left; /* of the warm-up; the first visit only begins the next */
} bench_laps;

static inline void bench_lap(bench_laps *laps) {
  uint64_t now = bench_now();
  if (laps->left > 0) laps->left--;
  else if (laps->before) bench_add(laps->times, now - laps->before);
  laps->before = now;
}

/* ---- Processor time, and how often somebody went to sleep. ------------------------------------------------------------- */

typedef struct bench_usage {
  uint64_t cpu_ns, switches;
} bench_usage;

bench_usage bench_usage_of(pid_t process); /* all of its threads; zeros where /proc does not say */
bench_usage bench_usage_of_children(void); /* those that have ended and were waited for */

/* ---- The line that says what came of it. -------------------------------------------------------------------------------- */

/* "hermes-bench WHAT count=N mean_ns=N p50_ns=N p99_ns=N p999_ns=N max_ns=N": of frames. */
void bench_report_times(const char *what, const bench_times *times);
/* "hermes-bench usage-KIND cpu_ns=N switches=N frames=N": of a kind of process, all of it together. */
void bench_report_usage(const char *kind, bench_usage begin, bench_usage end, long frames);

/* ---- What can be measured. ---------------------------------------------------------------------------------------------- */

typedef struct bench_work {
  int modules, signals; /* on each host; of each module, and into it */
  long frames, warm_up, rate;
  int semaphores;
} bench_work;

/* tells: 0 of itself; 1 of its host's node, too; 2 of the times of frames, too. */
int bench_module(int signals, long first, long warm_up, int tells);
int bench_local(bench_work work);
int bench_swap(int hosts, bench_work work);
int bench_helics(const char *library, int federates, int signals, long frames, long warm_up);

#endif
