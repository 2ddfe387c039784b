/* inherited: writes to the file that stands in its config what it started from, one "KEY VALUE" a line; then what a program
 * finds that it executes, with "child." before each key. */
#define _GNU_SOURCE
#include <hermes/module.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[4096];
static FILE *out;

static void signals(const char *prefix, const char *status) {
  FILE *file = fopen(status, "r");
  char line[256];
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, "SigBlk:", 7) || !strncmp(line, "SigIgn:", 7)) fprintf(out, "%s%.6s %s", prefix, line, line + 8);
  if (file) fclose(file);
}

static int open_beyond(void) {
  int count = 0;
  DIR *folder = opendir("/proc/self/fd");
  for (struct dirent *each; folder && (each = readdir(folder));) {
    int number = atoi(each->d_name);
    if (each->d_name[0] != '.' && number > 2 && number != dirfd(folder) && !(fcntl(number, F_GETFD) & FD_CLOEXEC)) count++;
  }
  if (folder) closedir(folder);
  return count;
}

/* Before libhermes has done anything. */
__attribute__((constructor)) static void look(void) {
  const char *config = getenv("HERMES_CONFIG");
  FILE *file = config ? fopen(config, "r") : NULL;
  if (!file || !fgets(path, sizeof path, file)) return;
  fclose(file);
  path[strcspn(path, "\n")] = 0;
  out = fopen(path, "we");
  if (!out) return;
  signals("", "/proc/self/status");
  mode_t mask = umask(0);
  umask(mask);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  fprintf(out, "umask %o\nfiles %llu\nopen %d\n", (unsigned)mask, (unsigned long long)files.rlim_cur, open_beyond());
}

static int init(const char *config, const char *shm) {
  (void)config, (void)shm;
  int ends[2];
  char status[64];
  if (!out || pipe2(ends, O_CLOEXEC) != 0) return 1;
  pid_t child = fork();
  if (child == 0) execl("/bin/sleep", "sleep", "1000", (char *)0), _exit(127);
  close(ends[1]);
  if (read(ends[0], status, 1) != 0) return 1; /* closed when it executes */
  close(ends[0]);
  snprintf(status, sizeof status, "/proc/%d/status", (int)child);
  signals("child.", status);
  kill(child, 9);
  waitpid(child, NULL, 0);
  fclose(out);
  return 0;
}

static double x;
static int step(double dt) { x += dt; return 0; }
static hermes_module_t module = {.init = init, .step = step};
hermes_module_t *hermes_module_create(void) {
  hermes_declare(&(hermes_signal_t){"x", HERMES_F64, HERMES_OUTPUT, NULL, NULL, &x});
  return &module;
}
void hermes_module_destroy(hermes_module_t *made) { (void)made; }
