/* What a process has started. */
#define _GNU_SOURCE
#include "CLinux.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int linux_each_child(pid_t parent, void (*each)(pid_t child, void *argument), void *argument) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", (int)parent);
  DIR *threads = opendir(path);
  if (!threads) return -1;
  int count = 0;
  /* A child belongs to the thread that forked it. */
  for (struct dirent *thread; (thread = readdir(threads));) {
    if (thread->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%d/task/%.16s/children", (int)parent, thread->d_name);
    FILE *list = fopen(path, "re");
    for (int child; list && fscanf(list, "%d", &child) == 1; count++) each(child, argument);
    if (list) fclose(list);
  }
  closedir(threads);
  return count;
}

/* Children first, for the death of a parent moves them. */
static void signal_family(pid_t pid, void *number) {
  linux_each_child(pid, signal_family, number);
  kill(pid, *(int *)number);
}

void linux_signal_descendants(int number) { linux_each_child(getpid(), signal_family, &number); }

/* ---- Orphans of this process. --------------------------------------------------------------------------- */

enum { TERM_MS = 300, KILL_MS = 2000, LOOK_MS = 10 };

static int adopts;
/* Children that it had by then: `exec` in a shell leaves the shell's to the program. They are none of the program's. */
static pid_t *foreign;
static size_t foreign_count;

static int is_foreign(pid_t pid) {
  for (size_t i = 0; i < foreign_count; i++)
    if (foreign[i] == pid) return 1;
  return 0;
}

static void note_foreign(pid_t pid, void *argument) {
  (void)argument;
  pid_t *grown = is_foreign(pid) ? NULL : realloc(foreign, (foreign_count + 1) * sizeof *foreign);
  if (!grown) return;
  foreign = grown;
  foreign[foreign_count++] = pid;
}

void linux_adopt_orphans(void) {
  if (adopts) return;
  linux_each_child(getpid(), note_foreign, NULL);
  adopts = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

typedef struct {
  int number, count;
} ending;

static void end_one(pid_t pid, void *argument) {
  ending *end = argument;
  if (is_foreign(pid) || waitpid(pid, NULL, WNOHANG) == pid) return;
  end->count++;
  if (end->number) signal_family(pid, &end->number);
}

void linux_end_children(void) {
  if (!adopts) return;
  ending term = {SIGTERM, 0};
  linux_each_child(getpid(), end_one, &term);
  for (int waited = 0; waited < TERM_MS + KILL_MS; waited += LOOK_MS) {
    ending look = {waited < TERM_MS ? 0 : SIGKILL, 0};
    if (linux_each_child(getpid(), end_one, &look) <= 0 || look.count == 0) return;
    poll(NULL, 0, LOOK_MS);
  }
}
