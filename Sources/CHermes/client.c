#include "platform.h"

#include "context.h"
#include "edge.h"
#include "view.h"

#include <fcntl.h>
#include <hermes/client.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct hermes_client {
  hermes_view view;
  char name[256];
  uint32_t *index; /* open addressing: 1 + directory index, 0 for empty */
  uint32_t mask;
  pthread_mutex_t writing; /* the file lock keeps processes apart, this the threads of one */
  struct hermes_client *next;
  uint32_t sleepers; /* calls under way that wait for frames or for the queue */
  uint32_t closed;
};

/* Every client that is open, and behind them the last ones that were closed. A second close, also from another thread, is so
 * told from the first and does nothing; the memory of a closed client is kept for a while, so that no new client is taken
 * for it. */
enum { CLOSED_KEPT = 64 };
static pthread_mutex_t clients_lock = PTHREAD_MUTEX_INITIALIZER;
static hermes_client *clients;

static uint32_t hash_text(const char *text) {
  uint32_t hash = 2166136261u;
  for (; *text; text++) hash = (hash ^ (uint8_t)*text) * 16777619u;
  return hash;
}

static const char *signal_name(hermes_client *client, uint32_t index) {
  return hermes_view_text(&client->view, client->view.directory[index].name_offset);
}

static int build_index(hermes_client *client) {
  uint32_t count = client->view.signal_count;
  size_t size = 16;
  while (size < (size_t)count * 2) size *= 2;
  client->index = calloc(size, sizeof *client->index);
  if (!client->index) return hermes_error(ENOMEM, "out of memory");
  client->mask = (uint32_t)(size - 1);
  for (uint32_t i = 0; i < count; i++) {
    const char *name = signal_name(client, i);
    uint32_t at = hash_text(name) & client->mask;
    for (; client->index[at]; at = (at + 1) & client->mask)
      if (strcmp(signal_name(client, client->index[at] - 1), name) == 0)
        return hermes_error(EINVAL, "signals %u and %u in the directory of %s have one name: something wrote over the segment",
                            client->index[at] - 1, i, client->name);
    client->index[at] = i + 1;
  }
  return 0;
}

static void free_client(hermes_client *client) {
  if (client->view.base) hermes_view_close(&client->view);
  pthread_mutex_destroy(&client->writing);
  free(client->index);
  free(client);
}

static hermes_client *remember(hermes_client *client) {
  pthread_mutex_lock(&clients_lock);
  client->next = clients;
  clients = client;
  pthread_mutex_unlock(&clients_lock);
  return client;
}

/* Frees the closed clients beyond those that are kept. With the lock. */
static void forget_oldest(void) {
  int kept = 0;
  for (hermes_client **place = &clients; *place;) {
    hermes_client *client = *place;
    if (!client->closed || ++kept <= CLOSED_KEPT) place = &client->next;
    else {
      *place = client->next;
      free(client);
    }
  }
}

static int cut_off(const hermes_client *client) {
  return hermes_error(ESHUTDOWN, "the segment %s is cut off: something shortened its file", client->name);
}

static hermes_client *open_client(const char *name, int staging_too) {
  hermes_client *client = calloc(1, sizeof *client);
  if (!client) {
    hermes_error(ENOMEM, "out of memory");
    return NULL;
  }
  /* With a slash it is a segment's name, without one a simulation's, which may itself begin with "hermes_". */
  snprintf(client->name, sizeof client->name, "%s%s", name[0] == '/' ? "" : "/hermes_", name);
  pthread_mutex_init(&client->writing, NULL);
  int code = hermes_view_open(&client->view, client->name);
  if (code == 0 && !staging_too && hermes_load(&client->view.control->state) == HERMES_STATE_STAGING) {
    if (hermes_view_owner_lives(&client->view))
      code = hermes_error(EAGAIN, "the simulation %s is still staging", client->name);
    else code = hermes_error(ENOENT, "no simulation runs here with the segment %s: what is there was left by a dead one", client->name);
  }
  if (code == 0) code = hermes_view_keep_signals(&client->view, client->name);
  if (code == 0) code = build_index(client);
  if (code == 0 && hermes_view_is_lost(&client->view)) code = cut_off(client);
  if (code == 0) return remember(client);
  free_client(client);
  errno = code;
  return NULL;
}

