#include "platform.h"

#include "reason.h"
#include "view.h"

#include <fcntl.h>
#include <hermes/module.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static _Thread_local char last_error[512];

const char *hermes_last_error(void) { return last_error; }

int hermes_error(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  /* A module may have called setlocale; numbers stay as they are written everywhere else. */
  locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = uselocale(plain);
  vsnprintf(last_error, sizeof last_error, format, arguments);
  uselocale(before);
  if (plain) freelocale(plain);
  va_end(arguments);
  errno = code;
  return code;
}

/* ---- What a view depends on, checked. -------------------------------------------------------------------- */

enum { MOST_PARTS = 14 };

/* Parts of the segment that must lie inside it, each on its own. */
typedef struct {
  const hermes_view *view;
  uint64_t limit; /* bytes of the segment */
  uint64_t begin[MOST_PARTS], end[MOST_PARTS];
  int count, wrong;
} parts;

static void *part(parts *all, uint64_t offset, uint64_t count, uint64_t size) {
  if (offset > all->limit || count > (all->limit - offset) / size || offset % 8 != 0) {
    all->wrong = 1;
    return NULL;
  }
  uint64_t end = offset + count * size;
  for (int i = 0; i < all->count; i++)
    if (count && all->begin[i] < end && offset < all->end[i]) all->wrong = 1;
  if (count) {
    all->begin[all->count] = offset;
    all->end[all->count++] = end;
  }
  return all->view->base + offset;
}

/* How many items of `size` bytes fit between an offset and the next part, for tables whose length nobody states. */
static uint64_t room(const parts *all, uint64_t offset, const uint64_t *others, int count, uint64_t size) {
  if (offset > all->limit) return 0;
  uint64_t end = all->limit;
  for (int i = 0; i < count; i++)
    if (others[i] > offset && others[i] < end) end = others[i];
  for (int i = 0; i < all->count; i++)
    if (all->begin[i] > offset && all->begin[i] < end) end = all->begin[i];
  return (end - offset) / size;
}

/* Phases and modules fit together. */
static const char *plan_fault(const hermes_view *view) {
  for (uint32_t p = 0; p < view->phase_count; p++) {
    const hermes_phase *phase = &view->phase_plans[p];
    if (phase->module_begin > view->module_count || phase->module_count > view->module_count - phase->module_begin ||
        phase->flags > (HERMES_PHASE_BROADCAST | HERMES_PHASE_NODE_WORK | HERMES_PHASE_EXCHANGE))
      return "its phases are wrong";
    for (uint32_t i = 0; i < phase->module_count; i++) {
      uint32_t module = view->phase_list[phase->module_begin + i];
      if (module >= view->module_count || view->module_plans[module].phase != p) return "its phases are wrong";
    }
  }
  for (uint32_t m = 0; m < view->module_count; m++) {
    const hermes_module_slot *module = &view->module_plans[m];
    if (module->kind > HERMES_KIND_FREE || module->guard > HERMES_GUARD_RESTART || module->divisor == 0 || !isfinite(module->dt) ||
        (module->kind != HERMES_KIND_FREE && module->phase >= view->phase_count) ||
        (uint64_t)module->first_signal + module->signal_count > view->signal_count)
      return "its modules are wrong";
  }
  return NULL;
}

const char *hermes_view_fault(hermes_view *view) {
  if (view->size < sizeof(hermes_header)) return "it is too short";
  hermes_header *header = view->header = (hermes_header *)(void *)view->base;
  if (header->magic != HERMES_SEGMENT_MAGIC) return "it does not begin as one";
  if (header->version != HERMES_SEGMENT_VERSION || header->extension_version != HERMES_EXTENSION_VERSION)
    return "it is of another version";
  /* Each number is read once: whoever writes over it from here on changes nothing. */
  uint64_t total = header->total_size, data_at = header->data_offset, control_at = header->control_offset;
  uint32_t signals = header->signal_count;
  if (total > view->size) return "its file is shorter than it should be";
  parts all = {.view = view, .limit = total};
  view->texts_begin = HERMES_DIRECTORY_OFFSET + (uint64_t)signals * sizeof(hermes_directory_entry);
  if (data_at < view->texts_begin || data_at > total) return "its directory is wrong";
  part(&all, 0, data_at, 1);
  view->directory = (hermes_directory_entry *)(void *)(view->base + HERMES_DIRECTORY_OFFSET);
  view->texts = (const char *)view->base + view->texts_begin;
  view->texts_end = data_at;
  view->signal_count = signals;
  hermes_control *control = view->control = part(&all, control_at, 1, sizeof(hermes_control));
  if (all.wrong) return "its control block is wrong";

  uint32_t modules = view->module_count = control->module_count, phases = view->phase_count = control->phase_count;
  view->gathers = control->gathers;
  view->slot_count = (uint64_t)signals + control->mirror_count;
  view->queue_capacity = control->queue_capacity;
  view->run = control->run;
  view->rate_hz = control->rate_hz;
  if (view->gathers > 1 || !(view->rate_hz > 0) || !isfinite(view->rate_hz) || view->queue_capacity == 0 ||
      (view->queue_capacity & (view->queue_capacity - 1)) != 0)
    return "its control block is wrong";
  view->data = part(&all, data_at, view->slot_count, 8);
  view->modules = view->module_plans = part(&all, control->modules_offset, modules, sizeof(hermes_module_slot));
  view->phases = view->phase_plans = part(&all, control->phases_offset, phases, sizeof(hermes_phase));
  view->phase_list = part(&all, control->phase_list_offset, modules, sizeof(uint32_t));
  view->extras = part(&all, control->extras_offset, signals, sizeof(hermes_signal_extra));
  uint64_t deliveries = ((uint64_t)phases + 1) * (view->gathers ? 2 : 1);
  view->deliveries = part(&all, control->deliveries_offset, deliveries, sizeof(hermes_delivery));
  view->queue = part(&all, control->queue_offset, view->queue_capacity, sizeof(hermes_queue_entry));
  view->snapshot = part(&all, control->snapshot_offset, signals, 8);
  uint64_t open[4] = {control->runs_offset, control->copies_offset, control->converts_offset, control->stage_offset};
  view->run_limit = room(&all, open[0], open, 4, sizeof(hermes_wire_run));
  view->copy_limit = room(&all, open[1], open, 4, sizeof(hermes_wire_copy));
  view->convert_limit = room(&all, open[2], open, 4, sizeof(hermes_wire_convert));
  view->stage_limit = room(&all, open[3], open, 4, 8);
  view->runs = part(&all, open[0], 0, sizeof(hermes_wire_run));
  view->copies = part(&all, open[1], 0, sizeof(hermes_wire_copy));
  view->converts = part(&all, open[2], 0, sizeof(hermes_wire_convert));
  view->stage = part(&all, open[3], 0, 8);
  for (int i = 0; i < all.count; i++)
    for (int j = 0; j < 4; j++)
      if (open[j] > all.begin[i] && open[j] < all.end[i]) all.wrong = 1;
  if (all.wrong) return "its tables lie across each other or beyond its end";
  return plan_fault(view);
}

