#define _GNU_SOURCE
#include "crew.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What several processes touch lies on cache lines of its own. */
struct bench_crew {
  _Alignas(64) sem_t done;
  _Alignas(64) _Atomic uint32_t generation;
  _Alignas(64) _Atomic uint32_t pending;
  _Alignas(64) _Atomic uint32_t finished;
  _Atomic uint32_t stop;
  bench_work work;
  double *outputs, *inputs;
  struct seat {
    _Alignas(64) sem_t go;
  } seats[BENCH_MOST_MODULES];
};

static void *shared(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) bench_fail("mmap");
  return memory;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int most) { syscall(SYS_futex, word, FUTEX_WAKE, most, NULL, NULL, 0); }

static void await(sem_t *semaphore) {
  while (sem_wait(semaphore) != 0 && errno == EINTR) continue;
}

static void compute(bench_crew *crew, int module) {
  static const double LIMIT = 4503599627370449.0; /* as in module.c */
  double *own = crew->outputs + (size_t)module * (size_t)crew->work.signals;
  const double *in = crew->inputs + (size_t)module * (size_t)crew->work.signals;
  for (int i = 0; i < crew->work.signals; i++) {
    double next = own[i] + in[i];
    own[i] = next >= LIMIT ? next - LIMIT : next;
  }
}

static void serve_semaphores(bench_crew *crew, int module) {
  for (;;) {
    await(&crew->seats[module].go);
    if (atomic_load(&crew->stop)) return;
    compute(crew, module);
    sem_post(&crew->done);
  }
}

static void serve_broadcast(bench_crew *crew, int module) {
  for (uint32_t seen = 0;; seen++) {
    while (atomic_load(&crew->generation) == seen) futex_wait(&crew->generation, seen);
    if (atomic_load(&crew->stop)) return;
    compute(crew, module);
    if (atomic_fetch_sub(&crew->pending, 1) == 1) {
      atomic_fetch_add(&crew->finished, 1);
      futex_wake(&crew->finished, 1);
    }
  }
}

bench_crew *bench_crew_start(bench_work work) {
  bench_crew *crew = shared(sizeof *crew);
  size_t count = (size_t)work.modules * (size_t)work.signals;
  crew->work = work;
  crew->outputs = shared(count * sizeof(double));
  crew->inputs = shared(count * sizeof(double));
  for (size_t i = 0; i < count; i++) crew->outputs[i] = (double)(i + 1);
  sem_init(&crew->done, 1, 0);
  pid_t parent = getpid();
  for (int i = 0; i < work.modules; i++) sem_init(&crew->seats[i].go, 1, 0);
  for (int i = 0; i < work.modules; i++) {
    pid_t child = fork();
    if (child < 0) bench_fail("fork");
    if (child > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(2);
    if (work.semaphores) serve_semaphores(crew, i);
    else serve_broadcast(crew, i);
    _exit(0);
  }
  return crew;
}

double *bench_crew_outputs(bench_crew *crew) { return crew->outputs; }
double *bench_crew_inputs(bench_crew *crew) { return crew->inputs; }

void bench_crew_frame(bench_crew *crew) {
  if (crew->work.semaphores) {
    for (int i = 0; i < crew->work.modules; i++) sem_post(&crew->seats[i].go);
    for (int i = 0; i < crew->work.modules; i++) await(&crew->done);
    return;
  }
  uint32_t finished = atomic_load(&crew->finished);
  atomic_store(&crew->pending, (uint32_t)crew->work.modules);
  atomic_fetch_add(&crew->generation, 1);
  futex_wake(&crew->generation, INT_MAX);
  while (atomic_load(&crew->finished) == finished) futex_wait(&crew->finished, finished);
}

void bench_crew_end(bench_crew *crew) {
  atomic_store(&crew->stop, 1);
  for (int i = 0; i < crew->work.modules; i++) sem_post(&crew->seats[i].go);
  atomic_fetch_add(&crew->generation, 1);
  futex_wake(&crew->generation, INT_MAX);
  while (wait(NULL) > 0) continue;
}

void bench_pace_wait(bench_pace *pace) {
  if (pace->interval == 0) return;
  pace->deadline = (pace->deadline ? pace->deadline : bench_now()) + pace->interval;
  struct timespec until = {(time_t)(pace->deadline / 1000000000u), (long)(pace->deadline % 1000000000u)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) continue;
  if (pace->left > 0) pace->left--;
  else bench_add(pace->lateness, bench_now() - pace->deadline);
}