hermes_client *hermes_client_open(const char *name) { return open_client(name, 0); }

void hermes_client_close(hermes_client *client) {
  pthread_mutex_lock(&clients_lock);
  hermes_client **place = &clients;
  while (*place && *place != client) place = &(*place)->next;
  int is_open = client && *place && !client->closed;
  if (is_open) {
    __atomic_store_n(&client->closed, 1, __ATOMIC_SEQ_CST);
    /* To the front: the order of those that are closed is by when they were. */
    *place = client->next;
    client->next = clients;
    clients = client;
  }
  pthread_mutex_unlock(&clients_lock);
  if (!is_open) return;
  /* Threads that wait in a call look up a few times a second, and leave. */
  while (__atomic_load_n(&client->sleepers, __ATOMIC_SEQ_CST)) {
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
  hermes_view_close(&client->view);
  pthread_mutex_destroy(&client->writing);
  free(client->index);
  client->index = NULL;
  pthread_mutex_lock(&clients_lock);
  forget_oldest();
  pthread_mutex_unlock(&clients_lock);
}

uint32_t hermes_client_count(hermes_client *client) { return client->view.signal_count; }

/* Of names that are compared with each other, in code points; longer ones have no near one. */
enum { LONGEST_COMPARED = 96 };

/* The code points of a text in UTF-8; a byte that is none of it counts as one. Their number, LONGEST_COMPARED + 1 for more. */
static size_t code_points(const char *text, uint32_t points[LONGEST_COMPARED]) {
  size_t count = 0;
  for (const unsigned char *at = (const unsigned char *)text; *at; count++) {
    if (count == LONGEST_COMPARED) return LONGEST_COMPARED + 1;
    int more = *at >= 0xF0 ? 3 : *at >= 0xE0 ? 2 : *at >= 0xC0 ? 1 : 0;
    uint32_t point = more ? *at & (0x3Fu >> more) : *at;
    at++;
    for (; more > 0 && (*at & 0xC0) == 0x80; more--) point = point << 6 | (*at++ & 0x3F);
    points[count] = point;
  }
  return count;
}

/* Levenshtein distance. */
static size_t distance(const uint32_t *left, size_t rows, const uint32_t *right, size_t columns) {
  size_t row[LONGEST_COMPARED + 1];
  for (size_t j = 0; j <= columns; j++) row[j] = j;
  for (size_t i = 1; i <= rows; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= columns; j++) {
      size_t above = row[j], cost = diagonal + (left[i - 1] != right[j - 1]);
      if (above + 1 < cost) cost = above + 1;
      if (row[j - 1] + 1 < cost) cost = row[j - 1] + 1;
      diagonal = above;
      row[j] = cost;
    }
  }
  return row[columns];
}

static void append_points(char *text, size_t room, const uint32_t *points, size_t count) {
  size_t length = strlen(text);
  if (count == 0) snprintf(text + length, room - length, " nothing");
  for (size_t i = 0; i < count && i < 8; i++) {
    snprintf(text + length, room - length, " U+%04X", (unsigned)points[i]);
    length = strlen(text);
  }
}

