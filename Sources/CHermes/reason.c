#include "platform.h"

#include "reason.h"

#include <string.h>

const char *hermes_reason(int code) {
  switch (code) {
  case EMFILE: return "this process has as many files open as it may; raise `ulimit -n`";
  case ENFILE: return "this machine has as many files open as it may; raise fs.file-max";
  case ENOMEM: return "memory is used up, or a limit on it is reached (`ulimit -v`, the control group's memory.max)";
  case ENOSPC: return "the file system is full";
  case EFBIG: return "a file may not grow as large here; raise `ulimit -f`";
  default: return strerror(code);
  }
}

const char *hermes_start_reason(int code) {
  if (code != EAGAIN) return hermes_reason(code);
  return "this user or control group has as many processes and threads as it may, or `ulimit -v` leaves no memory for one; "
         "raise `ulimit -u` or the control group's pids.max";
}
