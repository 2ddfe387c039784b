/* Segments that something wrote over, before and while they are mapped: each is refused with a reason or does no harm. */
#include "small_segment.h"

#include "barrier.h"
#include "context.h"
#include "edge.h"

#include <fcntl.h>
#include <hermes/client.h>
#include <sys/mman.h>

enum { CASES = 10000, SIGNALS = 12 };

static hermes_view view;
static uint8_t *pristine;
static uint64_t random_state = 20261130;

static uint64_t draw(uint64_t below) { return next_random(&random_state) % below; }

/* A segment with something in every table. */
static void make_segment(void) {
  small_segment(&view, (small_shape){.signals = SIGNALS, .modules = 3, .phases = 2, .runs = 2, .copies = 2, .converts = 2, .queue = 16});
  uint32_t text = view.directory[3].name_offset;
  for (uint32_t s = 0; s < SIGNALS; s++) {
    view.extras[s].unit_offset = s % 2 ? text : 0;
    view.extras[s].description_offset = s % 3 ? text : 0;
    view.directory[s].data_type = (uint8_t)(s % 5);
    view.extras[s].module = s / 4;
  }
  for (uint32_t m = 0; m < 3; m++) {
    view.modules[m].first_signal = 4 * m;
    view.modules[m].signal_count = 4;
    view.modules[m].name_offset = text;
    view.modules[m].dt = 0.01;
  }
  view.runs[0] = (hermes_wire_run){0, 4, 2};
  view.runs[1] = (hermes_wire_run){4, 8, 2};
  view.copies[0] = (hermes_wire_copy){2, 6};
  view.copies[1] = (hermes_wire_copy){6, 10};
  view.converts[0] = (hermes_wire_convert){.source = 3, .destination = 7, .source_type = 3, .gain = 2.0};
  view.converts[1] = (hermes_wire_convert){.source = 7, .destination = 11, .destination_type = 1, .gain = 1.0, .offset = 1.0};
  view.deliveries[0] = (hermes_delivery){.run_count = 1, .copy_count = 1, .convert_count = 1};
  view.deliveries[1] = (hermes_delivery){.run_begin = 1, .run_count = 1, .copy_begin = 1, .copy_count = 1, .convert_begin = 1, .convert_count = 1};
  view.deliveries[2] = (hermes_delivery){.run_count = 2, .copy_count = 2, .convert_count = 2, .staged = 1};
  pristine = malloc(view.size);
  memcpy(pristine, view.base, view.size);
}

static const uint64_t edges[] = {0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1ull << 32,
                                 1ull << 40, 1ull << 53, 0x7FFFFFFFFFFFFFFF, 1ull << 63, UINT64_MAX - 7, UINT64_MAX};

/* One to four bytes, words or long words with anything in them; now and then all of it. */
static void scribble(void) {
  for (uint64_t writes = 1 + draw(4); writes > 0; writes--) {
    size_t size = (size_t)1 << draw(4);
    /* Every second one where the header, the directory and the control block are. */
    size_t at = (size_t)draw(2) ? (size_t)draw(view.size - 8) : (size_t)draw((uint64_t)((uint8_t *)view.modules - view.base));
    uint64_t value = draw(2) ? edges[draw(sizeof edges / sizeof *edges)] : next_random(&random_state);
    at -= at % size;
    memcpy(view.base + at, &value, size);
  }
  if (draw(200) == 0) memset(view.base, draw(2) ? 0 : 0xFF, view.size);
}

static size_t touched; /* so that nothing that is read is left out */

static void look(hermes_client *client) {
  uint32_t count = hermes_client_count(client), all[SIGNALS];
  uint64_t bits[SIGNALS], frame;
  double time;
  CHECK(count <= view.size / 12);
  for (uint32_t s = 0; s < count; s++) {
    hermes_signal_info info;
    CHECK(hermes_client_info(client, s, &info) == 0);
    touched += strlen(info.name) + strlen(info.unit) + strlen(info.description) + info.module;
    CHECK(info.type <= 4 && strchr(info.name, '.'));
    CHECK(hermes_client_find(client, info.name) == s);
    CHECK(hermes_client_get_bits(client, s, bits) == 0);
    hermes_shm_get(client, info.name);
    hermes_shm_set(client, info.name, 1.0);
  }
  hermes_signal_info info;
  CHECK(hermes_client_info(client, count, &info) == EINVAL);
  touched += (size_t)hermes_client_state(client) + (size_t)hermes_client_frame(client);
  for (uint32_t s = 0; s < SIGNALS; s++) all[s] = s;
  uint32_t asked = count < SIGNALS ? count : SIGNALS;
  hermes_client_sample(client, all, asked, bits, &frame, &time, 0.0);
  hermes_client_set_bits(client, all, bits, asked);
  hermes_client_wait_frame(client, 1u << 20, 0.0);
}

