/* The keeper's side: one thread, one loop. */
#define _GNU_SOURCE
#include "wire.h"

#include <dirent.h>
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long guards have beyond the safe state of their modules, and how long everything has to go once it was killed. */
enum { GUARD_MS = 500, SWEEP_MS = 2000 };

typedef struct child {
  uint32_t id;
  pid_t pid;   /* of the program, once started */
  pid_t guard; /* 0 once reaped */
  int socket;  /* to the guard; -1 once closed */
  int has_exited, is_gone;
} child;
typedef struct entry {
  int what;
  char *path;
} entry;

static struct {
  int socket, signals, node; /* node: a descriptor of its process, -1 where there is none */
  int followed;              /* a process that the node is to follow when it ends; -1: none */
  long node_limit;           /* when the node must have followed it; 0 while it lives */
  child *children;
  size_t child_count;
  entry *entries;
  size_t entry_count;
  int recording; /* -1 without one */
  int mark;      /* read end of the pipe of keeper_mark; -1 without one */
  int *held;     /* descriptors kept open for their locks */
  size_t held_count;
} keeper_self = {.followed = -1, .recording = -1, .mark = -1};

static void tell(uint32_t kind, uint32_t id, pid_t pid, int32_t value) {
  keeper_event event = {kind, id, pid, value};
  /* A node that is not told waits for ever: a shortage of buffers passes, anything else is the end of the node. */
  while (send(keeper_self.socket, &event, sizeof event, MSG_NOSIGNAL) < 0 && keeper_may_pass(errno)) {
  }
}

static void *grown(void *items, size_t count, size_t size) {
  void *more = realloc(items, (count + 1) * size);
  if (!more) _exit(1);
  return more;
}

/* Passes on what a guard has said. */
static void hear(child *each) {
  keeper_event event;
  while (each->socket >= 0 && recv(each->socket, &event, sizeof event, MSG_DONTWAIT) == (ssize_t)sizeof event) {
    if (event.kind == KEEPER_STARTED) each->pid = event.pid;
    if (event.kind == KEEPER_FAILED || event.kind == KEEPER_EXITED) each->has_exited = 1;
    tell(event.kind, each->id, event.pid, event.value);
  }
}

static void note_gone(child *each) {
  each->is_gone = 1;
  tell(KEEPER_GONE, each->id, each->pid, 0);
}

static void note_end(pid_t pid, int status) {
  for (size_t i = 0; i < keeper_self.child_count; i++) {
    child *each = &keeper_self.children[i];
    if (each->guard == pid) {
      hear(each);
      close(each->socket);
      each->socket = -1;
      each->guard = 0;
      /* A guard that was killed leaves its program, told to end by the kernel, to this process. */
      if (each->has_exited || !each->pid) {
        if (!each->has_exited) tell(KEEPER_FAILED, each->id, 0, ECHILD);
        note_gone(each);
      }
    } else if (each->pid == pid && !each->guard && !each->is_gone) {
      kill(-pid, SIGKILL);
      each->has_exited = 1;
      tell(KEEPER_EXITED, each->id, pid, status);
      note_gone(each);
    }
  }
}

/* Collects every child that has ended. A program's number is not given back before its group is ended. */
static void reap(void) {
  siginfo_t ended;
  for (;;) {
    ended.si_pid = 0;
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    int number = ended.si_status;
    note_end(ended.si_pid, ended.si_code == CLD_EXITED ? number << 8 : number);
    waitpid(ended.si_pid, NULL, 0);
  }
}

static void spawn(const keeper_request *request, char *texts, const int descriptors[KEEPER_DESCRIPTORS]) {
  uint32_t total = request->argument_count + request->environment_count + 2;
  char **pointers = calloc(total + 1, sizeof *pointers);
  if (!pointers) _exit(1);
  char **environment = pointers + request->argument_count + 1, *next = texts;
  for (uint32_t i = 0; i < request->argument_count; i++, next += strlen(next) + 1) pointers[i] = next;
  for (uint32_t i = 0; i < request->environment_count; i++, next += strlen(next) + 1) environment[i] = next;

  guard_program program = {pointers, environment, next, {descriptors[0], descriptors[1]}};
  int pair[2];
  pid_t pid = -1;
  int code = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0 ? 0 : errno;
  if (code == 0) {
    pid = fork();
    if (pid == 0) guard_live(pair[1], &program, keeper_self.held, keeper_self.held_count);
    if (pid < 0) {
      code = errno;
      close(pair[0]);
    }
    close(pair[1]);
  }
  free(pointers);
  if (code) {
    tell(KEEPER_FAILED, request->id, 0, code);
    tell(KEEPER_GONE, request->id, 0, 0);
    return;
  }
  keeper_self.children = grown(keeper_self.children, keeper_self.child_count, sizeof(child));
  keeper_self.children[keeper_self.child_count++] = (child){.id = request->id, .guard = pid, .socket = pair[0]};
}

