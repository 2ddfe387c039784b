/* The few Linux calls and atomic idioms the library is made of. */
#ifndef HERMES_PLATFORM_H
#define HERMES_PLATFORM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HERMES_NEVER UINT64_MAX

static inline uint32_t hermes_load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline uint64_t hermes_load64(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void hermes_store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline void hermes_store64(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
/* Sequentially consistent: a waker adds to the futex word, then looks for sleepers; a sleeper counts itself, then
 * lets the kernel compare the word. One of the two sees the other. */
static inline uint32_t hermes_add(uint32_t *word, uint32_t amount) {
  return __atomic_fetch_add(word, amount, __ATOMIC_SEQ_CST);
}
static inline uint32_t hermes_load_ordered(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static inline void hermes_store_ordered(uint32_t *word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* Nanoseconds of CLOCK_MONOTONIC. */
static inline uint64_t hermes_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Sleeps while *word == expected, until woken or until the absolute deadline. 0, EAGAIN, EINTR or ETIMEDOUT. */
static inline int hermes_futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns) {
  struct timespec deadline = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
  long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
                        deadline_ns == HERMES_NEVER ? (struct timespec *)0 : &deadline, (uint32_t *)0,
                        FUTEX_BITSET_MATCH_ANY);
  return result < 0 ? errno : 0;
}

static inline void hermes_futex_wake(const uint32_t *word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE, count, (struct timespec *)0, (uint32_t *)0, 0);
}

#endif
