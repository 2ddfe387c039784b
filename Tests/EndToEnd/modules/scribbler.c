/* A module that writes over its simulation's segment, through a mapping of its own, as a wild pointer would. It counts its steps
 * in `count` and does what its config file says, one line "KEY VALUE" each:
 *
 *   frame N            in which step; 0 for none
 *   when CALL          in which call instead: init, stage, reset or terminate
 *   do WHAT            zero, ones, punch (a hole in the file), cut (its file, to SIZE bytes), word, or wild: a store far before its own
 *                      value in the mapping that libhermes has made, into the header of the segment
 *   field NAME         which word, of those below; or
 *   seed N             anything anywhere, drawn from this number
 *   value N            what is written
 *   size N             its bytes, 4 or 8; with cut what is left
 *   times N            how often, frame after frame (1)
 *
 * Where it wrote goes to the file `said`: the part of the segment, offset, size and value. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <hermes/module.h>
#include <hermes/segment.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t count;
static uint64_t at_frame, value, size = 8, seed, times = 1;
static char what[32], field[64], said[4096], when[16];
static uint8_t *base;
static size_t total;
static int file = -1;

static const struct {
  const char *name;
  size_t offset, size;
} words[] = {
#define CONTROL(field, size) {"control." #field, 1u << 20 | offsetof(hermes_control, field), size}
#define MODULE(field, size) {"module." #field, 2u << 20 | offsetof(hermes_module_slot, field), size}
#define PHASE(field, size) {"phase." #field, 3u << 20 | offsetof(hermes_phase, field), size}
    {"header.magic", 0, 4}, {"header.frame", 8, 8}, {"header.time", 16, 8}, {"header.signal_count", 24, 4},
    {"header.total_size", 32, 8}, {"header.control_offset", 40, 8}, {"header.data_offset", 48, 8},
    CONTROL(run, 8), CONTROL(rate_hz, 8), CONTROL(module_count, 4), CONTROL(phase_count, 4), CONTROL(modules_offset, 8),
    CONTROL(phases_offset, 8), CONTROL(phase_list_offset, 8), CONTROL(extras_offset, 8), CONTROL(deliveries_offset, 8),
    CONTROL(queue_offset, 8), CONTROL(queue_capacity, 4), CONTROL(state, 4), CONTROL(epoch, 4), CONTROL(node_wake, 4),
    CONTROL(node_sleeping, 4), CONTROL(node_turn, 4), CONTROL(generation, 4), CONTROL(completed, 4), CONTROL(fault, 4),
    CONTROL(current_frame, 8), CONTROL(gathers, 4), CONTROL(mirror_count, 4), CONTROL(guard_look, 4), CONTROL(spin_ns, 4),
    CONTROL(attention, 4), CONTROL(attention_sleeping, 4), CONTROL(snapshot_requested, 4), CONTROL(snapshot_served, 4),
    CONTROL(snapshot_sequence, 4), CONTROL(wait_target, 8), CONTROL(queue_head, 8), CONTROL(queue_tail, 8),
    MODULE(wake, 4), MODULE(sleeping, 4), MODULE(step, 4), MODULE(done, 4), MODULE(command, 4), MODULE(status, 4),
    MODULE(ready, 4), MODULE(begin_ns, 8), MODULE(end_ns, 8), MODULE(stepped, 4), MODULE(phase, 4), MODULE(divisor, 4),
    MODULE(kind, 4), MODULE(first_signal, 4), MODULE(signal_count, 4), MODULE(guard, 4), MODULE(condition, 4),
    PHASE(wake, 4), PHASE(sleepers, 4), PHASE(pending, 4), PHASE(flags, 4), PHASE(module_begin, 4), PHASE(module_count, 4),
    PHASE(released_ns, 8),
};

static hermes_control fixed; /* as it was when the simulation began */
static hermes_header header;

static uint64_t draw(uint64_t below) {
  uint64_t z = seed += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return below ? z % below : z;
}

static size_t place_of(const char *name) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strcmp(words[i].name, name) != 0) continue;
    size = words[i].size;
    size_t offset = words[i].offset & 0xFFFFF;
    switch (words[i].offset >> 20) {
    case 1: return header.control_offset + offset;
    case 2: return fixed.modules_offset + sizeof(hermes_module_slot) * draw(fixed.module_count) + offset;
    case 3: return fixed.phases_offset + sizeof(hermes_phase) * draw(fixed.phase_count) + offset;
    default: return offset;
    }
  }
  fprintf(stderr, "scribbler: no field %s\n", name);
  exit(1);
}

