/* Opening what lies beneath a folder, wherever links or `..` in the path would lead. */
#define _GNU_SOURCE
#include "CKeeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
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

int keeper_make_folder_beneath(int root, const char *path) {
  char prefix[PATH_MAX];
  size_t length = strlen(path);
  if (length >= sizeof prefix) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int folder = keeper_open_beneath(root, ".", O_PATH | O_DIRECTORY);
  for (size_t begin = 0; folder >= 0 && begin < length;) {
    size_t end = begin + strcspn(path + begin, "/");
    memcpy(prefix, path, end);
    prefix[end] = '\0';
    int next = keeper_open_beneath(root, prefix, O_PATH | O_DIRECTORY);
    if (next < 0 && errno == ENOENT) {
      /* Should another make it meanwhile, or a link that leads nowhere stand there, opening it tells. */
      if (mkdirat(folder, prefix + begin, 0755) == 0 || errno == EEXIST)
        next = keeper_open_beneath(root, prefix, O_PATH | O_DIRECTORY);
    }
    int cause = errno;
    close(folder);
    errno = cause;
    folder = next;
    begin = end + (path[end] == '/');
  }
  return folder;
}
