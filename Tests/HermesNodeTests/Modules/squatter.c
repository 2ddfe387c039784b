/* squatter NAME [segment]: holds what a run holds (folder, FIFO, segment; or the segment alone) until it is killed. */
#define _GNU_SOURCE
#include "segment_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **arguments) {
  char path[256];
  if (count < 2) return 64;
  if (count == 2) {
    snprintf(path, sizeof path, "/dev/shm/hermes-%d", (int)getuid());
    mkdir(path, 0700);
    snprintf(path, sizeof path, "/dev/shm/hermes-%d/%s", (int)getuid(), arguments[1]);
    mkdir(path, 0700);
    int folder = open(path, O_RDONLY | O_DIRECTORY);
    if (folder < 0 || flock(folder, LOCK_EX | LOCK_NB) != 0 || mkfifoat(folder, "0.command", 0600) != 0) return 1;
  }
  hermes_view view;
  snprintf(path, sizeof path, "/hermes_%s", arguments[1]);
  if (hermes_segment_create(&view, path, 8192) != 0) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
