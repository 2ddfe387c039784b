/* Signals as bytes in a pipe. */
#define _GNU_SOURCE
#include "CKeeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static int32_t signal_pipe[2] = {-1, -1};

static void on_signal(int number) {
  int before = errno;
  unsigned char byte = (unsigned char)number;
  ssize_t ignored = write(signal_pipe[1], &byte, 1);
  (void)ignored;
  errno = before;
}

int process_signals(void) {
  if (keeper_pipe(signal_pipe) != 0) return -1;
  fcntl(signal_pipe[1], F_SETFL, O_NONBLOCK);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction before;
    /* Who started this process ignores it on purpose: nohup, or a shell for what it runs in the background. */
    int ignored = sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN;
    if (!ignored || numbers[i] == SIGTERM) sigaction(numbers[i], &action, NULL);
  }
  signal(SIGPIPE, SIG_IGN);
  return signal_pipe[0];
}
