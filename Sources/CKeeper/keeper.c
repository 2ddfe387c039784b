/* The keeper's side: one thread, one loop. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long modules have to reach their safe state after the node died: libhermes gives a step 0.3 s to end and terminate
 * a second, and the scheduler needs a little. */
enum { SAFE_STATE_MS = 1500, SWEEP_MS = 2000 };

typedef struct child {
  uint32_t id;
  pid_t pid; /* 0 once reaped */
} child;
typedef struct entry {
  int what;
  char *path;
} entry;

static struct {
  int socket, signals;
  child *children;
  size_t child_count;
  entry *entries;
  size_t entry_count;
  int recording; /* -1 without one */
} keeper_self = {.recording = -1};

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void tell(uint32_t kind, uint32_t id, pid_t pid, int32_t value) {
  keeper_event event = {kind, id, pid, value};
  send(keeper_self.socket, &event, sizeof event, MSG_NOSIGNAL);
}

static void *grown(void *items, size_t count, size_t size) {
  void *more = realloc(items, (count + 1) * size);
  if (!more) _exit(1);
  return more;
}

/* Collects every child that has ended. What a module's group still holds ends with it, before the number of the group
 * is given back. */
static void reap(void) {
  siginfo_t ended;
  for (;;) {
    ended.si_pid = 0;
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    child *module = NULL;
    for (size_t i = 0; i < keeper_self.child_count; i++)
      if (keeper_self.children[i].pid == ended.si_pid) module = &keeper_self.children[i];
    if (module) kill(-ended.si_pid, SIGKILL);
    int status = 0;
    if (waitpid(ended.si_pid, &status, 0) != ended.si_pid || !module) continue;
    module->pid = 0;
    tell(KEEPER_EXITED, module->id, ended.si_pid, status);
  }
}

/* In the forked child: becomes the program, or writes errno into the pipe. */
static void become(char **arguments, char **environment, const char *directory, const int descriptors[2], int report,
                   pid_t keeper_pid) {
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != keeper_pid) _exit(127); /* the keeper died before it could be watched */
  if (dup2(descriptors[0], 1) < 0 || dup2(descriptors[1], 2) < 0 || chdir(directory) != 0) goto failed;
  execve(arguments[0], arguments, environment);
failed:;
  int code = errno;
  ssize_t ignored = write(report, &code, sizeof code);
  (void)ignored;
  _exit(127);
}

static void spawn(const keeper_request *request, char *texts, const int descriptors[2]) {
  uint32_t total = request->argument_count + request->environment_count + 2;
  char **pointers = calloc(total + 1, sizeof *pointers);
  if (!pointers) _exit(1);
  char **environment = pointers + request->argument_count + 1, *next = texts;
  for (uint32_t i = 0; i < request->argument_count; i++, next += strlen(next) + 1) pointers[i] = next;
  for (uint32_t i = 0; i < request->environment_count; i++, next += strlen(next) + 1) environment[i] = next;

  int report[2], code = 0;
  pid_t pid = -1;
  if (pipe2(report, O_CLOEXEC) != 0) code = errno;
  else {
    pid_t own = getpid();
    pid = fork();
    if (pid == 0) become(pointers, environment, next, descriptors, report[1], own);
    if (pid < 0) code = errno;
    close(report[1]);
    if (pid > 0) {
      setpgid(pid, pid); /* here too: whoever comes first */
      if (read(report[0], &code, sizeof code) != sizeof code) code = 0;
    }
    close(report[0]);
  }
  free(pointers);
  if (code) {
    if (pid > 0) waitpid(pid, NULL, 0);
    tell(KEEPER_FAILED, request->id, 0, code);
    return;
  }
  keeper_self.children = grown(keeper_self.children, keeper_self.child_count, sizeof(child));
  keeper_self.children[keeper_self.child_count++] = (child){request->id, pid};
  tell(KEEPER_STARTED, request->id, pid, 0);
}

static int read_exactly(void *bytes, size_t size) {
  char *next = bytes;
  while (size) {
    ssize_t count = recv(keeper_self.socket, next, size, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return 0;
    next += count;
    size -= (size_t)count;
  }
  return 1;
}

/* The request with the descriptors that travel beside it. */
static int read_request(keeper_request *request, int descriptors[KEEPER_DESCRIPTORS]) {
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(KEEPER_DESCRIPTORS * sizeof(int))];
  } control;
  struct iovec part = {request, sizeof *request};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t count;
  do count = recvmsg(keeper_self.socket, &message, MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);
  if (count <= 0) return 0;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_type == SCM_RIGHTS)
    memcpy(descriptors, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
  return read_exactly((char *)request + count, sizeof *request - (size_t)count);
}

