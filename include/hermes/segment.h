/* hermes/segment.h: the bytes of a segment, version 1, little-endian.
 *
 *   0          header, 64 bytes
 *   64         directory, 12 bytes a signal
 *   ..         string table: qualified names, each ended by a zero byte
 *   ..(64)     data, 8 bytes a signal, in directory order
 *   ..(64)     control block and its tables: Hermes's own, described below and in docs/segment.md
 *
 * A reader needs only the first four. Offsets count from the start of the segment. Fields marked (atomic) are
 * read and written with atomic operations by several processes; (futex) ones are also slept on.
 */
#ifndef HERMES_SEGMENT_H
#define HERMES_SEGMENT_H

#include <stdint.h>

#define HERMES_SEGMENT_MAGIC 0x4845524Du
#define HERMES_SEGMENT_VERSION 1u
#define HERMES_EXTENSION_VERSION 4u

#define HERMES_DIRECTORY_OFFSET 64u
#define HERMES_SIGNAL_WRITABLE 1u
#define HERMES_SIGNAL_PUBLISHED 2u

typedef struct hermes_header {
  uint32_t magic;             /*  0 */
  uint32_t version;           /*  4 */
  uint64_t frame;             /*  8 (atomic, futex on its low half) stored last, with release order */
  double time;                /* 16 seconds */
  uint32_t signal_count;      /* 24 */
  uint32_t extension_version; /* 28 of everything behind the data */
  uint64_t total_size;        /* 32 bytes */
  uint64_t control_offset;    /* 40 */
  uint64_t data_offset;       /* 48 */
  uint64_t reserved;          /* 56 */
} hermes_header;

/* Twelve bytes on four-byte alignment, so a directory is a plain array. */
typedef struct hermes_directory_entry {
  uint32_t name_offset;
  uint32_t data_offset;
  uint8_t data_type; /* hermes_type_t */
  uint8_t flags;     /* HERMES_SIGNAL_... */
  uint16_t zero;
} hermes_directory_entry;

/* ---- Behind the data. ---------------------------------------------------------------------------------- */

/* What a simulation is doing; in hermes_control.state. */
enum { HERMES_STATE_STAGING = 1, HERMES_STATE_RUNNING = 2, HERMES_STATE_PAUSED = 3, HERMES_STATE_ENDED = 4 };

/* What a signal is besides its directory entry; one a signal, in directory order. */
typedef struct hermes_signal_extra {
  uint32_t module;             /* index into the module table */
  uint32_t bits;               /* HERMES_EXTRA_... */
  uint32_t unit_offset;        /* a zero-ended string, 0 for none */
  uint32_t description_offset; /* a zero-ended string, 0 for none */
} hermes_signal_extra;
enum { HERMES_EXTRA_WIRED = 1, HERMES_EXTRA_OUTPUT = 2, HERMES_EXTRA_INPUT = 4 };

enum { HERMES_KIND_PROCESS = 0, HERMES_KIND_INPROC = 1, HERMES_KIND_FREE = 2 /* a script outside the barrier */ };

/* What happens when a module fails: the run ends; it is not stepped any more and its outputs stay; its process is started
 * again. A process with one of the last two is guarded: the node, not the module, counts it out of its phase. */
enum { HERMES_GUARD_NONE = 0, HERMES_GUARD_HOLD = 1, HERMES_GUARD_RESTART = 2 };
enum { HERMES_CONDITION_SOUND = 0, HERMES_CONDITION_HELD = 1, HERMES_CONDITION_RESTARTING = 2 };