static hermes_module_t *create(void) {
  static hermes_module_t module;
  return &module;
}
static void destroy(hermes_module_t *module) { (void)module; }

/* What a module's process does: binds, steps, delivers. */
static int be_module(void) {
  hermes_view own;
  if (hermes_view_open(&own, small_name()) != 0) return 0;
  hermes_context *context = hermes_context_create("m", NULL, small_name(), create, destroy);
  CHECK(context != NULL);
  uint32_t stop = 1, module = (uint32_t)draw(3);
  if (module < own.module_count && hermes_context_bind(context, &own, module) == 0) {
    hermes_barrier_join(&own, module);
    hermes_barrier_await(&own, module, 0, &stop);
    hermes_context_step(context);
    hermes_barrier_finish_step(&own, module, 1, 0);
    for (uint32_t d = 0; d <= own.phase_count; d++) hermes_deliver(&own, d);
    hermes_barrier_nudge(&own, module);
  }
  hermes_context_destroy(context);
  hermes_view_close(&own);
  return 1;
}

static void check_at_rest(void) {
  int opened = 0, refused = 0, bound = 0;
  for (int i = 0; i < CASES; i++) {
    memcpy(view.base, pristine, view.size);
    scribble();
    hermes_client *client = hermes_shm_attach(small_name());
    if (client) {
      look(client);
      hermes_client_close(client);
      opened++;
    } else {
      CHECK(hermes_last_error()[0] != 0 && strstr(hermes_last_error(), small_name() + 1));
      refused++;
    }
    bound += be_module();
  }
  CHECK(opened > CASES / 10 && refused > CASES / 10 && bound > CASES / 10);
  memcpy(view.base, pristine, view.size);
}

/* Who has opened it sound goes on with what it read then. */
static void check_while_open(void) {
  for (int i = 0; i < CASES / 10; i++) {
    memcpy(view.base, pristine, view.size);
    hermes_client *client = hermes_shm_attach(small_name());
    CHECK(client != NULL);
    for (int j = 0; j < 5; j++) {
      scribble();
      look(client);
      CHECK(hermes_client_count(client) == SIGNALS && hermes_client_find(client, "m.s7") == 7);
    }
    hermes_client_close(client);
  }
  memcpy(view.base, pristine, view.size);
}

static void check_each_length(void) {
  char path[128];
  snprintf(path, sizeof path, "%s-cut", small_name());
  int file = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(file >= 0 && ftruncate(file, (off_t)view.size) == 0 && pwrite(file, pristine, view.size, 0) == (ssize_t)view.size);
  for (size_t length = view.size; length-- > 0;) {
    CHECK(ftruncate(file, (off_t)length) == 0);
    CHECK(hermes_shm_attach(path) == NULL && errno == EINVAL);
  }
  close(file);
  shm_unlink(path);
}

/* Each field of the header, the control block and the first of each table, with each edge in it. */
static void check_edges(void) {
  const size_t begins[] = {0, HERMES_DIRECTORY_OFFSET, (size_t)((uint8_t *)view.control - view.base),
                           (size_t)((uint8_t *)view.extras - view.base), (size_t)((uint8_t *)view.modules - view.base),
                           (size_t)((uint8_t *)view.phases - view.base), (size_t)((uint8_t *)view.phase_list - view.base),
                           (size_t)((uint8_t *)view.deliveries - view.base), (size_t)((uint8_t *)view.runs - view.base),
                           (size_t)((uint8_t *)view.copies - view.base), (size_t)((uint8_t *)view.converts - view.base)};
  const size_t sizes[] = {64, 24, sizeof(hermes_control), 32, 256, 64, 12, 96, 24, 16, 64};
  for (size_t table = 0; table < sizeof begins / sizeof *begins; table++)
    for (size_t at = begins[table]; at < begins[table] + sizes[table]; at += 4)
      for (size_t edge = 0; edge < sizeof edges / sizeof *edges; edge++)
        for (size_t size = 4; size <= 8; size += 4) {
          memcpy(view.base, pristine, view.size);
          memcpy(view.base + at, &edges[edge], at + size <= view.size ? size : 4);
          hermes_client *client = hermes_shm_attach(small_name());
          if (client) look(client);
          hermes_client_close(client);
          be_module();
        }
  memcpy(view.base, pristine, view.size);
}

