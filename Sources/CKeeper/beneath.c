/* Opening what lies beneath a folder, wherever links or `..` in the path would lead. */
#define _GNU_SOURCE
#include "CKeeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

const int keeper_o_path = O_PATH;

int keeper_open_beneath(int root, const char *path, int flags) {
  struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  long result;
  /* EAGAIN: something was renamed meanwhile. */
  for (int tries = 0; tries < 32; tries++) {
    result = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (result >= 0 || errno != EAGAIN) break;
  }
  return (int)result;
}
