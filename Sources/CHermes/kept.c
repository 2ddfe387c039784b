/* Copies of what never changes in a segment, in memory that nobody else can write. */
#include "platform.h"

#include "view.h"

#include <stdlib.h>
#include <string.h>

/* From `phase` to `guard`, and from `flags` to `module_count`. */
enum { MODULE_PLAN = 64, MODULE_PLAN_SIZE = 36, PHASE_PLAN = 12, PHASE_PLAN_SIZE = 12, HEADER_REST = 24, CONTROL_FIXED = 120 };

_Static_assert(offsetof(hermes_module_slot, phase) == MODULE_PLAN, "the plan of a module begins there");
_Static_assert(offsetof(hermes_module_slot, condition) == MODULE_PLAN + MODULE_PLAN_SIZE, "and ends there");
_Static_assert(offsetof(hermes_phase, flags) == PHASE_PLAN, "the plan of a phase begins there");
_Static_assert(offsetof(hermes_phase, released_ns) == PHASE_PLAN + PHASE_PLAN_SIZE, "and ends there");
_Static_assert(offsetof(hermes_header, signal_count) == HEADER_REST, "what lies before is the frame and its time");
_Static_assert(offsetof(hermes_control, state) == CONTROL_FIXED, "what lies behind changes");

/* ---- Signals. ---------------------------------------------------------------------------------------------- */

static int signal_is_wrong(const hermes_view *view, uint32_t index) {
  const hermes_directory_entry *entry = &view->directory[index];
  const hermes_signal_extra *extra = &view->extras[index];
  uint64_t place = view->texts_end + 8 * (uint64_t)index;
  return !strchr(hermes_view_text(view, entry->name_offset), '.') || entry->data_offset != place || entry->data_type > 4 ||
         entry->flags > (HERMES_SIGNAL_WRITABLE | HERMES_SIGNAL_PUBLISHED) || entry->zero != 0 ||
         (view->module_count && extra->module >= view->module_count) ||
         extra->bits > (HERMES_EXTRA_WIRED | HERMES_EXTRA_OUTPUT | HERMES_EXTRA_INPUT) ||
         (extra->unit_offset && (extra->unit_offset < view->texts_begin || extra->unit_offset >= view->texts_end)) ||
         (extra->description_offset &&
          (extra->description_offset < view->texts_begin || extra->description_offset >= view->texts_end));
}

int hermes_view_keep_signals(hermes_view *view, const char *name) {
  size_t directory = view->signal_count * sizeof *view->directory, extras = view->signal_count * sizeof *view->extras;
  size_t modules = view->module_count * sizeof *view->module_plans, texts = view->texts_end - view->texts_begin;
  uint8_t *kept = malloc(modules + extras + directory + texts + 1);
  if (!kept) return hermes_error(ENOMEM, "out of memory");
  memset(kept, 0, modules);
  for (uint32_t m = 0; m < view->module_count; m++)
    memcpy(kept + m * sizeof *view->module_plans + MODULE_PLAN, (uint8_t *)&view->module_plans[m] + MODULE_PLAN, MODULE_PLAN_SIZE);
  view->module_plans = (hermes_module_slot *)(void *)kept;
  memcpy(kept + modules, view->extras, extras);
  view->extras = (hermes_signal_extra *)(void *)(kept + modules);
  memcpy(kept + modules + extras, view->directory, directory);
  view->directory = (hermes_directory_entry *)(void *)(kept + modules + extras);
  memcpy(kept + modules + extras + directory, view->texts, texts);
  view->texts = (const char *)kept + modules + extras + directory;
  kept[modules + extras + directory + texts] = 0;
  view->kept = kept;
  for (uint32_t i = 0; i < view->signal_count; i++)
    if (signal_is_wrong(view, i))
      return hermes_error(EINVAL, "signal %u in the directory of %s is wrong: something wrote over the segment", i, name);
  return 0;
}

/* ---- All of it, for the node. ------------------------------------------------------------------------------ */

/* A part of the segment that never changes, and where its copy lies. */
typedef struct hermes_fixed_part {
  const char *name;
  uint64_t begin, size;
} fixed_part;

static uint64_t offset_of(const hermes_view *view, const void *part) { return (uint64_t)((const uint8_t *)part - view->base); }

enum { FIXED_PARTS = 11 };

/* Offsets are those of the copy, which has everything where the segment has it. */
static void list_parts(const hermes_view *view, const uint8_t *image, fixed_part parts[FIXED_PARTS]) {
  const hermes_control *control = (const hermes_control *)(const void *)(image + offset_of(view, view->control));
  uint64_t deliveries = ((uint64_t)view->phase_count + 1) * (view->gathers ? 2 : 1);
  uint64_t directory = view->texts_begin - HERMES_DIRECTORY_OFFSET;
  const fixed_part all[FIXED_PARTS] = {
      {"its header", 0, 8},
      {"its header", HEADER_REST, HERMES_DIRECTORY_OFFSET - HEADER_REST},
      {"its directory", HERMES_DIRECTORY_OFFSET, directory},
      {"its names", view->texts_begin, view->texts_end - view->texts_begin},
      {"its control block", offset_of(view, view->control), CONTROL_FIXED},
      {"its phases", control->phase_list_offset, view->module_count * sizeof(uint32_t)},
      {"its signals' table", control->extras_offset, view->signal_count * sizeof(hermes_signal_extra)},
      {"its deliveries", control->deliveries_offset, deliveries * sizeof(hermes_delivery)},
      {"its wires", control->runs_offset, control->copies_offset - control->runs_offset},
      {"its wires", control->copies_offset, control->converts_offset - control->copies_offset},
      {"its wires", control->converts_offset, control->stage_offset - control->converts_offset},
  };
  memcpy(parts, all, sizeof all);
}

