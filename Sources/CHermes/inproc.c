#include "platform.h"

#include "inproc.h"
#include "view.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

/* A memory file with the bytes of `path`; -1 with errno. */
static int copy_into_memory(const char *path) {
  int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return -1;
  int to = memfd_create("hermes-module", MFD_CLOEXEC);
  ssize_t count = 1;
  while (to >= 0 && count > 0) count = sendfile(to, from, NULL, 1 << 20);
  int code = errno;
  close(from);
  if (to >= 0 && count == 0) return to;
  if (to >= 0) close(to);
  errno = code;
  return -1;
}

static void *open_library(const char *name, const char *path) {
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) hermes_error(ENOEXEC, "%s: %s", path, dlerror());
  return library;
}

void *hermes_inproc_open(const char *path) {
  void *loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  if (!loaded) return open_library(path, path);
  dlclose(loaded);
  int copy = copy_into_memory(path);
  if (copy < 0) {
    hermes_error(errno, "%s: %s", path, strerror(errno));
    return NULL;
  }
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", copy);
  /* The descriptor stays open: the linker knows loaded files by path, and a number used again would be taken for this
   * one. It goes with the process, as the module's code does. */
  return open_library(name, path);
}
