/* The program behind `hermes bench`, on every machine that takes part. Started by a node it is a module; by hand it is
 * what the bare system takes for the same frames, or another simulator's federates doing the same.
 *
 *   hermes-bench-module local MODULES SIGNALS FRAMES WARM_UP RATE SEMAPHORES
 *   hermes-bench-module swap HOSTS MODULES SIGNALS FRAMES WARM_UP RATE SEMAPHORES
 *   hermes-bench-module helics LIBRARY FEDERATES SIGNALS FRAMES WARM_UP
 *   hermes-bench-module start PROGRAM ARGUMENTS...     PROGRAM, which gets SIGTERM when whoever started it dies
 *
 * As a module its arguments are SIGNALS FIRST_VALUE WARM_UP TELLS (bench.h).
 * RATE: frames a second on absolute deadlines, 0 for as fast as possible. SEMAPHORES: 1, or 0 for one futex and a counter.
 * One line on standard output says what came of it: the words of report.c. */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

_Noreturn void bench_fail(const char *what) {
  fprintf(stderr, "hermes-bench-module: %s: %s\n", what, strerror(errno));
  exit(2);
}

_Noreturn static void usage(void) {
  fprintf(stderr, "this program belongs to `hermes bench`, which starts it\n");
  exit(64);
}

/* A number between `least` and `most`, or the usage. */
static long number(const char *text, long least, long most) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || *end != '\0' || end == text || value < least || value > most) usage();
  return value;
}

static bench_work work_of(char **words) {
  return (bench_work){.modules = (int)number(words[0], 1, BENCH_MOST_MODULES),
                      .signals = (int)number(words[1], 1, BENCH_MOST_SIGNALS),
                      .frames = number(words[2], 1, BENCH_MOST_FRAMES),
                      .warm_up = number(words[3], 0, BENCH_MOST_FRAMES),
                      .rate = number(words[4], 0, 1000000),
                      .semaphores = (int)number(words[5], 0, 1)};
}

static int start(char **command) {
  pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) return 2;
  execvp(command[0], command);
  fprintf(stderr, "%s: %s\n", command[0], strerror(errno));
  return errno == ENOENT ? 127 : 126;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (getenv("HERMES_COMMAND_FIFO")) {
    if (argc != 5) usage();
    return bench_module((int)number(argv[1], 1, BENCH_MOST_SIGNALS), number(argv[2], 0, BENCH_MOST_MODULES * 1000L),
                        number(argv[3], 0, BENCH_MOST_FRAMES), (int)number(argv[4], 0, 2));
  }
  if (strcmp(what, "start") == 0 && argc > 2) return start(argv + 2);
  /* Whatever measures here ends with whoever wants to know. */
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (strcmp(what, "local") == 0 && argc == 8) return bench_local(work_of(argv + 2));
  if (strcmp(what, "swap") == 0 && argc == 9) return bench_swap((int)number(argv[2], 2, BENCH_MOST_HOSTS), work_of(argv + 3));
  if (strcmp(what, "helics") == 0 && argc == 7)
    return bench_helics(argv[2], (int)number(argv[3], 1, BENCH_MOST_MODULES), (int)number(argv[4], 1, BENCH_MOST_SIGNALS),
                        number(argv[5], 1, BENCH_MOST_FRAMES), number(argv[6], 0, BENCH_MOST_FRAMES));
  usage();
}