static const char *part_of(size_t offset) {
  uint64_t data_end = header.data_offset + 8 * ((uint64_t)header.signal_count + fixed.mirror_count);
  if (offset + size <= header.data_offset) return "head";
  if (offset < data_end) return "data";
  return offset >= fixed.stage_offset && offset < fixed.queue_offset ? "stage" : "rest";
}

/* Half of them among the barrier's words, where it hurts most. */
static void draw_word(size_t *offset) {
  static const uint64_t edges[] = {0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ull << 32, 1ull << 40, 1ull << 53, INT64_MAX, 1ull << 63, UINT64_MAX};
  if (draw(2)) {
    *offset = place_of(words[draw(sizeof words / sizeof *words)].name);
  } else {
    size = draw(2) ? 4 : 8;
    *offset = draw(4) ? draw(fixed.queue_offset) : draw(total);
    *offset = *offset / size * size;
  }
  value = draw(2) ? edges[draw(sizeof edges / sizeof *edges)] : draw(0);
}

static void scribble(void) {
  size_t offset = 0;
  FILE *out = fopen(said, "a");
  if (strcmp(what, "zero") == 0) memset(base, 0, total);
  else if (strcmp(what, "ones") == 0) memset(base, 0xFF, total);
  else if (strcmp(what, "punch") == 0) {
    if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)total) != 0) exit(1);
  } else if (strcmp(what, "cut") == 0) {
    if (ftruncate(file, (off_t)size) != 0) exit(1);
  } else if (strcmp(what, "wild") == 0) {
    memset((uint8_t *)hermes_resolve("count").slot - header.data_offset, 0, 64);
  } else {
    if (field[0]) offset = place_of(field);
    else draw_word(&offset);
    if (out) fprintf(out, "%s %zu %llu %llx\n", part_of(offset), offset, (unsigned long long)size, (unsigned long long)value);
    if (out) fclose(out);
    out = NULL;
    memcpy(base + offset, &value, size);
  }
  if (out) fclose(out);
}

static int in_call(const char *call) {
  if (strcmp(when, call) == 0) scribble();
  return 0;
}

static int init(const char *config, const char *shm) {
  FILE *in = fopen(config, "r");
  char key[32], text[4096];
  while (in && fscanf(in, "%31s %4095s", key, text) == 2) {
    if (strcmp(key, "frame") == 0) at_frame = strtoull(text, NULL, 0);
    if (strcmp(key, "when") == 0) snprintf(when, sizeof when, "%.15s", text);
    if (strcmp(key, "do") == 0) snprintf(what, sizeof what, "%.31s", text);
    if (strcmp(key, "field") == 0) snprintf(field, sizeof field, "%.63s", text);
    if (strcmp(key, "seed") == 0) seed = strtoull(text, NULL, 0);
    if (strcmp(key, "value") == 0) value = strtoull(text, NULL, 0);
    if (strcmp(key, "size") == 0) size = strtoull(text, NULL, 0);
    if (strcmp(key, "times") == 0) times = strtoull(text, NULL, 0);
  }
  if (in) fclose(in);
  snprintf(said, sizeof said, "%.4000s.said", config);
  file = shm_open(shm, O_RDWR, 0);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) return 1;
  total = (size_t)status.st_size;
  base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (base == MAP_FAILED) return 1;
  memcpy(&header, base, sizeof header);
  memcpy(&fixed, base + header.control_offset, sizeof fixed);
  return in_call("init");
}

static int stage(void) { return in_call("stage"); }

static void terminate(void) { in_call("terminate"); }

static int step(double dt) {
  (void)dt;
  count++;
  if (at_frame && hermes_frame() >= at_frame && hermes_frame() < at_frame + times) scribble();
  return 0;
}

static int reset(void) {
  count = 0;
  return in_call("reset");
}

hermes_module_t *hermes_module_create(void) {
  static hermes_module_t module = {.init = init, .stage = stage, .step = step, .reset = reset, .terminate = terminate};
  static const hermes_signal_t signal = {.name = "count", .type = HERMES_I64, .flags = HERMES_OUTPUT, .storage = &count};
  hermes_declare(&signal);
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
