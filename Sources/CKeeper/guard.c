/* A guard: the parent of one module's process, and of what that process and its children leave behind (it is their subreaper).
 * So it knows all that comes of one module, whatever groups and sessions the processes have made for themselves. */
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
#include <sys/wait.h>
#include <unistd.h>

/* How long what a module leaves behind has to end by SIGTERM, and then by SIGKILL. */
enum { REST_MS = 300, DEATH_MS = 2000, LOOK_MS = 10 };

static struct {
  int socket, signals;
  pid_t leader;
  int command_fifo; /* read end; -1 without one */
  int has_exited;   /* the leader, which stays a zombie: its number is that of its group */
  /* What is under way, and until when. */
  enum { RUNNING, UNATTENDED, SAFE_STATE, REST, DEATH } phase;
  long deadline;
} self;

static void tell(uint32_t kind, int32_t value) {
  keeper_event event = {.kind = kind, .pid = self.leader, .value = value};
  while (send(self.socket, &event, sizeof event, MSG_NOSIGNAL) < 0 && keeper_may_pass(errno)) {
  }
}

/* In the forked child: becomes the program, or writes errno into the pipe. */
static void become(const guard_program *program, int report, pid_t guard) {
  setpgid(0, 0);
  linux_default_signals();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != guard) _exit(127); /* the guard died before it could be watched */
  if (dup2(program->output[0], 1) < 0 || dup2(program->output[1], 2) < 0 || chdir(program->directory) != 0) goto failed;
  execve(program->arguments[0], program->arguments, program->environment);
failed:;
  int code = errno;
  ssize_t ignored = write(report, &code, sizeof code);
  (void)ignored;
  _exit(127);
}

/* 0, or errno. */
static int start(const guard_program *program) {
  int report[2], code = 0;
  if (pipe2(report, O_CLOEXEC) != 0) return errno;
  pid_t own = getpid();
  self.leader = fork();
  if (self.leader == 0) become(program, report[1], own);
  if (self.leader < 0) code = errno;
  close(report[1]);
  if (self.leader > 0) {
    setpgid(self.leader, self.leader); /* here too: whoever comes first */
    ssize_t count;
    do count = read(report[0], &code, sizeof code);
    while (count < 0 && errno == EINTR);
    if (count != sizeof code) code = 0;
  }
  close(report[0]);
  return code;
}

