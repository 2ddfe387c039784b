/* The module processes of one host without Hermes: woken together, waited for together. */
#ifndef HERMES_BENCH_CREW_H
#define HERMES_BENCH_CREW_H

#include "bench.h"

typedef struct bench_crew bench_crew;

/* Starts the processes of `work`, which end with this one. Their values lie in memory that all share: the outputs of all
 * modules one behind the other, and their inputs. */
bench_crew *bench_crew_start(bench_work work);
double *bench_crew_outputs(bench_crew *crew);
double *bench_crew_inputs(bench_crew *crew);
/* One frame: every module adds its inputs to its outputs. */
void bench_crew_frame(bench_crew *crew);
/* Ends the processes and waits for them. */
void bench_crew_end(bench_crew *crew);

/* Frames on absolute deadlines. */
typedef struct bench_pace {
  uint64_t interval, deadline; /* nanoseconds; interval 0: as fast as possible */
  long left;                   /* of the warm-up */
  bench_times *lateness;
} bench_pace;

/* Waits for the next deadline and notes how much later it is. */
void bench_pace_wait(bench_pace *pace);

#endif