/* How a name is spelt besides another, where characters beyond ASCII tell them apart: those may look the same. Else "". */
static void spelling(char *text, size_t room, const uint32_t *there, size_t there_count, const uint32_t *here,
                     size_t here_count) {
  text[0] = '\0';
  while (there_count && here_count && *there == *here) there++, here++, there_count--, here_count--;
  while (there_count && here_count && there[there_count - 1] == here[here_count - 1]) there_count--, here_count--;
  int is_plain = 1;
  for (size_t i = 0; i < there_count; i++) is_plain &= there[i] < 0x80;
  for (size_t i = 0; i < here_count; i++) is_plain &= here[i] < 0x80;
  if (is_plain) return;
  snprintf(text, room, " It is spelt with");
  append_points(text, room, there, there_count);
  strncat(text, " where this has", room - strlen(text) - 1);
  append_points(text, room, here, here_count);
  strncat(text, "; names are compared byte by byte", room - strlen(text) - 1);
}

static void tell_unknown(hermes_client *client, const char *name) {
  uint32_t wanted[LONGEST_COMPARED], other[LONGEST_COMPARED];
  size_t count = code_points(name, wanted), best = count / 3 + 2;
  const char *nearest = NULL;
  for (uint32_t i = 0; count <= LONGEST_COMPARED && i < client->view.signal_count; i++) {
    size_t others = code_points(signal_name(client, i), other);
    size_t apart = others > count ? others - count : count - others;
    if (others > LONGEST_COMPARED || apart >= best) continue;
    size_t here = distance(wanted, count, other, others);
    if (here < best) {
      best = here;
      nearest = signal_name(client, i);
    }
  }
  if (nearest) {
    char difference[320];
    spelling(difference, sizeof difference, other, code_points(nearest, other), wanted, count);
    hermes_error(ENOENT, "there is no signal '%s'; did you mean '%s'?%s", name, nearest, difference);
  } else hermes_error(ENOENT, "there is no signal '%s'", name);
}

int64_t hermes_client_find(hermes_client *client, const char *qualified_name) {
  for (uint32_t at = hash_text(qualified_name) & client->mask; client->index[at]; at = (at + 1) & client->mask)
    if (strcmp(signal_name(client, client->index[at] - 1), qualified_name) == 0) return client->index[at] - 1;
  tell_unknown(client, qualified_name);
  return -1;
}

int hermes_client_info(hermes_client *client, uint32_t index, hermes_signal_info *info) {
  hermes_view *view = &client->view;
  if (index >= view->signal_count)
    return hermes_error(EINVAL, "there is no signal with the index %u", index);
  const hermes_signal_extra *extra = &view->extras[index];
  *info = (hermes_signal_info){
      .name = signal_name(client, index),
      .unit = hermes_view_text(view, extra->unit_offset),
      .description = hermes_view_text(view, extra->description_offset),
      .type = view->directory[index].data_type,
      .flags = view->directory[index].flags,
      .wired = extra->bits & HERMES_EXTRA_WIRED ? 1 : 0,
      .module = extra->module,
  };
  return 0;
}

uint64_t hermes_client_frame(hermes_client *client) { return hermes_load64(&client->view.header->frame); }
double hermes_client_time(hermes_client *client) {
  double time;
  __atomic_load(&client->view.header->time, &time, __ATOMIC_ACQUIRE);
  return time;
}
double hermes_client_rate(hermes_client *client) { return client->view.rate_hz; }
uint32_t hermes_client_epoch(hermes_client *client) { return hermes_load(&client->view.control->epoch); }
uint32_t hermes_client_state(hermes_client *client) {
  uint32_t state = hermes_load(&client->view.control->state);
  int is_known = state >= HERMES_STATE_STAGING && state <= HERMES_STATE_ENDED && !hermes_view_is_lost(&client->view);
  return is_known && hermes_view_owner_lives(&client->view) ? state : HERMES_STATE_ENDED;
}

int hermes_client_get_bits(hermes_client *client, uint32_t index, uint64_t *bits) {
  if (index >= client->view.signal_count)
    return hermes_error(EINVAL, "there is no signal with the index %u", index);
  *bits = __atomic_load_n(&client->view.data[index], __ATOMIC_ACQUIRE);
  return hermes_view_is_lost(&client->view) ? cut_off(client) : 0;
}