int hermes_view_locate(hermes_view *view) { return hermes_view_fault(view) ? EINVAL : 0; }

/* ---- A segment's file. ------------------------------------------------------------------------------------- */

/* What only the node writes: a module that stores there by mistake ends where it does so. Whole pages of it. */
static void protect(const hermes_view *view) {
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  const uint8_t *const ranges[3][2] = {
      {view->base, (const uint8_t *)view->data},
      {(const uint8_t *)view->phase_list, (const uint8_t *)view->stage},
      {(const uint8_t *)view->snapshot, view->base + view->size},
  };
  for (int i = 0; i < 3; i++) {
    uint64_t begin = (uint64_t)(ranges[i][0] - view->base), end = (uint64_t)(ranges[i][1] - view->base);
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (ranges[i][0] < ranges[i][1] && begin < end) mprotect(view->base + begin, end - begin, PROT_READ);
  }
}

/* Who makes a segment locks its file first, then gives it its size, then writes the header. */
static int is_being_made(const hermes_view *view) {
  for (int looks = 0; looks < 5; looks++) {
    if (hermes_view_owner_lives(view)) return 1;
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
  return 0;
}

int hermes_view_open(hermes_view *view, const char *name) {
  *view = (hermes_view){.descriptor = -1};
  char path[256];
  if (snprintf(path, sizeof path, "%s%s", name[0] == '/' ? "" : "/", name) >= (int)sizeof path)
    return hermes_error(ENOENT, "there is no segment of so long a name");
  view->descriptor = shm_open(path, O_RDWR | O_CLOEXEC, 0);
  if (view->descriptor < 0) {
    int code = errno;
    if (code == ENOENT) return hermes_error(code, "no simulation runs here with the segment %s", path);
    return hermes_error(code, "the segment %s can't be opened: %s", path, hermes_reason(code));
  }
  struct stat status = {.st_size = -1};
  int being_made = 0;
  const char *fault = "it is too short";
  if (fstat(view->descriptor, &status) == 0 && status.st_size >= (off_t)sizeof(hermes_header)) {
    view->size = (size_t)status.st_size;
    void *base = mmap(NULL, view->size, PROT_READ | PROT_WRITE, MAP_SHARED, view->descriptor, 0);
    if (base != MAP_FAILED) {
      view->base = base;
      view->mapping = hermes_mapping_watch(base, view->size);
      being_made = ((const hermes_header *)base)->magic == 0 && is_being_made(view);
      fault = hermes_view_fault(view);
    } else {
      int code = errno;
      hermes_view_close(view);
      return hermes_error(code, "the segment %s can't be mapped: %s", path, hermes_reason(code));
    }
    if (!fault && hermes_view_is_lost(view)) fault = "its file is shorter than it should be";
    if (!fault) {
      protect(view);
      return 0;
    }
  }
  being_made = being_made || (status.st_size == 0 && is_being_made(view));
  hermes_view_close(view);
  if (being_made)
    return hermes_error(EAGAIN, "the simulation with the segment %s is still staging; try again in a moment", path);
  return hermes_error(EINVAL,
                      "%s is not a whole segment of version %u.%u: %s. Either this program was built with the libhermes of "
                      "another Hermes than the one that runs it, or something wrote over the segment",
                      path, HERMES_SEGMENT_VERSION, HERMES_EXTENSION_VERSION, fault);
}

void hermes_view_close(hermes_view *view) {
  hermes_mapping_forget(view->mapping);
  if (view->base) munmap(view->base, view->size);
  if (view->descriptor >= 0) close(view->descriptor);
  free(view->kept);
  free(view->parts);
  *view = (hermes_view){.descriptor = -1};
}

int hermes_view_owner_lives(const hermes_view *view) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = HERMES_LOCK_OWNER, .l_len = 1};
  if (fcntl(view->descriptor, F_OFD_GETLK, &lock) != 0) return 0;
  return lock.l_type != F_UNLCK;
}

const char *hermes_view_text(const hermes_view *view, uint32_t offset) {
  if (offset < view->texts_begin || offset >= view->texts_end) return "";
  const char *text = view->texts + (offset - view->texts_begin);
  return memchr(text, 0, view->texts_end - offset) ? text : "";
}