/* One a module, 128 bytes: two cache lines, the busy words on the first. */
typedef struct hermes_module_slot {
  uint32_t wake;     /*  0 (atomic, futex) grows for a step or a command; unused when its phase broadcasts */
  uint32_t sleeping; /*  4 (atomic) 1 while the module sleeps on wake */
  uint32_t step;     /*  8 (atomic) generation asked for */
  uint32_t done;     /* 12 (atomic) generation completed */
  uint32_t command;  /* 16 (atomic) count of FIFO commands sent since staging */
  int32_t status;    /* 20 (atomic) what the last step returned */
  uint32_t ready;    /* 24 (atomic) 1 once staged */
  uint32_t pid;      /* 28 (atomic) 0 for inproc */
  uint64_t begin_ns; /* 32 (atomic) CLOCK_MONOTONIC when its last step began, */
  uint64_t end_ns;   /* 40 (atomic) and when that had ended; before begin_ns while it steps */
  uint32_t stepped;  /* 48 (atomic) generation of its last step that ended, stored before its phase hears of it */
  uint8_t busy_pad[12];
  uint32_t phase;        /* 64 */
  uint32_t divisor;      /* 68 steps in frames 1, 1 + divisor, ... */
  double dt;             /* 72 seconds, divisor / rate */
  uint32_t kind;         /* 80 HERMES_KIND_... */
  uint32_t first_signal; /* 84 its signals are neighbours in the directory */
  uint32_t signal_count; /* 88 */
  uint32_t name_offset;  /* 92 */
  uint32_t guard;        /* 96 HERMES_GUARD_... */
  uint32_t condition;    /* 100 (atomic) HERMES_CONDITION_... */
  uint32_t restarts;     /* 104 (atomic) how often its process was started again */
  uint32_t zero;         /* 108 */
  uint64_t error_frame;  /* 112 (atomic) the frame in which it failed last, 0 for none */
  uint8_t pad[8];
} hermes_module_slot;

enum { HERMES_PHASE_BROADCAST = 1, HERMES_PHASE_NODE_WORK = 2, HERMES_PHASE_EXCHANGE = 4 /* with other hosts, at its end */ };

/* One a phase, 64 bytes. */
typedef struct hermes_phase {
  uint32_t wake;         /*  0 (atomic, futex) for broadcast phases */
  uint32_t sleepers;     /*  4 (atomic) modules asleep on wake */
  uint32_t pending;      /*  8 (atomic) modules, and the node where it has work or guards modules, not yet done */
  uint32_t flags;        /* 12 HERMES_PHASE_... */
  uint32_t module_begin; /* 16 into the phase-module list */
  uint32_t module_count; /* 20 */
  uint64_t released_ns;  /* 24 (atomic) CLOCK_MONOTONIC of the last release */
  uint8_t pad[32];
} hermes_phase;

/* Wires delivered together: one delivery a phase, then one for the start. Where other hosts get values from this one,
 * as many follow that copy them out, each before the delivery it stands beside. Sources and destinations are slots
 * (indices into the data); beyond the signals lie the mirrors: values of other hosts, then values for them. */
typedef struct hermes_delivery {
  uint32_t run_begin, run_count;         /* neighbours to neighbours, bit for bit */
  uint32_t copy_begin, copy_count;       /* single slots, bit for bit */
  uint32_t convert_begin, convert_count; /* another type, a gain or an offset */
  uint32_t staged; /* 1: a destination is also a source here, so all are read into the stage before any is written */
  uint32_t zero;
} hermes_delivery;
typedef struct hermes_wire_run {
  uint32_t source, destination, count;
} hermes_wire_run;
typedef struct hermes_wire_copy {
  uint32_t source, destination;
} hermes_wire_copy;
typedef struct hermes_wire_convert {
  uint32_t source, destination;
  uint8_t source_type, destination_type, zero[6];
  double gain, offset;
} hermes_wire_convert;

/* A write from outside. `more` is 1 on all but the last of a call. */
typedef struct hermes_queue_entry {
  uint32_t slot, more;
  uint64_t bits;
} hermes_queue_entry;
#define HERMES_QUEUE_APPLIED UINT32_MAX /* in `slot`, once the node has taken it */