static int over(hermes_client *client) {
  if (hermes_view_is_lost(&client->view)) return cut_off(client);
  return hermes_error(ESHUTDOWN, "the simulation %s has ended", client->name);
}

/* Around each call that may wait: `hermes_client_close` lets those under way come back first. */
static int begin_wait(hermes_client *client) {
  __atomic_fetch_add(&client->sleepers, 1, __ATOMIC_SEQ_CST);
  if (!__atomic_load_n(&client->closed, __ATOMIC_SEQ_CST)) return 0;
  __atomic_fetch_sub(&client->sleepers, 1, __ATOMIC_SEQ_CST);
  return hermes_error(EBADF, "this client of %s was closed", client->name);
}

static int end_wait(hermes_client *client, int code) {
  __atomic_fetch_sub(&client->sleepers, 1, __ATOMIC_SEQ_CST);
  return code;
}

static int was_closed(hermes_client *client) {
  if (!__atomic_load_n(&client->closed, __ATOMIC_SEQ_CST)) return 0;
  return hermes_error(EBADF, "this client of %s was closed by another thread", client->name);
}

/* A deadline `seconds` from now; anything beyond a century, NaN included, is never. */
static uint64_t deadline_after(double seconds) {
  if (!(seconds < 3e9)) return HERMES_NEVER;
  return hermes_now() + (seconds > 0 ? (uint64_t)(seconds * 1e9) : 0);
}

/* Sleeps on a word for a while; the caller looks again. Slices let it notice an owner that died without a word. */
static void sleep_slice(const uint32_t *word, uint32_t seen, uint64_t deadline) {
  uint64_t slice = hermes_now() + 200000000u;
  hermes_futex_wait(word, seen, slice < deadline ? slice : deadline);
}

