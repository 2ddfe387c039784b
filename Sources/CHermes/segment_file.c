#include "platform.h"

#include "reason.h"
#include "segment_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

int hermes_segment_unlink(const char *name) { return shm_unlink(name) == 0 ? 0 : errno; }

int hermes_segment_owner_state(const char *name) {
  hermes_view view = {.descriptor = shm_open(name, O_RDWR | O_CLOEXEC, 0)};
  if (view.descriptor < 0) return errno == ENOENT ? -1 : 1;
  int lives = hermes_view_owner_lives(&view);
  close(view.descriptor);
  return lives;
}

int hermes_segment_create(hermes_view *view, const char *name, size_t size) {
  *view = (hermes_view){.descriptor = -1};
  int file = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0 && errno == EEXIST && hermes_segment_owner_state(name) == 0) {
    shm_unlink(name);
    file = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  }
  if (file < 0) {
    if (errno == EEXIST) return hermes_error(EEXIST, "the segment %s belongs to another process", name);
    return hermes_error(errno, "the segment %s can't be made: %s", name, hermes_reason(errno));
  }
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = HERMES_LOCK_OWNER, .l_len = 1};
  int code = fcntl(file, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
  /* Room is taken now: a page missing later would be a SIGBUS in the middle of a frame. */
  if (code == 0 && ftruncate(file, (off_t)size) != 0) code = errno;
  if (code == 0) code = posix_fallocate(file, 0, (off_t)size);
  void *base = MAP_FAILED;
  if (code == 0) {
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (base == MAP_FAILED) code = errno;
  }
  if (code) {
    shm_unlink(name);
    close(file);
    if (code == ENOSPC)
      return hermes_error(code, "/dev/shm has no room for the %zu bytes of the segment %s; free some or enlarge it", size, name);
    return hermes_error(code, "the segment %s can't be made: %s", name, hermes_reason(code));
  }
  view->base = base;
  view->mapping = hermes_mapping_watch(base, size);
  view->size = size;
  view->descriptor = file;
  return 0;
}
