/* The node's side. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int keeper_start(keeper *self) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno;
  pid_t node = getpid(), pid = fork();
  if (pid < 0) {
    int code = errno;
    close(pair[0]);
    close(pair[1]);
    return code;
  }
  if (pid == 0) {
    close(pair[0]);
    keeper_live(pair[1], node);
  }
  close(pair[1]);
  /* Each module takes four descriptors here. After the fork, so that modules keep the limit they expect. */
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  *self = (keeper){.socket = pair[0], .pid = pid};
  return 0;
}

int keeper_process_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int keeper_process_signal(int process, int signal) {
  return syscall(SYS_pidfd_send_signal, process, signal, NULL, 0) == 0 ? 0 : errno;
}

/* A keeper that was stopped does none of what it is there for. */
static void wake(const keeper *self) {
  siginfo_t ended = {0};
  if (waitid(P_PID, (id_t)self->pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0)
    kill(self->pid, SIGCONT);
}

int keeper_may_pass(int code) {
  if (code == EINTR) return 1;
  if (code != ENOBUFS && code != ENOMEM && code != EAGAIN) return 0;
  struct timespec pause = {0, 1000000};
  nanosleep(&pause, NULL);
  return 1;
}

static int send_all(int socket, const void *bytes, size_t size) {
  const char *next = bytes;
  while (size) {
    ssize_t sent = send(socket, next, size, MSG_NOSIGNAL);
    if (sent < 0 && keeper_may_pass(errno)) continue;
    if (sent < 0) return errno;
    next += sent;
    size -= (size_t)sent;
  }
  return 0;
}

static int send_request(keeper *self, const keeper_request *request, const int *descriptors, const char *texts) {
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(KEEPER_DESCRIPTORS * sizeof(int))];
  } control;
  memset(&control, 0, sizeof control);
  struct iovec part = {(void *)request, sizeof *request};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (request->descriptors) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(request->descriptors * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(request->descriptors * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, request->descriptors * sizeof(int));
  }
  ssize_t sent;
  do sent = sendmsg(self->socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && keeper_may_pass(errno));
  if (sent < 0) return errno;
  int code = send_all(self->socket, (const char *)request + sent, sizeof *request - (size_t)sent);
  return code ? code : send_all(self->socket, texts, request->length);
}

int keeper_pipe(int32_t ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

static size_t texts_size(const char *const *texts, uint32_t *count) {
  size_t size = 0;
  for (*count = 0; texts[*count]; (*count)++) size += strlen(texts[*count]) + 1;
  return size;
}

static char *append(char *at, const char *text) {
  size_t size = strlen(text) + 1;
  memcpy(at, text, size);
  return at + size;
}

int keeper_spawn(keeper *self, uint32_t id, const keeper_program *program) {
  keeper_request request = {.type = KEEPER_SPAWN, .id = id, .descriptors = 2};
  size_t size = texts_size(program->arguments, &request.argument_count) +
                texts_size(program->environment, &request.environment_count) + strlen(program->directory) + 1;
  if (size > (16u << 20)) return E2BIG;
  char *texts = malloc(size), *next = texts;
  if (!texts) return ENOMEM;
  for (uint32_t i = 0; i < request.argument_count; i++) next = append(next, program->arguments[i]);
  for (uint32_t i = 0; i < request.environment_count; i++) next = append(next, program->environment[i]);
  append(next, program->directory);
  request.length = (uint32_t)size;
  int descriptors[2] = {program->standard_output, program->standard_error};
  int code = send_request(self, &request, descriptors, texts);
  free(texts);
  return code;
}

int keeper_terminate(keeper *self, uint32_t id) {
  wake(self);
  keeper_request request = {.type = KEEPER_TERMINATE, .id = id};
  return send_request(self, &request, NULL, NULL);
}

int keeper_kill(keeper *self, uint32_t id) {
  wake(self);
  keeper_request request = {.type = KEEPER_KILL, .id = id};
  return send_request(self, &request, NULL, NULL);
}

int keeper_register(keeper *self, int what, const char *path) {
  keeper_request request = {.type = (uint32_t)what, .length = (uint32_t)strlen(path) + 1};
  return send_request(self, &request, NULL, path);
}

int keeper_hold(keeper *self, int descriptor) {
  keeper_request request = {.type = KEEPER_HOLD, .descriptors = 1};
  return send_request(self, &request, &descriptor, NULL);
}

int keeper_trim(keeper *self, int recording) {
  keeper_request request = {.type = KEEPER_TRIM, .descriptors = 1};
  return send_request(self, &request, &recording, NULL);
}

int keeper_follow(keeper *self, int process) {
  keeper_request request = {.type = KEEPER_FOLLOW, .descriptors = 1};
  return send_request(self, &request, &process, NULL);
}

int keeper_mark(keeper *self) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  keeper_request request = {.type = KEEPER_MARK, .descriptors = 1};
  int code = send_request(self, &request, &ends[0], NULL);
  close(ends[0]);
  /* Open from here on, and not closed on exec; above the numbers that programs expect something at. */
  if (fcntl(ends[1], F_DUPFD, 100) < 0 && fcntl(ends[1], F_DUPFD, 3) < 0 && !code) code = errno;
  close(ends[1]);
  return code;
}

int keeper_read_event(const keeper *self, keeper_event *event) {
  char *next = (char *)event;
  size_t size = sizeof *event;
  while (size) {
    ssize_t count = recv(self->socket, next, size, 0);
    if (count < 0 && keeper_may_pass(errno)) continue;
    if (count <= 0) return 0;
    next += count;
    size -= (size_t)count;
  }
  return 1;
}

void keeper_finish(keeper *self) {
  if (self->socket < 0) return;
  wake(self);
  keeper_request request = {.type = KEEPER_FINISH};
  send_request(self, &request, NULL, NULL);
  shutdown(self->socket, SHUT_WR);
  /* A keeper ends within its own limits (keeper.c); one that does not has been stopped by somebody. */
  for (int waited = 0; waitpid(self->pid, NULL, WNOHANG) == 0; waited++) {
    if (waited == 600) kill(self->pid, SIGKILL);
    struct timespec pause = {0, waited < 20 ? 500000 : 10000000};
    nanosleep(&pause, NULL);
  }
}

void keeper_close(keeper *self) {
  if (self->socket >= 0) close(self->socket);
  self->socket = -1;
}

int keeper_status_signal(int32_t status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }
int keeper_status_code(int32_t status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
