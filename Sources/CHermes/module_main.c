/* A module's process: commands come over a FIFO, steps through the segment's barrier, and when its node is gone
 * the module reaches its safe state by itself. All of the module's callbacks run on the main thread; the watcher
 * calls terminate only for a main thread that hangs. */
#include "platform.h"

#include "barrier.h"
#include "context.h"
#include "fifo.h"
#include "realtime.h"
#include "reason.h"

#include <fcntl.h>
#include <hermes/client.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

/* Weak: a program that hands its functions to hermes_module_run defines neither. */
#pragma weak hermes_module_create
#pragma weak hermes_module_destroy

typedef struct {
  hermes_context *context;
  hermes_view view;
  uint32_t index;
  int commands, replies; /* the FIFO pair */
  uint32_t stopping;     /* (atomic) 1: leave the loop and terminate */
  uint32_t ended;        /* (atomic) 1: terminate has returned */
  uint32_t told;         /* (atomic) 1: the node knows what came of it */
} module_process;

/* ---- Signals. ------------------------------------------------------------------------------------------- */

static int termination_pipe[2] = {-1, -1};
/* The module's process. Children that it forks have its handlers and its pipe, but no thread of libhermes. */
static pid_t module_pid;
/* In such a child: a callback that returns there, as it does when somebody forgot to end the child, goes no further. */
static int is_forked;

static void end_forked(void) {
  if (is_forked) _exit(1);
}

/* True in a child, which then gets the signal as if there were no handler. */
static int is_child(int number) {
  if (getpid() == module_pid) return 0;
  signal(number, SIG_DFL);
  raise(number); /* blocked in its own handler: it comes when that returns */
  return 1;
}

static void on_termination(int number) {
  int before = errno;
  char byte = 1;
  if (!is_child(number)) {
    ssize_t ignored = write(termination_pipe[1], &byte, 1);
    (void)ignored;
  }
  errno = before;
}

static void on_disregarded(int number) {
  int before = errno;
  is_child(number);
  errno = before;
}

/* What libhermes handles, and what was there before. A handler also where a signal is to do nothing: what the module executes
 * gets the default again, which SIG_IGN would keep from it. */
static struct {
  int number;
  void (*handler)(int);
  struct sigaction before;
} handled[] = {{.number = SIGTERM, .handler = on_termination},
               {.number = SIGINT, .handler = on_disregarded},
               {.number = SIGPIPE, .handler = on_disregarded}};
enum { HANDLED = sizeof handled / sizeof *handled };

/* After a fork: the child of a module is none of ours. */
static void leave_module(void) {
  is_forked = 1;
  for (size_t i = 0; i < HANDLED; i++) {
    struct sigaction now;
    if (sigaction(handled[i].number, NULL, &now) == 0 && now.sa_handler == handled[i].handler)
      sigaction(handled[i].number, &handled[i].before, NULL);
  }
}

/* SIGTERM ends the process in order; when to end is the node's decision, so SIGINT does nothing; a node that is gone is an
 * error of the write and not the end. */
