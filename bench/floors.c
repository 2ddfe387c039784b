/* What the bare system costs: the floor beside each line of `make bench`. No Hermes in here.
 *
 *   floors semaphores N FRAMES     N processes woken by one semaphore each; each posts one shared "done" semaphore
 *   floors broadcast N FRAMES      the same wake-ups by one futex for all and a counter; the last one wakes the parent
 *   floors chain N FRAMES          each process posts the next one's semaphore, the last one the parent's
 *   floors gather COUNT FRAMES     COUNT 8-byte slots at random indices read into a stage, then written from it
 *   floors memcpy COUNT FRAMES     COUNT 8-byte slots, one memcpy
 *   floors calls N FRAMES          N calls through a pointer, each with one slot copied in and one out
 *   floors spawn N                 N processes started, until the last one has answered through a pipe
 *   floors realtime N FRAMES       `semaphores`, one frame each millisecond on absolute deadlines
 *
 * Each prints one line of JSON. And, as a small process from which to start others (a child's peak memory is at least
 * that of the process which forked it):
 *
 *   floors peak FILE PROGRAM ARGUMENTS...    runs the program; its peak memory in kB goes to FILE, its exit code on
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PROCESSES = 256 };

/* One a process, on cache lines of its own. */
struct seat {
  _Alignas(64) sem_t go;
  _Alignas(64) volatile double input;
  volatile double output;
};

struct board {
  _Alignas(64) sem_t done;
  _Alignas(64) _Atomic uint32_t generation;
  _Alignas(64) _Atomic uint32_t pending;
  _Alignas(64) _Atomic uint32_t finished;
  _Atomic uint32_t stop;
  struct seat seats[MOST_PROCESSES];
};

static struct board *board;
static int process_count;

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count) { syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0); }

static void wait_for(sem_t *semaphore) {
  while (sem_wait(semaphore) != 0 && errno == EINTR) continue;
}

static void compute(struct seat *seat) { seat->output = seat->input + 1.0; }

static void serve_semaphores(int index) {
  struct seat *seat = &board->seats[index];
  for (;;) {
    wait_for(&seat->go);
    if (atomic_load(&board->stop)) return;
    compute(seat);
    sem_post(&board->done);
  }
}

static void serve_broadcast(int index) {
  for (uint32_t seen = 0;; seen++) {
    while (atomic_load(&board->generation) == seen) futex_wait(&board->generation, seen);
    if (atomic_load(&board->stop)) return;
    compute(&board->seats[index]);
    if (atomic_fetch_sub(&board->pending, 1) == 1) {
      atomic_fetch_add(&board->finished, 1);
      futex_wake(&board->finished, 1);
    }
  }
}

static void serve_chain(int index) {
  sem_t *next = index + 1 < process_count ? &board->seats[index + 1].go : &board->done;
  for (;;) {
    wait_for(&board->seats[index].go);
    int stopping = atomic_load(&board->stop) != 0;
    if (!stopping) compute(&board->seats[index]);
    sem_post(next);
    if (stopping) return;
  }
}

static void start(int count, void (*serve)(int)) {
  if (count < 1 || count > MOST_PROCESSES) {
    fprintf(stderr, "floors: between 1 and %d processes\n", MOST_PROCESSES);
    exit(64);
  }
  process_count = count;
  board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (board == MAP_FAILED) {
    perror("floors: mmap");
    exit(2);
  }
  sem_init(&board->done, 1, 0);
  for (int i = 0; i < count; i++) sem_init(&board->seats[i].go, 1, 0);
  for (int i = 0; i < count; i++) {
    pid_t pid = fork();
    if (pid < 0) {
      perror("floors: fork");
      exit(2);
    }
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      serve(i);
      _exit(0);
    }
  }
}

static void finish(void) {
  atomic_store(&board->stop, 1);
  for (int i = 0; i < process_count; i++) sem_post(&board->seats[i].go);
  atomic_fetch_add(&board->generation, 1);
  futex_wake(&board->generation, INT_MAX);
  while (wait(NULL) > 0) continue;
}