/* The process that is the module itself: it holds a lock on its command FIFO. 0 when there is none, or none any more. */
static pid_t module(void) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (self.command_fifo < 0 || fcntl(self.command_fifo, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return lock.l_pid > 1 ? lock.l_pid : 0;
}

/* Its own children are told after terminate: they may be what it drives its hardware by. */
static void terminate_module(void) {
  pid_t pid = module();
  if (!pid && !self.has_exited) pid = self.leader;
  if (pid) kill(pid, SIGTERM);
  /* One that is stopped, or whose wrapper is, reaches no safe state. */
  if (pid) kill(pid, SIGCONT);
  if (!self.has_exited) kill(self.leader, SIGCONT);
}

/* To everything that the module has started. */
static void signal_all(int number) {
  linux_signal_descendants(number);
  kill(-self.leader, number);
}

static void enter(int phase, long milliseconds) {
  self.phase = phase;
  self.deadline = keeper_now_ms() + milliseconds;
}

/* The leader's status as waitpid would tell it, without taking its number from it. */
static void look_at_leader(void) {
  siginfo_t ended = {0};
  if (self.has_exited || waitid(P_PID, (id_t)self.leader, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0)
    return;
  self.has_exited = 1;
  int number = ended.si_status;
  tell(KEEPER_EXITED, ended.si_code == CLD_EXITED ? number << 8 : ended.si_code == CLD_DUMPED ? number | 0x80 : number);
}

static void reap_rest(pid_t pid, void *left) {
  if (pid != self.leader && waitpid(pid, NULL, WNOHANG) != pid) *(int *)left = 1;
}

static int is_over(void) { return keeper_now_ms() >= self.deadline; }

/* What follows from how things stand; returns 0 when nothing is left. */
static int proceed(void) {
  look_at_leader();
  int is_left = !self.has_exited;
  linux_each_child(getpid(), reap_rest, &is_left);
  if (!is_left) return 0;
  if (self.has_exited && self.phase <= UNATTENDED) {
    /* A wrapper that ends before the module it has started: the module is told, and has its time. */
    if (module()) terminate_module();
    enter(SAFE_STATE, KEEPER_SAFE_STATE_MS);
  }
  if (self.phase == UNATTENDED && is_over()) enter(DEATH, DEATH_MS);
  if (self.phase == SAFE_STATE && (!module() || is_over())) {
    signal_all(SIGTERM);
    enter(REST, REST_MS);
  } else if (self.phase == REST && is_over()) enter(DEATH, DEATH_MS);
  if (self.phase == DEATH) {
    signal_all(SIGKILL);
    if (is_over()) return 0;
  }
  return 1;
}

static void obey(void) {
  unsigned char word;
  ssize_t count = recv(self.socket, &word, 1, MSG_DONTWAIT);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count == 1 && word == KEEPER_TERMINATE) terminate_module();
  else if (count == 1 && word == KEEPER_KILL) {
    if (self.phase != DEATH) enter(DEATH, DEATH_MS);
  } else {
    /* The keeper is gone: there is nobody else to see to the module's end. */
    close(self.socket);
    self.socket = -1;
    if (self.phase != RUNNING) return;
    terminate_module();
    enter(UNATTENDED, KEEPER_SAFE_STATE_MS);
  }
}

static const char *variable(char *const *environment, const char *name) {
  size_t length = strlen(name);
  for (; *environment; environment++)
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
  return NULL;
}

/* What lists of processes show: not the command line of the node it was forked from. */
static void show_name(const char *module_name) {
  int count;
  char *const *arguments = linux_arguments(&count);
  if (count < 1) return;
  char *begin = arguments[0], *end = arguments[count - 1] + strlen(arguments[count - 1]);
  memset(begin, 0, (size_t)(end - begin));
  if (end - begin > 1) snprintf(begin, (size_t)(end - begin), "hermes-keeper:%s", module_name ? module_name : "");
}

void guard_live(int socket, const guard_program *program, const int *kept, size_t kept_count) {
  int *open_ones = malloc((kept_count + 3) * sizeof *open_ones);
  if (!open_ones) _exit(1);
  memcpy(open_ones, kept, kept_count * sizeof *kept);
  open_ones[kept_count] = socket;
  open_ones[kept_count + 1] = program->output[0];
  open_ones[kept_count + 2] = program->output[1];
  linux_close_others(open_ones, kept_count + 3);
  free(open_ones);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  show_name(variable(program->environment, "HERMES_MODULE"));
  self.socket = socket;
  sigset_t children; /* blocked since the keeper began */
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  self.signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  /* Without the one the end of the module would not be noticed. */
  int code = self.signals < 0 ? errno : 0;
  const char *fifo = variable(program->environment, "HERMES_COMMAND_FIFO");
  self.command_fifo = fifo ? open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;

  if (code == 0) code = start(program);
  if (code) {
    self.leader = 0;
    tell(KEEPER_FAILED, code);
    _exit(0);
  }
  close(program->output[0]);
  close(program->output[1]);
  tell(KEEPER_STARTED, 0);
  while (proceed()) {
    struct pollfd watched[2] = {{.fd = self.socket, .events = POLLIN}, {.fd = self.signals, .events = POLLIN}};
    if (poll(watched, 2, self.phase == RUNNING ? -1 : LOOK_MS) < 0 && keeper_may_pass(errno)) continue;
    struct signalfd_siginfo information;
    while (read(self.signals, &information, sizeof information) > 0) {
    }
    if (watched[0].revents) obey();
  }
  _exit(0);
}