static int handle_signals(void) {
  if (pipe2(termination_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
  module_pid = getpid();
  for (size_t i = 0; i < HANDLED; i++) {
    struct sigaction action = {.sa_handler = handled[i].handler, .sa_flags = SA_RESTART};
    sigaction(handled[i].number, &action, &handled[i].before);
    /* A wrapper that ignores it does so for itself. */
    if (handled[i].number != SIGPIPE && handled[i].before.sa_handler == SIG_IGN) handled[i].before.sa_handler = SIG_DFL;
  }
  return pthread_atfork(NULL, NULL, leave_module);
}

/* ---- The end. ------------------------------------------------------------------------------------------- */

/* The module's group is its own unless somebody started it by hand in another. */
static void end_group(void) {
  fflush(NULL);
  if (getpgrp() == getpid()) {
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
  }
  _exit(0);
}

/* Milliseconds until the main thread has terminated the module, at most `limit`. */
static int main_thread_ended(module_process *process, int limit) {
  uint64_t deadline = hermes_now() + (uint64_t)limit * 1000000u;
  while (!hermes_load(&process->ended)) {
    if (hermes_now() >= deadline) return 0;
    hermes_futex_wait(&process->ended, 0, deadline);
  }
  return 1;
}

/* Has the module reach its safe state, once, and tells a node that has not asked for it what came of it. */
static void terminate_module(module_process *process) {
  int32_t status = hermes_context_terminate(process->context);
  end_forked();
  if (__atomic_exchange_n(&process->told, 1, __ATOMIC_SEQ_CST)) return;
  /* Whole, in one write: the main thread may hang within a message of its own. */
  struct {
    hermes_fifo_header header;
    int32_t status;
    char text[512];
  } message;
  const char *text = status ? hermes_context_failure(process->context) : "";
  size_t size = strnlen(text, sizeof message.text);
  message.header = (hermes_fifo_header){HERMES_FIFO_MAGIC, HERMES_REPLY, HERMES_FIFO_UNASKED, (uint32_t)(sizeof status + size)};
  message.status = status;
  memcpy(message.text, text, size);
  ssize_t ignored = write(process->replies, &message, sizeof message.header + sizeof status + size);
  (void)ignored;
}

static void *terminate_from_beside(void *argument) {
  module_process *process = argument;
  terminate_module(process);
  hermes_store_ordered(&process->ended, 1);
  hermes_futex_wake(&process->ended, INT_MAX);
  return NULL;
}

/* On SIGALRM, for a watcher that has to call terminate itself. */
static void end_after_a_second(int number) {
  (void)number;
  if (getpgrp() == getpid()) {
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
  }
  _exit(0);
}

/* Where there is no thread to call terminate beside the watcher, the watcher does, and a signal limits it. */
static void terminate_here(module_process *process) {
  struct sigaction action = {.sa_handler = end_after_a_second};
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  sigaction(SIGALRM, &action, NULL);
  pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
  alarm(1);
  terminate_from_beside(process);
}

/* Waits for the loss of the node or SIGTERM; then the module has a second to reach its safe state. */
static void *watch(void *argument) {
  module_process *process = argument;
  struct pollfd watched[2] = {{.fd = process->commands, .events = 0}, {.fd = termination_pipe[0], .events = POLLIN}};
  for (;;) {
    if (poll(watched, 2, -1) < 0) continue;
    if (watched[0].revents & (POLLHUP | POLLERR | POLLNVAL) || watched[1].revents) break;
  }
  hermes_store_ordered(&process->stopping, 1);
  if (__atomic_load_n(&process->view.base, __ATOMIC_ACQUIRE)) hermes_barrier_nudge(&process->view, process->index);
  if (!main_thread_ended(process, 300) && !hermes_context_is_terminating(process->context)) {
    /* It hangs in a step. What it drives must not stay driven: terminate from here. */
    pthread_t thread;
    if (pthread_create(&thread, NULL, terminate_from_beside, process) == 0) pthread_detach(thread);
    else terminate_here(process);
  }
  /* terminate has a second, whoever calls it; the main thread ends the process itself when it gets there. */
  main_thread_ended(process, 1000);
  end_group();
  return NULL;
}

static int start_watcher(module_process *process) {
  pthread_t thread;
  sigset_t all, before;
  /* SIGTERM finds this thread whatever the module, or a wrapper before it, has blocked in the others. */
  sigfillset(&all);
  sigdelset(&all, SIGTERM);
  sigdelset(&all, SIGBUS); /* of a segment that is cut off; blocked it would be the end of the process (mapping.h) */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int code = pthread_create(&thread, NULL, watch, process);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (code == 0) pthread_detach(thread);
  return code;
}

/* The process that holds this lock is the module itself, or the free script, whatever wrappers stand between it and the
 * keeper: that is how the keeper knows whom to tell of the end. Unlike a number in a message it is right also in another
 * namespace of processes, and ends with the process. */
static void hold_command_fifo(int commands) {
  struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
  fcntl(commands, F_SETLK, &lock);
}

static int open_fifos(int *commands, int *replies) {
  const char *command_path = getenv("HERMES_COMMAND_FIFO"), *reply_path = getenv("HERMES_REPLY_FIFO");
  if (!command_path || !reply_path) return ENOENT;
  *commands = open(command_path, O_RDONLY | O_CLOEXEC);
  *replies = open(reply_path, O_WRONLY | O_CLOEXEC);
  if (*commands < 0 || *replies < 0) return errno;
  hold_command_fifo(*commands);
  return 0;
}

static int reply(module_process *process, uint32_t sequence, int32_t status) {
  end_forked();
  const char *text = hermes_context_failure(process->context);
  return hermes_fifo_write(process->replies, HERMES_REPLY, sequence, &status, sizeof status, text, strlen(text));
}

static int attach(module_process *process, const uint8_t *body, uint32_t length) {
  if (length < sizeof process->index) return EPROTO;
  memcpy(&process->index, body, sizeof process->index);
  hermes_view view;
  const char *name = (const char *)body + sizeof process->index;
  int code = hermes_view_open(&view, name);
  /* The node has made it before it says so. */
  if (code == EAGAIN) return hermes_error(EINVAL, "%s is no segment any more: something wrote over the segment", name);
  if (code) return code;
  /* base last: the watcher takes a view with a base for a whole one. */
  uint8_t *base = view.base;
  view.base = NULL;
  process->view = view;
  __atomic_store_n(&process->view.base, base, __ATOMIC_RELEASE);
  code = hermes_context_bind(process->context, &process->view, process->index);
  if (code) return hermes_error(code, "the segment does not hold what this module announced");
  hermes_barrier_join(&process->view, process->index);
  return 0;
}

/* Only the thread that steps is made a realtime one, and not before it steps. Whoever asks for it hears what came of it. */
static void keep_time(module_process *process) {
  const char *text = getenv("HERMES_REALTIME");
  hermes_realtime_wish wish;
  hermes_realtime_found found;
  if (!text) return;
  if (hermes_realtime_parse(text, &wish) != 0) {
    fprintf(stderr, "HERMES_REALTIME says '%s', which this libhermes does not understand; it is not applied\n", text);
    return;
  }
  hermes_realtime_apply(&wish, &found);
  hermes_fifo_write(process->replies, HERMES_REALTIME, 0, &found, sizeof found, NULL, 0);
}

/* Carries out one command. 0 to go on, 1 after terminate, or an errno value when the node is gone. */
static int obey(module_process *process) {
  hermes_fifo_header header;
  uint8_t *body;
  int code = hermes_fifo_read(process->commands, &header, &body);
  if (code) return code;
  hermes_context *context = process->context;
  switch (header.type) {
  case HERMES_INIT: {
    int status = attach(process, body, header.length);
    if (status) {
      int32_t failed = -1;
      const char *text = hermes_last_error();
      code = hermes_fifo_write(process->replies, HERMES_REPLY, header.sequence, &failed, sizeof failed, text, strlen(text));
    } else code = reply(process, header.sequence, hermes_context_init(context));
    break;
  }
  case HERMES_STAGE: {
    int status = hermes_context_stage(context);
    /* Before the reply: from then on the node announces each command in the segment as well. */
    if (status == 0 && process->view.base) hermes_store(&process->view.modules[process->index].ready, 1);
    if (status == 0) keep_time(process);
    code = reply(process, header.sequence, status);
    break;
  }
  case HERMES_RESET: code = reply(process, header.sequence, hermes_context_reset(context)); break;
  case HERMES_LOAD: code = reply(process, header.sequence, hermes_context_load(context, body, header.length)); break;
  case HERMES_SAVE: {
    size_t size;
    int32_t status;
    uint8_t *state = hermes_context_save(context, &size, &status);
    end_forked();
    if (size > HERMES_FIFO_LONGEST - sizeof status) {
      fprintf(stderr, "its state has %zu bytes, and the longest that is saved has %zu: it is started again without\n", size,
              HERMES_FIFO_LONGEST - sizeof status);
      size = 0;
      status = 1;
    }
    code = hermes_fifo_write(process->replies, HERMES_SAVED, header.sequence, &status, sizeof status, state, size);
    free(state);
    break;
  }
  case HERMES_TERMINATE: {
    int status = hermes_context_terminate(context);
    hermes_store_ordered(&process->told, 1);
    reply(process, header.sequence, status);
    code = 1;
    break;
  }
  default: break; /* a later node may know more; what it asks gets no reply and no harm */
  }
  free(body);
  return code;
}

/* Commands one by one until the module has staged, then steps and commands as they come.
 * 1 after a command to terminate, 0 when the node is gone or wants the process to end. */
static int serve(module_process *process) {
  int staged = 0;
  uint32_t commands_seen = 0;
  while (!hermes_load(&process->stopping)) {
    if (!staged) {
      int code = obey(process);
      if (code) return code == 1;
      staged = process->view.base && hermes_load(&process->view.modules[process->index].ready);
      continue;
    }
    switch (hermes_barrier_await(&process->view, process->index, commands_seen, &process->stopping)) {
    case 1: {
      uint32_t generation = process->view.answered;
      int status = hermes_context_step(process->context);
      end_forked();
      if (status) {
        /* The reason goes ahead of the status, so whoever sees the status finds it. */
        const char *text = hermes_context_failure(process->context);
        int32_t code = status;
        hermes_fifo_write(process->replies, HERMES_REPLY, 0, &code, sizeof code, text, strlen(text));
      }
      hermes_barrier_finish_step(&process->view, process->index, generation, status);
      break;
    }
    case 2: {
      /* It was in the FIFO before it was counted. */
      struct pollfd command = {.fd = process->commands, .events = POLLIN};
      if (poll(&command, 1, 0) == 0) {
        commands_seen = hermes_load(&process->view.modules[process->index].command);
        break;
      }
      commands_seen++;
      int code = obey(process);
      if (code) return code == 1;
      break;
    }
    default:
      if (hermes_view_is_lost(&process->view))
        fprintf(stderr, "the segment was cut off: something shortened its file while the simulation ran\n");
      return 0;
    }
  }
  return 0;
}

int hermes_module_run(hermes_module_t *(*create)(void), void (*destroy)(hermes_module_t *)) {
  static module_process process;
  process = (module_process){.commands = -1, .replies = -1};
  int code = open_fifos(&process.commands, &process.replies);
  if (code == 0) code = handle_signals();
  if (code) {
    fprintf(stderr, "this is a Hermes module: `hermes run` starts it (its FIFO pair: %s)\n", hermes_reason(code));
    return 64;
  }
  /* Into a pipe the C library would keep lines back until the buffer is full. */
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *name = getenv("HERMES_MODULE"), *shm = getenv("HERMES_SHM"), *config = getenv("HERMES_CONFIG");
  process.context = hermes_context_create(name ? name : "", config, shm ? shm : "", create, destroy);
  if (!process.context) {
    fprintf(stderr, "%s\n", hermes_last_error());
    return 1;
  }
  hermes_context_set_process(process.context);
  size_t size;
  const uint8_t *announcement = hermes_context_announcement(process.context, &size);
  if (size > HERMES_FIFO_LONGEST) {
    fprintf(stderr, "module %s announces its signals in %zu bytes, and the most is %u (256 MiB): announce fewer signals, or shorter "
            "names, units and descriptions\n", name ? name : "", size, HERMES_FIFO_LONGEST);
    hermes_context_destroy(process.context);
    return 1;
  }
  code = start_watcher(&process);
  if (code) {
    fprintf(stderr, "can't start the thread that watches for the end of the run: %s\n", hermes_start_reason(code));
    hermes_context_destroy(process.context);
    return 1;
  }
  code = hermes_fifo_write(process.replies, HERMES_ANNOUNCE, 0, announcement, size, NULL, 0);
  int in_order = code == 0 && serve(&process);

  terminate_module(&process);
  hermes_context_destroy(process.context);
  hermes_store_ordered(&process.ended, 1);
  hermes_futex_wake(&process.ended, INT_MAX);
  if (!in_order) end_group();
  return 0;
}

int hermes_module_main(int argc, char **argv) {
  (void)argc;
  if (!hermes_module_create || !hermes_module_destroy) {
    fprintf(stderr, "%s defines no hermes_module_create and hermes_module_destroy\n", argv && argv[0] ? argv[0] : "this");
    return 64;
  }
  return hermes_module_run(hermes_module_create, hermes_module_destroy);
}

/* ---- Free scripts. -------------------------------------------------------------------------------------- */

static int free_commands = -1;

/* A free script has no callbacks: when its node is gone it gets SIGTERM, and after a second the end. */
static void *watch_free(void *argument) {
  (void)argument;
  struct pollfd watched = {.fd = free_commands, .events = 0};
  while (poll(&watched, 1, -1) < 0 || !(watched.revents & (POLLHUP | POLLERR | POLLNVAL))) {
  }
  kill(getpid(), SIGTERM);
  struct timespec second = {1, 0};
  nanosleep(&second, NULL);
  _exit(1);
  return NULL;
}

/* Opens the FIFO pair, watches for the loss of the node and tells it what this script is. */
static int announce_free(const char *command_path, const char *reply_path) {
  int replies = open(reply_path, O_WRONLY | O_CLOEXEC), commands = open(command_path, O_RDONLY | O_CLOEXEC);
  int code = 0;
  pthread_t thread;
  if (commands < 0 || replies < 0)
    code = hermes_error(errno, "the FIFO pair of this script can't be opened: %s", hermes_reason(errno));
  else {
    free_commands = commands;
    hold_command_fifo(commands);
    code = pthread_create(&thread, NULL, watch_free, NULL);
    if (code == 0) pthread_detach(thread);
    else {
      free_commands = -1;
      hermes_error(code, "can't start the thread that watches for the end of the run: %s", hermes_start_reason(code));
    }
    if (code == 0) code = hermes_fifo_write(replies, HERMES_FREE, 0, NULL, 0, NULL, 0);
  }
  if (code && commands >= 0 && free_commands < 0) close(commands);
  if (replies >= 0) close(replies);
  return code;
}

int hermes_free_script_begin(double timeout_s) {
  static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
  static int begun;
  const char *command_path = getenv("HERMES_COMMAND_FIFO"), *reply_path = getenv("HERMES_REPLY_FIFO");
  if (!command_path || !reply_path || hermes_context_current()) return 0;
  pthread_mutex_lock(&once);
  int code = 0;
  /* Announced once, however often a caller's patience ends. */
  if (free_commands < 0) code = announce_free(command_path, reply_path);
  while (code == 0 && !begun) {
    struct pollfd readable = {.fd = free_commands, .events = POLLIN};
    int ready = poll(&readable, 1, timeout_s < 2e6 ? (int)(timeout_s * 1000) : -1);
    hermes_fifo_header header;
    uint8_t *body = NULL;
    if (ready == 0) code = hermes_error(ETIMEDOUT, "the simulation did not stage within %g s", timeout_s);
    else if (ready > 0 && hermes_fifo_read(free_commands, &header, &body) != 0)
      code = hermes_error(ESHUTDOWN, "the simulation ended before it had staged");
    else if (ready > 0 && header.type == HERMES_STAGE) begun = 1;
    free(body);
  }
  pthread_mutex_unlock(&once);
  return code;
}