/* Copies from the snapshot; 0 when the node rewrote it meanwhile. */
static int read_snapshot(hermes_view *view, const uint32_t *indices, size_t count, uint64_t *bits, uint64_t *frame,
                         double *time) {
  hermes_control *control = view->control;
  uint32_t before = hermes_load(&control->snapshot_sequence);
  if (before & 1) return 0;
  for (size_t i = 0; i < count; i++) bits[i] = __atomic_load_n(&view->snapshot[indices[i]], __ATOMIC_RELAXED);
  uint64_t snapshot_frame = __atomic_load_n(&control->snapshot_frame, __ATOMIC_RELAXED);
  double snapshot_time;
  __atomic_load(&control->snapshot_time, &snapshot_time, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  if (hermes_load(&control->snapshot_sequence) != before) return 0;
  if (frame) *frame = snapshot_frame;
  if (time) *time = snapshot_time;
  return 1;
}

static int sample(hermes_client *client, const uint32_t *indices, size_t count, uint64_t *bits, uint64_t *frame,
                  double *time, double timeout_s) {
  hermes_view *view = &client->view;
  hermes_control *control = view->control;
  for (size_t i = 0; i < count; i++)
    if (indices[i] >= view->signal_count)
      return hermes_error(EINVAL, "there is no signal with the index %u", indices[i]);
  uint64_t deadline = deadline_after(timeout_s);
  for (;;) {
    if (hermes_client_state(client) == HERMES_STATE_ENDED) return over(client);
    uint32_t wanted = hermes_add(&control->snapshot_requested, 1) + 1;
    hermes_edge_attention(view);
    for (;;) {
      uint32_t served = hermes_load(&control->snapshot_served);
      if ((int32_t)(served - wanted) >= 0) break;
      if (hermes_now() >= deadline)
        return hermes_error(ETIMEDOUT, "no frame of %s ended within %g s", client->name, timeout_s);
      sleep_slice(&control->snapshot_served, served, deadline);
      if (was_closed(client)) return EBADF;
      if (hermes_client_state(client) == HERMES_STATE_ENDED) return over(client);
    }
    if (read_snapshot(view, indices, count, bits, frame, time))
      return hermes_view_is_lost(view) ? cut_off(client) : 0;
    /* Rewritten meanwhile: by the node, or for ever by what is not. */
    if (hermes_now() >= deadline)
      return hermes_error(ETIMEDOUT, "no values of one frame of %s could be read within %g s", client->name, timeout_s);
  }
}

int hermes_client_sample(hermes_client *client, const uint32_t *indices, size_t count, uint64_t *bits,
                         uint64_t *frame, double *time, double timeout_s) {
  int code = begin_wait(client);
  return code ? code : end_wait(client, sample(client, indices, count, bits, frame, time, timeout_s));
}

/* 1 when this process is the free script that the signal belongs to. */
static int is_own_of_free_script(const hermes_view *view, uint32_t module) {
  const char *own = getenv("HERMES_MODULE"), *shm = getenv("HERMES_SHM");
  return own && shm && module < view->module_count && view->module_plans[module].kind == HERMES_KIND_FREE &&
         strcmp(hermes_view_text(view, view->module_plans[module].name_offset), own) == 0;
}

static int check_writable(hermes_client *client, uint32_t index) {
  hermes_view *view = &client->view;
  if (index >= view->signal_count)
    return hermes_error(EINVAL, "there is no signal with the index %u", index);
  if (view->extras[index].bits & HERMES_EXTRA_WIRED)
    return hermes_error(EPERM, "'%s' can't be set: a wire drives it", signal_name(client, index));
  if (!(view->directory[index].flags & HERMES_SIGNAL_WRITABLE) &&
      !is_own_of_free_script(view, view->extras[index].module))
    return hermes_error(EPERM, "'%s' can't be set: it is read-only (list it under signals: with writable: true)",
                        signal_name(client, index));
  return 0;
}

/* Locks out the writers of other processes; the kernel gives the lock back when a writer dies. */
static int lock_queue(hermes_client *client, short type) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = HERMES_LOCK_QUEUE, .l_len = 1};
  uint64_t deadline = deadline_after(2.0);
  while (fcntl(client->view.descriptor, F_OFD_SETLK, &lock) != 0) {
    if ((errno != EAGAIN && errno != EACCES && errno != EINTR) || hermes_now() > deadline)
      return hermes_error(EBUSY, "another writer holds the queue of %s", client->name);
    struct timespec pause = {0, 50000};
    nanosleep(&pause, NULL);
  }
  return 0;
}

static int enqueue(hermes_client *client, const uint32_t *indices, const uint64_t *bits, size_t count) {
  hermes_view *view = &client->view;
  hermes_control *control = view->control;
  uint64_t tail = hermes_load64(&control->queue_tail), head = hermes_load64(&control->queue_head);
  uint64_t capacity = view->queue_capacity, mask = capacity - 1;
  if (tail - head > capacity)
    return hermes_error(EINVAL, "the queue of %s can't hold what it says it does: something wrote over the segment", client->name);
  if (count > capacity - (tail - head))
    return hermes_error(ENOBUFS, "the queue of %s has no room for %zu more values (it holds %u)", client->name, count,
                        view->queue_capacity);
  for (size_t i = 0; i < count; i++)
    view->queue[(tail + i) & mask] = (hermes_queue_entry){indices[i], i + 1 < count, bits[i]};
  /* The one store that makes them visible, all together. */
  hermes_store64(&control->queue_tail, tail + count);
  return 0;
}

static int set_bits(hermes_client *client, const uint32_t *indices, const uint64_t *bits, size_t count) {
  for (size_t i = 0; i < count; i++) {
    int code = check_writable(client, indices[i]);
    if (code) return code;
  }
  if (hermes_client_state(client) == HERMES_STATE_ENDED) return over(client);
  pthread_mutex_lock(&client->writing);
  int code = lock_queue(client, F_WRLCK);
  if (code == 0) {
    code = enqueue(client, indices, bits, count);
    lock_queue(client, F_UNLCK);
  }
  pthread_mutex_unlock(&client->writing);
  if (code == 0) hermes_edge_attention(&client->view);
  return code;
}