static void frame_by_semaphores(void) {
  for (int i = 0; i < process_count; i++) sem_post(&board->seats[i].go);
  for (int i = 0; i < process_count; i++) wait_for(&board->done);
}

static void frame_by_broadcast(void) {
  uint32_t finished = atomic_load(&board->finished);
  atomic_store(&board->pending, (uint32_t)process_count);
  atomic_fetch_add(&board->generation, 1);
  futex_wake(&board->generation, INT_MAX);
  while (atomic_load(&board->finished) == finished) futex_wait(&board->finished, finished);
}

static void frame_by_chain(void) {
  sem_post(&board->seats[0].go);
  wait_for(&board->done);
}

/* Wires move a value each frame in the product too, so the floor moves as many by hand. */
static void move_values(void) {
  double last = board->seats[process_count - 1].output;
  for (int i = process_count - 1; i > 0; i--) board->seats[i].input = board->seats[i - 1].output;
  board->seats[0].input = last;
}

static void report(long frames, double ns) {
  printf("{\"frames\": %ld, \"ns_per_frame\": %.1f, \"frames_per_s\": %.1f}\n", frames, ns / (double)frames,
         1e9 * (double)frames / ns);
}

static void time_processes(int count, long frames, void (*serve)(int), void (*frame)(void)) {
  start(count, serve);
  for (long i = 0; i < 100; i++) frame();
  double begin = now_ns();
  for (long i = 0; i < frames; i++) {
    frame();
    move_values();
  }
  double end = now_ns();
  finish();
  report(frames, end - begin);
}

/* The order that bench/run.py gives its wires: a permutation from a fixed linear congruential generator. */
static uint32_t *permutation(uint32_t count) {
  uint32_t *order = malloc(count * sizeof *order);
  uint64_t state = 1;
  for (uint32_t i = 0; i < count; i++) order[i] = i;
  for (uint32_t i = count - 1; i > 0; i--) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint32_t j = (uint32_t)((state >> 33) % (i + 1));
    uint32_t swapped = order[i];
    order[i] = order[j];
    order[j] = swapped;
  }
  return order;
}

