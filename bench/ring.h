/* What both floors over several hosts run, bench/zmq_floor.c and bench/tcp_floor.c: nodes in a ring, each with module
 * processes behind one futex, and the check that they computed what a plain loop computes. How values get from node to
 * node is the floor's own.
 *
 * Included once by a program that defines FLOOR_NAME, which stands before what it complains of.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
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

enum { MOST_NODES = 64, MOST_SIGNALS = 100000, MOST_MODULES = 64, WARM_UP = 200, ENDPOINT_SIZE = 64 };

/* Between a node and its modules; the words of node and modules on cache lines of their own. */
struct station {
  _Alignas(64) _Atomic uint32_t generation;
  _Alignas(64) _Atomic uint32_t pending;
  _Alignas(64) _Atomic uint32_t finished;
  _Alignas(64) char control_endpoint[ENDPOINT_SIZE], mirror_endpoint[ENDPOINT_SIZE];
  _Atomic uint32_t listening; /* 1 when both endpoints are known */
  double cpu_s;               /* over the measured frames */
  double module_cpu_s[MOST_MODULES];
};

static int node_count, signal_count, module_count = 1;
static long frame_count;
static struct station *stations;
static double *values; /* for each module of each node: its own, then its inputs */
static pid_t parent;

static double *own_of(int node, int module) {
  return values + 2 * (size_t)signal_count * (size_t)(node * module_count + module);
}

static double *inputs_of(int node, int module) { return own_of(node, module) + signal_count; }

_Noreturn static void fail(const char *what);

static double clock_s(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Of the whole process with all its threads: that of ZeroMQ, too. */
static double cpu_s(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* ---- What the modules compute. bench/modules/neighbour.c does the same. -------------------------------- */

/* A prime below 2^52: sums below it are exact and their bits never settle, so a value that is a frame old shows. */
static const double LIMIT = 4503599627370449.0;

static double initial(int node, int signal) { return 1.0 + 1000.0 * node + signal; }

static void compute(double *own, const double *input, int count) {
  for (int i = 0; i < count; i++) {
    double next = own[i] + input[i];
    own[i] = next >= LIMIT ? next - LIMIT : next;
  }
}

/* The same simulation as a plain loop. */
static void check(long frames) {
  double *own = malloc((size_t)node_count * sizeof *own), *input = malloc((size_t)node_count * sizeof *input);
  if (own == NULL || input == NULL) fail("malloc");
  for (int s = 0; s < signal_count; s++) {
    for (int n = 0; n < node_count; n++) own[n] = initial(n, s);
    for (long frame = 0; frame < frames; frame++) {
      for (int n = 0; n < node_count; n++) input[n] = own[(n + node_count - 1) % node_count];
      compute(own, input, node_count);
    }
    for (int n = 0; n < node_count; n++) {
      if (own_of(n, 0)[s] == own[n] && inputs_of(n, 0)[s] == own[(n + node_count - 1) % node_count]) continue;
      fprintf(stderr, FLOOR_NAME ": signal %d of node %d is %.0f after frame %ld and should be %.0f\n", s, n,
              own_of(n, 0)[s], frames, own[n]);
      exit(2);
    }
  }
  free(own);
  free(input);
}

/* ---- Modules. ------------------------------------------------------------------------------------------ */

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int most) { syscall(SYS_futex, word, FUTEX_WAKE, most, NULL, NULL, 0); }

static void serve_module(int node, int module, long frames) {
  struct station *station = &stations[node];
  double *own = own_of(node, module), *input = inputs_of(node, module), begin = 0;
  for (uint32_t seen = 0; seen < (uint32_t)frames; seen++) {
    while (atomic_load(&station->generation) == seen) futex_wait(&station->generation, seen);
    if (seen == WARM_UP) begin = cpu_s();
    compute(own, input, signal_count);
    if (seen + 1 == (uint32_t)frames) station->module_cpu_s[module] = cpu_s() - begin;
    if (atomic_fetch_sub(&station->pending, 1) == 1) {
      atomic_fetch_add(&station->finished, 1);
      futex_wake(&station->finished, 1);
    }
  }
}

static void step_modules(struct station *station) {
  uint32_t finished = atomic_load(&station->finished);
  atomic_store(&station->pending, (uint32_t)module_count);
  atomic_fetch_add(&station->generation, 1);
  futex_wake(&station->generation, INT_MAX);
  while (atomic_load(&station->finished) == finished) futex_wait(&station->finished, finished);
}

/* ---- Processes. ---------------------------------------------------------------------------------------- */

static const char lost[] = FLOOR_NAME ": a node or module ended before its time\n";

/* Modules leave of their own accord after the last frame; anybody who leaves with a failure ends the measurement, and
 * with this process everybody else. */
static void child_ended(int number) {
  (void)number;
  int status, saved = errno;
  while (waitpid(-1, &status, WNOHANG) > 0)
    if (status != 0) _exit(write(2, lost, sizeof lost - 1) > 0 ? 2 : 3);
  errno = saved;
}

static void start(void (*serve)(int, int), int node, int module) {
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return;
  signal(SIGCHLD, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(2);
  serve(node, module);
  _exit(0);
}

static void as_module(int node, int module) { serve_module(node, module, WARM_UP + frame_count); }

static void *shared(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}

/* Every node, which does `serve_node(index)`, and its modules. */
static void start_all(void (*as_node)(int, int)) {
  parent = getpid();
  stations = shared((size_t)node_count * sizeof *stations);
  values = shared(2 * (size_t)signal_count * (size_t)node_count * (size_t)module_count * sizeof *values);
  for (int n = 0; n < node_count; n++)
    for (int s = 0; s < signal_count; s++) {
      for (int m = 0; m < module_count; m++) own_of(n, m)[s] = initial(n, s);
      inputs_of(n, 0)[s] = initial((n + node_count - 1) % node_count, s); /* as the start of a simulation delivers it */
    }
  struct sigaction action = {.sa_handler = child_ended, .sa_flags = SA_RESTART};
  sigaction(SIGCHLD, &action, NULL);
  for (int n = 0; n < node_count; n++) {
    for (int m = 0; m < module_count; m++) start(as_module, n, m);
    start(as_node, n, 0);
  }
}

/* Until all have ended, each without a failure. */
static void await_end(void) {
  int status;
  while (wait(&status) > 0)
    if (status != 0) {
      fputs(lost, stderr);
      exit(2);
    }
}

/* A number between 1 and `most`; 0: it is none. */
static long argument(int argc, char **argv, int index, long otherwise, long most) {
  if (index >= argc) return otherwise;
  char *end;
  long value = strtol(argv[index], &end, 10);
  return *end == '\0' && value >= 1 && value <= most ? value : 0;
}
