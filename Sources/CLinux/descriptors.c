/* Descriptors that a process inherits. */
#define _GNU_SOURCE
#include "CLinux.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int compare(const void *left, const void *right) { return *(const int *)left - *(const int *)right; }

static void close_range_of(unsigned first, unsigned last) {
  if (first > last || syscall(SYS_close_range, first, last, 0) == 0) return;
  struct rlimit files;
  unsigned limit = getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 65536 ? (unsigned)files.rlim_cur : 65536;
  for (unsigned each = first; each <= last && each < limit; each++) close((int)each);
}

void linux_close_others(int *kept, size_t count) {
  qsort(kept, count, sizeof *kept, compare);
  unsigned next = 3;
  for (size_t i = 0; i < count; i++) {
    if (kept[i] < 3) continue;
    if ((unsigned)kept[i] > next) close_range_of(next, (unsigned)kept[i] - 1);
    next = (unsigned)kept[i] + 1;
  }
  close_range_of(next, ~0u);
}
