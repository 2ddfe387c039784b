/* When a wait spins, and how many are left out after one in vain. */
#include "platform.h"

#include "check.h"
#include "spin.h"

enum { LENGTH = 50000 };

/* A wait in vain; `late` when somebody else kept the core. How many waits after it do not spin. */
static uint32_t left_out_after_a_wait_in_vain(hermes_spin *spin, int late) {
  CHECK(hermes_spin_begin(spin, LENGTH) == 1);
  /* The time is up; the length is such that no pause of this machine makes the wait look late. */
  spin->end_ns = hermes_now() - (late ? 2 * LENGTH : 0);
  spin->length_ns = late ? LENGTH : UINT32_MAX;
  CHECK(hermes_spin_on(spin) == 0);
  uint32_t count = 0;
  while (!hermes_spin_begin(spin, LENGTH)) count++;
  return count;
}

static void check_pauses(void) {
  hermes_spin spin = {0};
  for (uint32_t pause = 1; pause <= 4096; pause *= 2) CHECK(left_out_after_a_wait_in_vain(&spin, 0) == pause);
  CHECK(left_out_after_a_wait_in_vain(&spin, 0) == 4096);
  CHECK(left_out_after_a_wait_in_vain(&spin, 1) == 16384);
  for (int i = 0; i < 20; i++) hermes_spin_won(&spin);
  CHECK(left_out_after_a_wait_in_vain(&spin, 1) == 8);
  CHECK(left_out_after_a_wait_in_vain(&spin, 1) == 64);
  hermes_spin_won(&spin);
  CHECK(left_out_after_a_wait_in_vain(&spin, 0) == 64);
  for (int i = 0; i < 20; i++) hermes_spin_won(&spin);
  CHECK(left_out_after_a_wait_in_vain(&spin, 0) == 1);
}

/* It lasts as long as it may, and no look more; a win leaves none out. */
static void check_time(void) {
  hermes_spin spin = {0};
  uint64_t begin = hermes_now();
  CHECK(hermes_spin_begin(&spin, LENGTH) == 1);
  while (hermes_spin_on(&spin)) CHECK(hermes_now() - begin < 60000000000u);
  CHECK(hermes_now() - begin >= LENGTH);
  spin = (hermes_spin){0};
  for (int i = 0; i < 100; i++) {
    CHECK(hermes_spin_begin(&spin, LENGTH) == 1);
    hermes_spin_won(&spin);
  }
  CHECK(hermes_spin_begin(&spin, 0) == 0);
}

static void check_lengths(void) {
  CHECK(hermes_spin_length(5, 0) == 0); /* the kernel does not tell how many cores there are */
  CHECK(hermes_spin_length(1, 1) == 50000 && hermes_spin_length(2, 2) == 50000 && hermes_spin_length(2, 64) == 50000);
  CHECK(hermes_spin_length(3, 2) == 100000 && hermes_spin_length(9, 2) == 250000);
  CHECK(hermes_spin_length(33, 2) == 500000 && hermes_spin_length(UINT32_MAX / 2, 1) == 500000);
  CHECK(hermes_spin_looks(hermes_spin_length(2, 2)) > hermes_spin_looks(hermes_spin_length(3, 2)));
}

int main(void) {
  check_pauses();
  check_time();
  check_lengths();
  return 0;
}