int hermes_view_keep(hermes_view *view) {
  uint8_t *image = calloc(1, view->size);
  if (!image) return hermes_error(ENOMEM, "out of memory");
  uint64_t control_at = offset_of(view, view->control);
  memcpy(image + control_at, view->control, CONTROL_FIXED);
  fixed_part *parts = view->parts = calloc(FIXED_PARTS, sizeof *parts);
  view->kept = image;
  if (!parts) return hermes_error(ENOMEM, "out of memory");
  list_parts(view, image, parts);
  for (int i = 0; i < FIXED_PARTS; i++) memcpy(image + parts[i].begin, view->base + parts[i].begin, parts[i].size);
  const hermes_control *control = (const hermes_control *)(const void *)(image + control_at);
  memcpy(image + control->modules_offset, view->modules, view->module_count * sizeof *view->modules);
  memcpy(image + control->phases_offset, view->phases, view->phase_count * sizeof *view->phases);
  view->directory = (hermes_directory_entry *)(void *)(image + HERMES_DIRECTORY_OFFSET);
  view->texts = (const char *)image + view->texts_begin;
  view->extras = (hermes_signal_extra *)(void *)(image + control->extras_offset);
  view->module_plans = (hermes_module_slot *)(void *)(image + control->modules_offset);
  view->phase_plans = (hermes_phase *)(void *)(image + control->phases_offset);
  view->phase_list = (uint32_t *)(void *)(image + control->phase_list_offset);
  view->deliveries = (hermes_delivery *)(void *)(image + control->deliveries_offset);
  view->runs = (hermes_wire_run *)(void *)(image + control->runs_offset);
  view->copies = (hermes_wire_copy *)(void *)(image + control->copies_offset);
  view->converts = (hermes_wire_convert *)(void *)(image + control->converts_offset);
  view->own.state = HERMES_STATE_STAGING;
  return 0;
}

static int part_is_sound(const hermes_view *view, const fixed_part *part, uint64_t at, uint64_t size) {
  return memcmp(view->base + part->begin + at, view->kept + part->begin + at, size) == 0;
}

static int module_is_sound(const hermes_view *view, uint64_t m) {
  return memcmp((uint8_t *)&view->modules[m] + MODULE_PLAN, (uint8_t *)&view->module_plans[m] + MODULE_PLAN, MODULE_PLAN_SIZE) == 0;
}

static int phase_is_sound(const hermes_view *view, uint64_t p) {
  return memcmp((uint8_t *)&view->phases[p] + PHASE_PLAN, (uint8_t *)&view->phase_plans[p] + PHASE_PLAN, PHASE_PLAN_SIZE) == 0;
}

int hermes_view_next_is_sound(hermes_view *view) {
  enum { BYTES = 512, SLOTS = 4 };
  if (!view->parts) return 1;
  uint32_t part = view->own.part;
  uint64_t at = view->own.at, end, next;
  int is_sound = 1;
  if (part < FIXED_PARTS) {
    end = view->parts[part].size;
    next = end - at < BYTES ? end : at + BYTES;
    is_sound = part_is_sound(view, &view->parts[part], at, next - at);
  } else {
    end = part == FIXED_PARTS ? view->module_count : view->phase_count;
    next = end - at < SLOTS ? end : at + SLOTS;
    for (; at < next && is_sound; at++) is_sound = part == FIXED_PARTS ? module_is_sound(view, at) : phase_is_sound(view, at);
  }
  view->own.at = next == end ? 0 : next;
  if (next == end) view->own.part = part > FIXED_PARTS ? 0 : part + 1;
  return is_sound;
}

const char *hermes_view_damage(const hermes_view *view) {
  static const char cut_off[] = "its end, for its file was cut off";
  if (!view->parts) return NULL;
  const char *damage = NULL;
  for (int i = 0; i < FIXED_PARTS && !damage; i++)
    if (!part_is_sound(view, &view->parts[i], 0, view->parts[i].size)) damage = view->parts[i].name;
  for (uint32_t m = 0; m < view->module_count && !damage; m++)
    if (!module_is_sound(view, m)) damage = "its modules";
  for (uint32_t p = 0; p < view->phase_count && !damage; p++)
    if (!phase_is_sound(view, p)) damage = "its phases";
  const hermes_control *control = view->control;
  if (!damage && (hermes_load(&control->generation) != view->own.generation ||
                  hermes_load64(&control->current_frame) != view->own.current_frame))
    damage = "the number of the frame at the barrier";
  if (!damage && (view->own.broken_queue || hermes_load64(&control->queue_head) != view->own.queue_head))
    damage = "the queue of writes from outside";
  if (!damage && view->own.broken_words) damage = "the commands of a module";
  /* Looking may be what finds out. */
  return hermes_view_is_lost(view) ? cut_off : damage;
}
