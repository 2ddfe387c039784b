/* Priority, CPUs and locked memory of one thread and its process: asked for, applied, and read back from the system. */
#ifndef HERMES_REALTIME_H
#define HERMES_REALTIME_H

#include <stdint.h>
#include <sys/types.h>

/* A bit for each CPU that Linux can have. */
#define HERMES_CPU_BYTES 1024

typedef struct hermes_realtime_wish {
  int32_t priority;    /* SCHED_FIFO; 0: as it is */
  int32_t lock_memory; /* all of the process's, now and to come */
  int32_t has_cpus;    /* 0: cpus as they are */
  uint8_t cpus[HERMES_CPU_BYTES];
} hermes_realtime_wish;

/* What came of it; travels as the body of HERMES_REALTIME, little-endian (docs/processes.md). */
typedef struct hermes_realtime_found {
  int32_t policy, priority;                          /* of the thread: SCHED_OTHER 0, SCHED_FIFO 1... */
  int32_t priority_error, cpus_error, memory_error;  /* errno of what was refused; 0 */
  uint32_t thread;                                   /* its number, as in /proc/PID/task */
  uint64_t timer_slack_ns;
  uint64_t locked_bytes; /* of the process: VmLck */
  uint8_t cpus[HERMES_CPU_BYTES];
} hermes_realtime_found;

_Static_assert(sizeof(hermes_realtime_found) == 40 + HERMES_CPU_BYTES, "it is a message");

/* Applies a wish to the calling thread and has its timers wake it precisely. Threads and processes that it starts later
 * begin with ordinary scheduling. What is refused leaves the rest to be applied. */
void hermes_realtime_apply(const hermes_realtime_wish *wish, hermes_realtime_found *found);
/* The same for those threads of this process whose name begins with `prefix`, save memory and timers; `take` is called with
 * each. */
void hermes_realtime_apply_to(const char *prefix, const hermes_realtime_wish *wish,
                              void (*take)(const hermes_realtime_found *found, void *context), void *context);

/* The value of HERMES_REALTIME, "priority=79 lock_memory cpus=0,2-3": 0, or EINVAL for what is not one. */
int hermes_realtime_parse(const char *text, hermes_realtime_wish *wish);

/* How many CPUs this process may use; 0: the kernel does not tell. */
uint32_t hermes_usable_cpus(void);

/* The CPUs of this machine that are on. */
void hermes_online_cpus(uint8_t cpus[HERMES_CPU_BYTES]);

#endif
