/* Times and processor time, taken so that taking them costs the frame next to nothing, and told once it is over. */
#define _GNU_SOURCE
#include "bench.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A bucket for each number below 128; above, 128 for each doubling. */
static unsigned bucket_of(uint64_t value) {
  if (value < 128) return (unsigned)value;
  unsigned shift = 56u - (unsigned)__builtin_clzll(value); /* leaves 128 to 255 */
  return (shift + 1) * 128 + (unsigned)((value >> shift) - 128);
}

static uint64_t middle_of(unsigned bucket) {
  if (bucket < 128) return bucket;
  unsigned shift = bucket / 128 - 1;
  return ((uint64_t)(128 + bucket % 128) << shift) + (((uint64_t)1 << shift) >> 1);
}

void bench_add(bench_times *times, uint64_t nanoseconds) {
  times->count++;
  times->sum += nanoseconds;
  if (nanoseconds > times->most) times->most = nanoseconds;
  times->buckets[bucket_of(nanoseconds)]++;
}

uint64_t bench_percentile(const bench_times *times, double share) {
  uint64_t wanted = (uint64_t)(share * (double)times->count + 0.999999), seen = 0;
  for (unsigned i = 0; i < sizeof times->buckets / sizeof *times->buckets; i++) {
    seen += times->buckets[i];
    if (seen >= wanted && seen > 0) return middle_of(i) < times->most ? middle_of(i) : times->most;
  }
  return 0;
}

/* One number behind a word in a small file of /proc; the first number of all without a word. */
static uint64_t number_in(const char *path, const char *word) {
  char text[4096];
  FILE *file = fopen(path, "re");
  if (file == NULL) return 0;
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = '\0';
  const char *place = word ? strstr(text, word) : text;
  return place ? strtoull(place + (word ? strlen(word) : 0), NULL, 10) : 0;
}

bench_usage bench_usage_of(pid_t process) {
  bench_usage usage = {0, 0};
  char path[80];
  snprintf(path, sizeof path, "/proc/%d/task", (int)process);
  DIR *tasks = opendir(path);
  if (tasks == NULL) return usage;
  for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
    if (!isdigit((unsigned char)task->d_name[0])) continue;
    int id = atoi(task->d_name);
    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", (int)process, id);
    usage.cpu_ns += number_in(path, NULL);
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)process, id);
    usage.switches += number_in(path, "\nvoluntary_ctxt_switches:");
  }
  closedir(tasks);
  return usage;
}

bench_usage bench_usage_of_children(void) {
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  return (bench_usage){
      .cpu_ns = ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
                ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u,
      .switches = (uint64_t)usage.ru_nvcsw};
}

void bench_report_times(const char *what, const bench_times *times) {
  printf("hermes-bench %s count=%llu mean_ns=%llu p50_ns=%llu p99_ns=%llu p999_ns=%llu max_ns=%llu\n", what,
         (unsigned long long)times->count, (unsigned long long)(times->count ? times->sum / times->count : 0),
         (unsigned long long)bench_percentile(times, 0.5), (unsigned long long)bench_percentile(times, 0.99),
         (unsigned long long)bench_percentile(times, 0.999), (unsigned long long)times->most);
  fflush(stdout);
}

void bench_report_usage(const char *kind, bench_usage begin, bench_usage end, long frames) {
  printf("hermes-bench usage-%s cpu_ns=%llu switches=%llu frames=%ld\n", kind,
         (unsigned long long)(end.cpu_ns - begin.cpu_ns), (unsigned long long)(end.switches - begin.switches), frames);
  fflush(stdout);
}
