#include "platform.h"

#include "mapping.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

/* Read by a signal handler: a fixed table of words, no lock. */
enum { MOST_MAPPINGS = 256 };

struct hermes_mapping {
  uint64_t base; /* (atomic) 0: free; TAKEN while it is made */
  uint64_t size;
  uint32_t lost; /* (atomic) */
};
enum { TAKEN = 1 };

static hermes_mapping mappings[MOST_MAPPINGS];
static struct sigaction before;

/* Gives a fault that is none of ours to whoever handled them before. */
static void hand_on(int number, siginfo_t *info, void *context) {
  if (before.sa_flags & SA_SIGINFO && before.sa_sigaction) {
    before.sa_sigaction(number, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  } else {
    /* The instruction faults again when this returns; a signal that was sent is sent once more. */
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(number, &plain, NULL);
    if (info->si_code <= 0) raise(number);
  }
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
  int code = errno;
  uint64_t at = (uint64_t)(uintptr_t)info->si_addr;
  for (int i = 0; info->si_code > 0 && i < MOST_MAPPINGS; i++) {
    hermes_mapping *mapping = &mappings[i];
    uint64_t base = hermes_load64(&mapping->base);
    if (base <= TAKEN || at < base || at - base >= mapping->size) continue;
    void *memory = mmap((void *)(uintptr_t)base, mapping->size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (memory == MAP_FAILED) break;
    hermes_store(&mapping->lost, 1);
    errno = code;
    return;
  }
  hand_on(number, info, context);
  errno = code;
}

static void install(void) {
  struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigaction(SIGBUS, &action, &before);
}

hermes_mapping *hermes_mapping_watch(void *base, size_t size) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install);
  for (int i = 0; i < MOST_MAPPINGS; i++) {
    hermes_mapping *mapping = &mappings[i];
    uint64_t none = 0;
    if (!__atomic_compare_exchange_n(&mapping->base, &none, TAKEN, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) continue;
    mapping->size = size;
    hermes_store(&mapping->lost, 0);
    hermes_store64(&mapping->base, (uint64_t)(uintptr_t)base);
    return mapping;
  }
  return NULL;
}

void hermes_mapping_forget(hermes_mapping *mapping) {
  if (mapping) hermes_store64(&mapping->base, 0);
}

int hermes_mapping_is_lost(const hermes_mapping *mapping) { return mapping && hermes_load(&mapping->lost); }