typedef struct hermes_control {
  /* Fixed once made. */
  uint64_t run;                 /*   0 this run's number */
  double rate_hz;               /*   8 */
  uint32_t module_count;        /*  16 */
  uint32_t phase_count;         /*  20 */
  uint64_t modules_offset;      /*  24 hermes_module_slot[module_count] */
  uint64_t phases_offset;       /*  32 hermes_phase[phase_count] */
  uint64_t phase_list_offset;   /*  40 uint32_t module indices */
  uint64_t extras_offset;       /*  48 hermes_signal_extra[signal_count] */
  uint64_t deliveries_offset;   /*  56 hermes_delivery[phase_count + 1], twice with gathers */
  uint64_t runs_offset;         /*  64 */
  uint64_t copies_offset;       /*  72 */
  uint64_t converts_offset;     /*  80 */
  uint64_t stage_offset;        /*  88 uint64_t[longest delivery] */
  uint64_t queue_offset;        /*  96 hermes_queue_entry[queue_capacity] */
  uint64_t snapshot_offset;     /* 104 uint64_t[signal_count] */
  uint32_t queue_capacity;      /* 112 a power of two */
  uint32_t owner;               /* 116 pid of the node, for messages; its life is told by its lock */

  uint32_t state;               /* 120 (atomic, futex) HERMES_STATE_... */
  uint32_t epoch;               /* 124 (atomic) resets so far */

  /* The barrier, a cache line. */
  uint32_t node_wake;           /* 128 (atomic, futex) grows when the node should look */
  uint32_t node_sleeping;       /* 132 (atomic) */
  uint32_t node_turn;           /* 136 (atomic) 1 + the phase that waits for the node's own work, 0 for none; with
                                   HERMES_TURN_EXCHANGE when its modules are done and other hosts are to be heard */
  uint32_t generation;          /* 140 (atomic) of the frame under way */
  uint32_t completed;           /* 144 (atomic) generation of the last frame whose phases are all done */
  uint32_t fault;               /* 148 (atomic) 1: a step failed or a module is gone; nothing more is released */
  uint64_t current_frame;       /* 152 (atomic) the frame under way */
  uint32_t gathers;             /* 160 1: deliveries for other hosts follow behind the others */
  uint32_t mirror_count;        /* 164 slots behind the signals, without names */
  uint32_t guard_look;          /* 168 (atomic) 1: a guarded module has made its step or is gone, the node is to look */
  uint32_t spin_ns;             /* 172 (atomic) how long a waiter may look before it sleeps; 0: not at all */
  uint8_t barrier_pad[16];

  /* Asked from outside, looked at once a frame edge: a cache line. */
  uint32_t attention;           /* 192 (atomic, futex) grows when something below or a command waits */
  uint32_t attention_sleeping;  /* 196 (atomic) the node sleeps on attention */
  uint32_t snapshot_requested;  /* 200 (atomic) */
  uint32_t snapshot_served;     /* 204 (atomic, futex) */
  uint32_t snapshot_sequence;   /* 208 (atomic) odd while the snapshot is written */
  uint32_t zero;                /* 212 */
  uint64_t snapshot_frame;      /* 216 */
  double snapshot_time;         /* 224 */
  uint64_t wait_target;         /* 232 (atomic) lowest frame somebody sleeps for; UINT64_MAX for nobody */
  uint64_t snapshot_epoch;      /* 240 */
  uint8_t outside_pad[8];

  /* The queue, a cache line. */
  uint64_t queue_head;          /* 256 (atomic) entries applied */
  uint64_t queue_tail;          /* 264 (atomic) entries committed; writers hold the OFD lock on byte 1 */
  uint8_t queue_pad[48];
} hermes_control;

enum { HERMES_TURN_EXCHANGE = 0x40000000 };

/* Locks on the segment's file (open file description locks): who holds byte 0 owns the segment. */
enum { HERMES_LOCK_OWNER = 0, HERMES_LOCK_QUEUE = 1 };

#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(sizeof(hermes_header) == 64, "header is 64 bytes");
_Static_assert(sizeof(hermes_directory_entry) == 12, "directory entries are 12 bytes");
_Static_assert(sizeof(hermes_module_slot) == 128, "module slots are two cache lines");
_Static_assert(sizeof(hermes_phase) == 64, "phases are a cache line");
_Static_assert(sizeof(hermes_delivery) == 32, "deliveries are 32 bytes");
_Static_assert(sizeof(hermes_wire_convert) == 32, "conversions are 32 bytes");
_Static_assert(sizeof(hermes_control) == 320, "the control block is five cache lines");
#endif

#endif