/* A file that is cut off while it is mapped: no signal ends who reads it, and nobody takes zeros for values. */
static void check_cut_off(void) {
  hermes_client *client = hermes_shm_attach(small_name());
  hermes_view other, node = view;
  CHECK(hermes_view_keep(&node) == 0);
  CHECK(client != NULL && hermes_view_open(&other, small_name()) == 0);
  uint32_t first = 0;
  uint64_t bits;
  CHECK(hermes_client_get_bits(client, 0, &bits) == 0);
  CHECK(ftruncate(other.descriptor, 0) == 0);
  CHECK(hermes_client_get_bits(client, 0, &bits) == ESHUTDOWN && strstr(hermes_last_error(), "cut off"));
  CHECK(hermes_client_state(client) == HERMES_STATE_ENDED);
  CHECK(hermes_client_sample(client, &first, 1, &bits, NULL, NULL, 1.0) == ESHUTDOWN);
  CHECK(hermes_client_set_bits(client, &first, &bits, 1) == ESHUTDOWN);
  CHECK(hermes_client_wait_frame(client, 5, 1.0) == ESHUTDOWN);
  uint32_t no = 0, phase;
  CHECK(hermes_barrier_await(&other, 0, 0, &no) == 0 && hermes_view_is_lost(&other));
  hermes_barrier_begin(&node, 1);
  CHECK(hermes_barrier_wait(&node, hermes_now() + 60000000000u, &phase) == HERMES_WAIT_BROKEN);
  CHECK(strstr(hermes_view_damage(&node), "cut off"));
  free(node.kept);
  free(node.parts);
  hermes_client_close(client);
  hermes_view_close(&other);
}

/* What a node finds out from its copies. */
static void check_damage(void) {
  hermes_view node = view;
  CHECK(hermes_view_keep(&node) == 0 && hermes_view_damage(&node) == NULL);
  struct {
    void *at;
    const char *what;
  } words[] = {
      {&view.header->signal_count, "its header"},      {&view.directory[5].flags, "its directory"},
      {(void *)(uintptr_t)(view.texts + 3), "its names"}, {&view.control->phases_offset, "its control block"},
      {&view.modules[1].divisor, "its modules"},       {&view.phases[1].module_count, "its phases"},
      {&view.phase_list[2], "its phases"},             {&view.extras[2].bits, "its signals' table"},
      {&view.deliveries[1].run_count, "its deliveries"}, {&view.copies[1].source, "its wires"},
      {&view.converts[1].gain, "its wires"},           {&view.control->generation, "the number of the frame at the barrier"},
      {&view.control->queue_head, "the queue of writes from outside"},
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    *(uint8_t *)words[i].at ^= 1;
    CHECK(strcmp(hermes_view_damage(&node), words[i].what) == 0);
    int found = i >= 11; /* words that change are held against frames, not bit by bit */
    for (int looks = 0; looks < 100 && !found; looks++) found = !hermes_view_next_is_sound(&node);
    CHECK(found);
    *(uint8_t *)words[i].at ^= 1;
    CHECK(hermes_view_damage(&node) == NULL);
  }
  free(node.kept);
  free(node.parts);
}

/* A tail that nobody wrote: nothing is applied, and nothing goes round for ever. */
static void check_queue(void) {
  const uint64_t wrong[] = {1ull << 40, UINT64_MAX, 17, 1};
  for (size_t i = 0; i < 4; i++) {
    memcpy(view.base, pristine, view.size);
    memset(&view.own, 0, sizeof view.own);
    for (uint32_t entry = 0; entry < 16; entry++) view.queue[entry].slot = HERMES_QUEUE_APPLIED;
    view.control->queue_tail = wrong[i];
    hermes_edge_apply_writes(&view);
    CHECK(view.own.broken_queue && memcmp(view.data, pristine + view.header->data_offset, SIGNALS * 8) == 0);
  }
  memcpy(view.base, pristine, view.size);
  memset(&view.own, 0, sizeof view.own);
}

int main(void) {
  make_segment();
  check_damage();
  check_queue();
  check_at_rest();
  check_while_open();
  check_each_length();
  check_edges();
  check_cut_off();
  small_segment_remove(&view);
  free(pristine);
  return touched ? 0 : 1;
}
