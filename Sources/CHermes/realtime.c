#include "platform.h"

#include "edge.h"
#include "realtime.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void set_bit(uint8_t *bits, uint32_t bit) { bits[bit / 8] = (uint8_t)(bits[bit / 8] | 1u << (bit % 8)); }

/* "0,2-3" from `text` on; where the list ends, NULL for what is none. */
static const char *parse_cpus(const char *text, uint8_t *cpus) {
  for (;; text++) {
    char *end;
    if (!isdigit((unsigned char)*text)) return NULL;
    unsigned long first = strtoul(text, &end, 10), last = first;
    if (*end == '-') {
      if (!isdigit((unsigned char)end[1])) return NULL;
      last = strtoul(end + 1, &end, 10);
    }
    if (first > last || last >= HERMES_CPU_BYTES * 8) return NULL;
    for (; first <= last; first++) set_bit(cpus, (uint32_t)first);
    if (*end != ',') return end;
    text = end;
  }
}

int hermes_realtime_parse(const char *text, hermes_realtime_wish *wish) {
  memset(wish, 0, sizeof *wish);
  while (*text) {
    const char *end = NULL;
    if (strncmp(text, "priority=", 9) == 0) {
      char *after;
      long priority = strtol(text + 9, &after, 10);
      if (after == text + 9 || priority < 1 || priority > 99) return EINVAL;
      wish->priority = (int32_t)priority;
      end = after;
    } else if (strncmp(text, "lock_memory", 11) == 0) {
      wish->lock_memory = 1;
      end = text + 11;
    } else if (strncmp(text, "cpus=", 5) == 0) {
      wish->has_cpus = 1;
      end = parse_cpus(text + 5, wish->cpus);
    }
    if (!end || (*end && *end != ' ')) return EINVAL;
    text = *end ? end + 1 : end;
  }
  return 0;
}

/* A number of /proc/self/status by its name; 0 when it is not there. */
static uint64_t status_number(const char *name, int base) {
  char line[256];
  uint64_t value = 0;
  FILE *file = fopen("/proc/self/status", "re");
  if (!file) return 0;
  while (fgets(line, sizeof line, file))
    if (strncmp(line, name, strlen(name)) == 0) value = strtoull(line + strlen(name), NULL, base);
  fclose(file);
  return value;
}

/* Where locked memory is limited, locking what is to come would have an allocation fail in some later step. */
static int lock_memory(void) {
  enum { CAPABILITY_IPC_LOCK = 14 };
  struct rlimit limit;
  int is_limited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  if (is_limited && !(status_number("CapEff:", 16) >> CAPABILITY_IPC_LOCK & 1)) return EPERM;
  return mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? 0 : errno;
}

/* 0 is the calling thread. */
static void apply_to_thread(pid_t thread, const hermes_realtime_wish *wish, hermes_realtime_found *found) {
  /* First: a thread that may not run where it should is late at any priority. */
  if (wish->has_cpus && sched_setaffinity(thread, HERMES_CPU_BYTES, (const cpu_set_t *)(const void *)wish->cpus) != 0)
    found->cpus_error = errno;
  if (wish->priority) {
    struct sched_param parameters = {.sched_priority = wish->priority};
    if (sched_setscheduler(thread, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters) != 0) found->priority_error = errno;
  }
  int policy = sched_getscheduler(thread);
  found->policy = policy < 0 ? policy : policy & ~SCHED_RESET_ON_FORK;
  struct sched_param parameters = {0};
  if (sched_getparam(thread, &parameters) == 0) found->priority = parameters.sched_priority;
  sched_getaffinity(thread, HERMES_CPU_BYTES, (cpu_set_t *)(void *)found->cpus);
}

void hermes_realtime_apply(const hermes_realtime_wish *wish, hermes_realtime_found *found) {
  memset(found, 0, sizeof *found);
  found->thread = (uint32_t)gettid();
  if (wish->lock_memory) found->memory_error = lock_memory();
  hermes_thread_wakes_precisely();
  apply_to_thread(0, wish, found);
  int slack = prctl(PR_GET_TIMERSLACK, 0ul, 0ul, 0ul, 0ul);
  found->timer_slack_ns = slack > 0 ? (uint64_t)slack : 0;
  found->locked_bytes = status_number("VmLck:", 10) * 1024;
}

void hermes_realtime_apply_to(const char *prefix, const hermes_realtime_wish *wish,
                              void (*take)(const hermes_realtime_found *found, void *context), void *context) {
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return;
  for (struct dirent *task; (task = readdir(tasks));) {
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", task->d_name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    ssize_t size = read(file, name, sizeof name - 1);
    close(file);
    if (size <= 0 || strncmp(name, prefix, strlen(prefix)) != 0) continue;
    hermes_realtime_found found = {.thread = (uint32_t)strtoul(task->d_name, NULL, 10)};
    apply_to_thread((pid_t)found.thread, wish, &found);
    take(&found, context);
  }
  closedir(tasks);
}

uint32_t hermes_usable_cpus(void) {
  cpu_set_t cpus[HERMES_CPU_BYTES / sizeof(cpu_set_t)];
  memset(cpus, 0, sizeof cpus);
  return sched_getaffinity(0, sizeof cpus, cpus) == 0 ? (uint32_t)CPU_COUNT_S(sizeof cpus, cpus) : 0;
}

void hermes_online_cpus(uint8_t cpus[HERMES_CPU_BYTES]) {
  char list[4096];
  memset(cpus, 0, HERMES_CPU_BYTES);
  int file = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC);
  ssize_t size = file < 0 ? 0 : read(file, list, sizeof list - 1);
  if (file >= 0) close(file);
  list[size > 0 ? size : 0] = 0;
  if (parse_cpus(list, cpus)) return;
  /* Without that file: Linux counts from 0, mostly without a gap. */
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  for (long cpu = 0; cpu < count && cpu < HERMES_CPU_BYTES * 8; cpu++) set_bit(cpus, (uint32_t)cpu);
}