/* To the guard; to the program itself where that was killed. */
static void pass_on(const child *each, unsigned char word) {
  if (each->is_gone) return;
  /* One that was stopped does nothing of what it is there for. */
  if (each->guard) kill(each->guard, SIGCONT);
  if (each->guard) send(each->socket, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  else if (word == KEEPER_KILL) kill(-each->pid, SIGKILL);
  else kill(each->pid, SIGTERM);
}

static void tell_all(unsigned char word) {
  for (size_t i = 0; i < keeper_self.child_count; i++) pass_on(&keeper_self.children[i], word);
}

static int read_exactly(void *bytes, size_t size) {
  char *next = bytes;
  while (size) {
    ssize_t count = recv(keeper_self.socket, next, size, 0);
    if (count < 0 && keeper_may_pass(errno)) continue;
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
  while (count < 0 && keeper_may_pass(errno));
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
  case KEEPER_TERMINATE:
  case KEEPER_KILL:
    for (size_t i = 0; i < keeper_self.child_count; i++)
      if (keeper_self.children[i].id == request.id) pass_on(&keeper_self.children[i], (unsigned char)request.type);
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
  case KEEPER_MARK:
    keeper_self.mark = descriptors[0];
    descriptors[0] = -1;
    break;
  case KEEPER_HOLD: /* stays open until the keeper ends, and the last guard */
    keeper_self.held = grown(keeper_self.held, keeper_self.held_count, sizeof(int));
    keeper_self.held[keeper_self.held_count++] = descriptors[0];
    descriptors[0] = -1;
    break;
  case KEEPER_FOLLOW:
    keeper_self.followed = descriptors[0];
    descriptors[0] = -1;
    break;
  default: break;
  }
  for (int i = 0; i < KEEPER_DESCRIPTORS; i++)
    if (descriptors[i] >= 0) close(descriptors[i]);
  free(texts);
  return request.type == KEEPER_FINISH ? 0 : 1;
}

/* Until something happens, at most `limit` milliseconds (-1: for ever), then hears all guards. 1 when the node has said
 * something, or is gone. */
static int await(long limit, int heeds_node) {
  size_t count = 0;
  struct pollfd *watched = calloc(keeper_self.child_count + 4, sizeof *watched);
  if (!watched) _exit(1);
  watched[count++] = (struct pollfd){.fd = heeds_node ? keeper_self.socket : -1, .events = POLLIN};
  watched[count++] = (struct pollfd){.fd = heeds_node ? keeper_self.node : -1, .events = POLLIN};
  watched[count++] = (struct pollfd){.fd = keeper_self.signals, .events = POLLIN};
  watched[count++] = (struct pollfd){.fd = heeds_node ? keeper_self.followed : -1, .events = POLLIN};
  for (size_t i = 0; i < keeper_self.child_count; i++)
    if (keeper_self.children[i].socket >= 0 && keeper_self.children[i].guard)
      watched[count++] = (struct pollfd){.fd = keeper_self.children[i].socket, .events = POLLIN};
  int ready = poll(watched, count, (int)limit);
  int has_word = ready > 0 && (watched[0].revents || watched[1].revents);
  /* A guard that has ended is heard when it is reaped. */
  for (size_t i = 0; ready > 0 && i < keeper_self.child_count; i++) hear(&keeper_self.children[i]);
  struct signalfd_siginfo information;
  while (read(keeper_self.signals, &information, sizeof information) > 0) {
  }
  reap();
  int is_hung_up = 0;
  for (size_t i = 4; ready > 0 && i < count; i++) is_hung_up |= (watched[i].revents & POLLHUP) != 0;
  free(watched);
  /* Its end of the socket is closed a moment before it can be reaped. */
  if (is_hung_up) poll(NULL, 0, 1);
  return has_word;
}

static int any_child(void) {
  for (size_t i = 0; i < keeper_self.child_count; i++)
    if (!keeper_self.children[i].is_gone) return 1;
  return 0;
}

/* Waits until nothing is left of any program, at most `limit` milliseconds. */
static void await_children(long limit) {
  long deadline = keeper_now_ms() + limit, left;
  for (reap(); any_child() && (left = deadline - keeper_now_ms()) > 0;) await(left, 0);
}

static void end_one(pid_t pid, void *argument) {
  (void)argument;
  if (pid > 1) kill(pid, SIGKILL);
}

/* SIGKILL to all that descends from here: what guards that were killed have left came to the keeper, which is their
 * subreaper. */
static void end_descendants(void) {
  long deadline = keeper_now_ms() + SWEEP_MS;
  while (keeper_now_ms() < deadline && linux_each_child(getpid(), end_one, NULL) > 0) await(20, 0);
}

/* Sends a signal to every process that has the other end of the mark open: only their descriptors tell that an inproc module
 * of the dead node has started them. */
static void signal_marked(int number) {
  struct stat mark;
  if (fstat(keeper_self.mark, &mark) != 0) return;
  DIR *processes = opendir("/proc");
  for (struct dirent *process; processes && (process = readdir(processes));) {
    pid_t pid = (pid_t)atoi(process->d_name);
    if (pid <= 1 || pid == getpid()) continue;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *descriptors = opendir(path);
    int is_marked = 0;
    for (struct dirent *each; descriptors && !is_marked && (each = readdir(descriptors));) {
      struct stat status;
      is_marked = each->d_name[0] != '.' && fstatat(dirfd(descriptors), each->d_name, &status, 0) == 0 &&
                  status.st_dev == mark.st_dev && status.st_ino == mark.st_ino;
    }
    if (descriptors) closedir(descriptors);
    if (is_marked) kill(pid, number);
  }
  if (processes) closedir(processes);
}

static void end_marked(void) {
  if (keeper_self.mark < 0) return;
  long begin = keeper_now_ms();
  struct pollfd writers = {.fd = keeper_self.mark, .events = 0};
  for (int number = SIGTERM; keeper_now_ms() < begin + SWEEP_MS; number = SIGKILL) {
    signal_marked(number);
    /* Until the pipe has no writer any more. */
    if (poll(&writers, 1, GUARD_MS) > 0) return;
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

/* Where what the node follows has ended: the node ends by itself, also when it was stopped, or is ended. Milliseconds to the
 * next look, -1: none. */
static long end_node(void) {
  struct pollfd followed = {.fd = keeper_self.followed, .events = POLLIN};
  if (followed.fd >= 0 && poll(&followed, 1, 0) > 0) {
    close(followed.fd);
    keeper_self.followed = -1;
    keeper_self.node_limit = keeper_now_ms() + KEEPER_FOLLOW_MS;
    keeper_process_signal(keeper_self.node, SIGCONT);
  }
  if (!keeper_self.node_limit) return -1;
  long left = keeper_self.node_limit - keeper_now_ms();
  if (left > 0) return left;
  keeper_process_signal(keeper_self.node, SIGKILL);
  keeper_self.node_limit = 0;
  return -1;
}

void keeper_live(int socket, pid_t node) {
  keeper_self.socket = socket;
  setsid();
  prctl(PR_SET_NAME, "hermes-keeper");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int null = open("/dev/null", O_RDWR);
  for (int standard = 0; standard < 3; standard++) dup2(null, standard);
  linux_close_others(&socket, 1);
  for (int number = 1; number < NSIG; number++)
    if (number != SIGCHLD && number != SIGKILL && number != SIGSTOP) signal(number, SIG_IGN);
  signal(SIGCHLD, SIG_DFL);
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_SETMASK, &children, NULL);
  keeper_self.signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  if (keeper_self.signals < 0) _exit(1); /* the node is told by the end of the socket */
  /* Besides the socket, which is open as long as a child of an inproc module has it. */
  keeper_self.node = (int)syscall(SYS_pidfd_open, node, 0);

  /* 1: the node lives, 0: it has finished in order, -1: it is gone. */
  int state = 1;
  long wait = -1;
  while (state > 0) {
    int has_word = await(wait, 1);
    wait = end_node();
    if (!has_word) continue;
    struct pollfd request = {.fd = socket, .events = POLLIN};
    if (poll(&request, 1, 0) > 0) state = serve_request();
    else state = -1;
  }
  if (state < 0) {
    tell_all(KEEPER_TERMINATE);
    await_children(KEEPER_SAFE_STATE_MS + GUARD_MS);
  }
  tell_all(KEEPER_KILL);
  await_children(SWEEP_MS);
  end_descendants();
  if (state < 0) end_marked();
  if (state < 0) remove_files();
  _exit(0);
}
