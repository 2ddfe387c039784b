#include "platform.h"

#include "reason.h"
#include "view.h"

#include <fcntl.h>
#include <hermes/module.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
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

/* A table of `count` items of `size` bytes at `offset`, or NULL when it leaves the segment. */
static void *table(const hermes_view *view, uint64_t offset, uint64_t count, uint64_t size) {
  if (offset > view->size || count > (view->size - offset) / size || offset % 8 != 0) return NULL;
  return view->base + offset;
}

int hermes_view_locate(hermes_view *view) {
  if (view->size < sizeof(hermes_header)) return EINVAL;
  hermes_header *header = view->header = (hermes_header *)(void *)view->base;
  if (header->magic != HERMES_SEGMENT_MAGIC || header->version != HERMES_SEGMENT_VERSION ||
      header->extension_version != HERMES_EXTENSION_VERSION || header->total_size > view->size)
    return EINVAL;
  uint64_t signals = header->signal_count;
  view->directory = table(view, HERMES_DIRECTORY_OFFSET, signals, sizeof(hermes_directory_entry));
  hermes_control *control = view->control = table(view, header->control_offset, 1, sizeof(hermes_control));
  if (!view->directory || !control) return EINVAL;
  view->data = table(view, header->data_offset, signals + control->mirror_count, 8);
  if (!view->data) return EINVAL;
  view->modules = table(view, control->modules_offset, control->module_count, sizeof(hermes_module_slot));
  view->phases = table(view, control->phases_offset, control->phase_count, sizeof(hermes_phase));
  view->phase_list = table(view, control->phase_list_offset, control->module_count, sizeof(uint32_t));
  view->extras = table(view, control->extras_offset, signals, sizeof(hermes_signal_extra));
  uint64_t deliveries = ((uint64_t)control->phase_count + 1) * (control->gathers ? 2 : 1);
  view->deliveries = table(view, control->deliveries_offset, deliveries, sizeof(hermes_delivery));
  view->runs = table(view, control->runs_offset, 0, sizeof(hermes_wire_run));
  view->copies = table(view, control->copies_offset, 0, sizeof(hermes_wire_copy));
  view->converts = table(view, control->converts_offset, 0, sizeof(hermes_wire_convert));
  view->stage = table(view, control->stage_offset, 0, 8);
  view->queue = table(view, control->queue_offset, control->queue_capacity, sizeof(hermes_queue_entry));
  view->snapshot = table(view, control->snapshot_offset, signals, 8);
  if (!view->modules || !view->phases || !view->phase_list || !view->extras || !view->deliveries || !view->runs ||
      !view->copies || !view->converts || !view->stage || !view->queue || !view->snapshot)
    return EINVAL;
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
  int made = 1; /* its owner writes the header last of all */
  if (fstat(view->descriptor, &status) == 0 && status.st_size >= (off_t)sizeof(hermes_header)) {
    view->size = (size_t)status.st_size;
    void *base = mmap(NULL, view->size, PROT_READ | PROT_WRITE, MAP_SHARED, view->descriptor, 0);
    if (base != MAP_FAILED) {
      view->base = base;
      made = ((const hermes_header *)base)->magic != 0;
      if (made && hermes_view_locate(view) == 0) return 0;
    } else {
      int code = errno;
      hermes_view_close(view);
      return hermes_error(code, "the segment %s can't be mapped: %s", path, hermes_reason(code));
    }
  }
  hermes_view_close(view);
  if (!made || status.st_size == 0)
    return hermes_error(EAGAIN, "the simulation with the segment %s is still staging; try again in a moment", path);
  return hermes_error(EINVAL, "%s is not a segment of version %u.%u; build this module with the libhermes of the Hermes that runs it",
                      path, HERMES_SEGMENT_VERSION, HERMES_EXTENSION_VERSION);
}

void hermes_view_close(hermes_view *view) {
  if (view->base) munmap(view->base, view->size);
  if (view->descriptor >= 0) close(view->descriptor);
  *view = (hermes_view){.descriptor = -1};
}

int hermes_view_owner_lives(const hermes_view *view) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = HERMES_LOCK_OWNER, .l_len = 1};
  if (fcntl(view->descriptor, F_OFD_GETLK, &lock) != 0) return 0;
  return lock.l_type != F_UNLCK;
}