static uint64_t *slots(uint32_t count) {
  uint64_t *values = mmap(NULL, count * sizeof *values, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (values == MAP_FAILED) {
    perror("floors: mmap");
    exit(2);
  }
  for (uint32_t i = 0; i < count; i++) values[i] = i;
  return values;
}

static void time_gather(uint32_t count, long frames) {
  uint32_t *source = permutation(count), *destination = malloc(count * sizeof *destination);
  uint64_t *data = slots(2 * count), *stage = slots(count);
  for (uint32_t i = 0; i < count; i++) destination[i] = count + i;
  double begin = 0;
  for (long frame = -3; frame < frames; frame++) { /* three to warm up */
    if (frame == 0) begin = now_ns();
    for (uint32_t i = 0; i < count; i++) stage[i] = data[source[i]];
    __asm__ volatile("" ::: "memory");
    for (uint32_t i = 0; i < count; i++) data[destination[i]] = stage[i];
    __asm__ volatile("" ::: "memory");
  }
  report(frames, now_ns() - begin);
}

static void time_memcpy(uint32_t count, long frames) {
  uint64_t *data = slots(2 * count);
  double begin = 0;
  for (long frame = -3; frame < frames; frame++) {
    if (frame == 0) begin = now_ns();
    memcpy(data + count, data, count * sizeof *data);
    __asm__ volatile("" ::: "memory");
  }
  report(frames, now_ns() - begin);
}

static double module_input[MOST_PROCESSES], module_output[MOST_PROCESSES];
static int module_step(int index) {
  module_output[index] = module_input[index] + 1.0;
  return 0;
}

static void time_calls(int count, long frames) {
  uint64_t *data = slots(2 * MOST_PROCESSES);
  int (*volatile step)(int) = module_step;
  double begin = now_ns();
  for (long frame = 0; frame < frames; frame++) {
    for (int i = 0; i < count; i++) {
      memcpy(&module_input[i], &data[2 * i], 8);
      if (step(i) != 0) exit(2);
      memcpy(&data[2 * i + 1], &module_output[i], 8);
    }
    for (int i = 0; i < count; i++) data[2 * i] = data[2 * ((i + 1) % count) + 1];
    __asm__ volatile("" ::: "memory");
  }
  report(frames, now_ns() - begin);
}

static void time_spawn(int count, char *program) {
  int answers[2];
  if (pipe(answers) != 0) exit(2);
  double begin = now_ns();
  for (int i = 0; i < count; i++) {
    pid_t pid = vfork();
    if (pid == 0) {
      char *arguments[] = {program, "answer", "1", "1", NULL};
      dup2(answers[1], 1);
      execv("/proc/self/exe", arguments);
      _exit(127);
    }
  }
  char byte;
  for (int i = 0; i < count; i++)
    if (read(answers[0], &byte, 1) != 1) exit(2);
  double end = now_ns();
  while (wait(NULL) > 0) continue;
  printf("{\"ms\": %.3f}\n", (end - begin) / 1e6);
}

static int run_and_measure(const char *file, char **command) {
  pid_t pid = vfork();
  if (pid == 0) {
    execvp(command[0], command);
    _exit(127);
  }
  int status = 0;
  struct rusage usage;
  while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) continue;
  FILE *out = fopen(file, "w");
  if (out == NULL) {
    perror("floors: peak");
    return 2;
  }
  fprintf(out, "%ld\n", usage.ru_maxrss);
  fclose(out);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void time_realtime(int count, long frames) {
  start(count, serve_semaphores);
  double *lateness = malloc((size_t)frames * sizeof *lateness);
  struct timespec deadline;
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  double begin = now_ns();
  for (long i = 0; i < frames; i++) {
    deadline.tv_nsec += 1000000;
    if (deadline.tv_nsec >= 1000000000) {
      deadline.tv_nsec -= 1000000000;
      deadline.tv_sec++;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR) continue;
    lateness[i] = (now_ns() - ((double)deadline.tv_sec * 1e9 + (double)deadline.tv_nsec)) / 1e3;
    frame_by_semaphores();
  }
  double wall = now_ns() - begin;
  getrusage(RUSAGE_SELF, &after);
  finish();
  qsort(lateness, (size_t)frames, sizeof *lateness, ascending);
  double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
               (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
  printf("{\"cpu_share\": %.5f, \"lateness_p99_us\": %.1f, \"lateness_max_us\": %.1f}\n", cpu / (wall / 1e9),
         lateness[frames * 99 / 100], lateness[frames - 1]);
}

int main(int argc, char **argv) {
  if (argc > 3 && strcmp(argv[1], "peak") == 0) return run_and_measure(argv[2], argv + 3);
  const char *what = argc > 2 ? argv[1] : "";
  long count = argc > 2 ? atol(argv[2]) : 0, frames = argc > 3 ? atol(argv[3]) : 1;
  if (count < 1 || frames < 1 || count > 10000000) what = "";
  if (strcmp(what, "semaphores") == 0) time_processes((int)count, frames, serve_semaphores, frame_by_semaphores);
  else if (strcmp(what, "broadcast") == 0) time_processes((int)count, frames, serve_broadcast, frame_by_broadcast);
  else if (strcmp(what, "chain") == 0) time_processes((int)count, frames, serve_chain, frame_by_chain);
  else if (strcmp(what, "gather") == 0) time_gather((uint32_t)count, frames);
  else if (strcmp(what, "memcpy") == 0) time_memcpy((uint32_t)count, frames);
  else if (strcmp(what, "calls") == 0 && count <= MOST_PROCESSES) time_calls((int)count, frames);
  else if (strcmp(what, "spawn") == 0) time_spawn((int)count, argv[0]);
  else if (strcmp(what, "realtime") == 0) time_realtime((int)count, frames);
  else if (strcmp(what, "answer") == 0) return write(1, "x", 1) == 1 ? 0 : 2;
  else {
    fprintf(stderr, "usage: floors semaphores|broadcast|chain|gather|memcpy|calls|spawn|realtime COUNT [FRAMES]\n");
    return 64;
  }
  return 0;
}