int hermes_client_set_bits(hermes_client *client, const uint32_t *indices, const uint64_t *bits, size_t count) {
  int code = begin_wait(client);
  return code ? code : end_wait(client, set_bits(client, indices, bits, count));
}

/* Lowers the frame at which the node wakes sleepers to `target`. */
static void ask_for_frame(hermes_control *control, uint64_t target) {
  uint64_t now = hermes_load64(&control->wait_target);
  while (target < now &&
         !__atomic_compare_exchange_n(&control->wait_target, &now, target, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
  }
}

static int wait_frame(hermes_client *client, uint64_t target, double timeout_s) {
  hermes_view *view = &client->view;
  hermes_control *control = view->control;
  const uint32_t *word = (const uint32_t *)(const void *)&view->header->frame;
  uint32_t epoch = hermes_client_epoch(client);
  uint64_t deadline = deadline_after(timeout_s);
  for (;;) {
    ask_for_frame(control, target);
    uint64_t frame = __atomic_load_n(&view->header->frame, __ATOMIC_SEQ_CST);
    if (hermes_client_epoch(client) != epoch)
      return hermes_error(ECANCELED, "the simulation %s was reset while waiting for frame %llu", client->name,
                          (unsigned long long)target);
    if (hermes_view_is_lost(view)) return cut_off(client);
    if (frame >= target) return 0;
    if (hermes_client_state(client) == HERMES_STATE_ENDED)
      return hermes_error(ESHUTDOWN, "the simulation %s ended at frame %llu, before frame %llu", client->name,
                          (unsigned long long)frame, (unsigned long long)target);
    if (hermes_now() >= deadline)
      return hermes_error(ETIMEDOUT, "%s is at frame %llu; frame %llu did not come within %g s", client->name,
                          (unsigned long long)frame, (unsigned long long)target, timeout_s);
    sleep_slice(word, (uint32_t)frame, deadline);
    if (was_closed(client)) return EBADF;
  }
}

int hermes_client_wait_frame(hermes_client *client, uint64_t target, double timeout_s) {
  int code = begin_wait(client);
  return code ? code : end_wait(client, wait_frame(client, target, timeout_s));
}

/* ---- The seed's functions. ------------------------------------------------------------------------------ */

void *hermes_shm_attach(const char *name) { return open_client(name, 1); }
void hermes_shm_detach(void *segment) { hermes_client_close(segment); }

double hermes_shm_get(void *segment, const char *qualified_name) {
  hermes_client *client = segment;
  int64_t index = hermes_client_find(client, qualified_name);
  uint64_t bits;
  if (index < 0 || hermes_client_get_bits(client, (uint32_t)index, &bits) != 0) return NAN;
  errno = 0;
  return hermes_bits_to_f64(bits, client->view.directory[index].data_type);
}

/* 1 when a module of this process, on this thread, owns the signal: its own values need no queue. */
static int is_own(const hermes_client *client, uint32_t index) {
  hermes_context *context = hermes_context_current();
  uint32_t module;
  hermes_view *view = context ? hermes_context_view(context, &module) : NULL;
  return view && view->run == client->view.run && client->view.extras[index].module == module;
}

void hermes_shm_set(void *segment, const char *qualified_name, double value) {
  hermes_client *client = segment;
  int64_t index = hermes_client_find(client, qualified_name);
  if (index < 0) return;
  uint32_t at = (uint32_t)index;
  uint64_t bits = hermes_f64_to_bits(value, client->view.directory[at].data_type);
  if (is_own(client, at) && !(client->view.extras[at].bits & HERMES_EXTRA_WIRED)) {
    __atomic_store_n(&client->view.data[at], bits, __ATOMIC_RELEASE);
    errno = 0;
  } else if (hermes_client_set_bits(client, &at, &bits, 1) == 0) errno = 0;
}
