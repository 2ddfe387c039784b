/* Signals, and what else a process inherits. */
#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int signal_pipe[2] = {-1, -1};
/* The process that the handlers below are for. A child forked by an inproc module has them too, and the pipe with them. */
static pid_t handling_process;

/* True in such a child, which then gets the signal as if there were no handler. */
static int is_another(int number) {
  if (getpid() == handling_process) return 0;
  signal(number, SIG_DFL);
  raise(number); /* blocked in its own handler: it comes when that returns */
  return 1;
}

static void on_signal(int number) {
  int before = errno;
  unsigned char byte = (unsigned char)number;
  if (!is_another(number)) {
    ssize_t ignored = write(signal_pipe[1], &byte, 1);
    (void)ignored;
  }
  errno = before;
}

static void on_disregarded(int number) {
  int before = errno;
  is_another(number);
  errno = before;
}

static void handle(int number, void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  handling_process = getpid();
  sigaction(number, &action, NULL);
}

void linux_disregard(int number) { handle(number, on_disregarded); }

static int is_ignored(int number) {
  struct sigaction now;
  return sigaction(number, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN;
}

int linux_signal_pipe(void) {
  if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (numbers[i] == SIGTERM || !is_ignored(numbers[i])) handle(numbers[i], on_signal);
  linux_disregard(SIGPIPE);
  return signal_pipe[0];
}

void linux_default_signals(void) {
  /* By the system's own call: the C library keeps two for itself, and has them ignored in what posix_spawn starts. */
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
  } action = {.handler = SIG_DFL};
  for (int number = 1; number <= 64; number++) syscall(SYS_rt_sigaction, number, &action, NULL, sizeof action.mask);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A file that took the number of a closed one would be written results and errors. */
static void open_standard_descriptors(void) {
  for (int descriptor = 0; descriptor < 3; descriptor++) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    /* The lowest free number: this one. Without /dev/null something that can be neither read nor written holds it. */
    if (open("/dev/null", O_RDWR) < 0 && open("/", O_PATH) < 0) _exit(2);
  }
}

void linux_reset_inherited(void) {
  open_standard_descriptors();
  for (int number = 1; number < NSIG; number++)
    if (is_ignored(number) && number != SIGINT && number != SIGQUIT && number != SIGHUP) signal(number, SIG_DFL);
  linux_disregard(SIGXFSZ);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  umask(umask(077) & 077);
}