/* 1 to go on, 0 when the node has finished in order, -1 when it is gone. */
static int serve_request(void) {
  keeper_request request;
  int descriptors[KEEPER_DESCRIPTORS] = {-1, -1};
  if (!read_request(&request, descriptors)) return -1;
  char *texts = malloc(request.length + 1);
  if (!texts || !read_exactly(texts, request.length)) return -1;
  texts[request.length] = 0;
  switch (request.type) {
  case KEEPER_SPAWN: spawn(&request, texts, descriptors); break;
  case KEEPER_SIGNAL:
    for (size_t i = 0; i < keeper_self.child_count; i++)
      if (keeper_self.children[i].id == request.id && keeper_self.children[i].pid)
        kill(request.flag ? -keeper_self.children[i].pid : keeper_self.children[i].pid, request.value);
    break;
  case KEEPER_UNLINK:
  case KEEPER_RMDIR:
    keeper_self.entries = grown(keeper_self.entries, keeper_self.entry_count, sizeof(entry));
    keeper_self.entries[keeper_self.entry_count++] = (entry){(int)request.type, texts};
    return 1;
  case KEEPER_TRIM:
    if (keeper_self.recording >= 0) close(keeper_self.recording);
    keeper_self.recording = descriptors[0];
    descriptors[0] = -1;
    break;
  case KEEPER_HOLD: descriptors[0] = -1; break; /* stays open until the keeper ends */
  default: break;
  }
  for (int i = 0; i < KEEPER_DESCRIPTORS; i++)
    if (descriptors[i] >= 0) close(descriptors[i]);
  free(texts);
  return request.type == KEEPER_FINISH ? 0 : 1;
}

static int any_child(void) {
  for (size_t i = 0; i < keeper_self.child_count; i++)
    if (keeper_self.children[i].pid) return 1;
  return 0;
}

/* Waits until every module has exited, at most `limit` milliseconds. */
static void await_children(long limit) {
  long deadline = now_ms() + limit;
  for (reap(); any_child(); reap()) {
    long left = deadline - now_ms();
    if (left <= 0) return;
    struct pollfd signals = {.fd = keeper_self.signals, .events = POLLIN};
    poll(&signals, 1, (int)left);
    struct signalfd_siginfo information;
    while (read(keeper_self.signals, &information, sizeof information) > 0) {
    }
  }
}

/* SIGKILL to all that descends from here: orphans of modules came to the keeper, which is their subreaper. */
static void end_descendants(void) {
  long deadline = now_ms() + SWEEP_MS;
  char path[64], list[4096];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  while (now_ms() < deadline) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, list, sizeof list - 1);
    if (file >= 0) close(file);
    if (size <= 0) return;
    /* A full buffer may end inside a number: read up to the last whole one. */
    while (size > 0 && list[size - 1] != ' ') size--;
    list[size] = 0;
    for (char *next = list, *end; (long)(next - list) < size; next = end) {
      long pid = strtol(next, &end, 10);
      if (end == next) break;
      if (pid > 1) kill((pid_t)pid, SIGKILL);
    }
    struct pollfd signals = {.fd = keeper_self.signals, .events = POLLIN};
    poll(&signals, 1, 20);
    reap();
  }
}

/* A recording ends after its last whole row: the write that SIGKILL cut short leaves a part of one. */
static void trim(int file) {
  struct stat status;
  if (fstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
    off_t end = status.st_size;
    char block[4096];
    int found = 0;
    while (end > 0 && !found) {
      off_t begin = end > (off_t)sizeof block ? end - (off_t)sizeof block : 0;
      ssize_t size = pread(file, block, (size_t)(end - begin), begin);
      if (size <= 0) break;
      ssize_t at = size;
      while (at > 0 && block[at - 1] != '\n') at--;
      found = at > 0;
      end = begin + at;
    }
    if (end != status.st_size && ftruncate(file, end) != 0) {
      /* Nothing more can be done here; the row stays cut. */
    }
  }
}

static void remove_files(void) {
  if (keeper_self.recording >= 0) trim(keeper_self.recording);
  for (size_t i = keeper_self.entry_count; i-- > 0;) {
    const entry *each = &keeper_self.entries[i];
    if (each->what == KEEPER_UNLINK) unlink(each->path);
    else rmdir(each->path);
  }
}

static void node_died(void) {
  for (size_t i = 0; i < keeper_self.child_count; i++)
    if (keeper_self.children[i].pid) kill(keeper_self.children[i].pid, SIGTERM);
  await_children(SAFE_STATE_MS);
}

static void close_inherited(void) {
  int null = open("/dev/null", O_RDWR);
  for (int standard = 0; standard < 3; standard++) dup2(null, standard);
  long limit = sysconf(_SC_OPEN_MAX);
  if (limit < 0 || limit > 65536) limit = 65536;
  for (int descriptor = 3; descriptor < limit; descriptor++)
    if (descriptor != keeper_self.socket) close(descriptor);
}

void keeper_live(int socket) {
  keeper_self.socket = socket;
  setsid();
  prctl(PR_SET_NAME, "hermes-keeper");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  close_inherited();
  for (int number = 1; number < 32; number++)
    if (number != SIGCHLD && number != SIGKILL && number != SIGSTOP) signal(number, SIG_IGN);
  signal(SIGCHLD, SIG_DFL);
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_SETMASK, &children, NULL);
  keeper_self.signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);

  int state = 1;
  while (state > 0) {
    struct pollfd watched[2] = {{.fd = socket, .events = POLLIN}, {.fd = keeper_self.signals, .events = POLLIN}};
    if (poll(watched, 2, -1) < 0) continue;
    if (watched[1].revents) {
      struct signalfd_siginfo information;
      while (read(keeper_self.signals, &information, sizeof information) > 0) {
      }
      reap();
    }
    if (watched[0].revents) state = serve_request();
  }
  if (state < 0) node_died();
  for (size_t i = 0; i < keeper_self.child_count; i++)
    if (keeper_self.children[i].pid) kill(-keeper_self.children[i].pid, SIGKILL);
  end_descendants();
  if (state < 0) remove_files();
  _exit(0);
}
