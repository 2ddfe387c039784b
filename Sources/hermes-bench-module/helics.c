/* The same frames by HELICS (https://helics.org): a federate process for each module, a publication for each signal, the
 * federates in a ring, a time request a frame. By its C interface, so that no other language's time is counted; the
 * library is opened while running, so nothing of HELICS is needed to build this. */
#define _GNU_SOURCE
#include "bench.h"

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TYPE_DOUBLE = 1, TIME_PERIOD = 140 };

/* The quickest of those that HELICS has for processes: zmq, tcpss and zmqss take longer, and ipc leaves files in /dev/shm. */
static const char CORE[] = "tcp";

typedef struct {
  int32_t error_code;
  const char *message;
} helics_error;

static struct {
  helics_error (*error_initialize)(void);
  void *(*create_broker)(const char *type, const char *name, const char *options, helics_error *error);
  int (*broker_wait)(void *broker, int milliseconds, helics_error *error);
  void *(*create_info)(void);
  void (*set_core_type)(void *info, const char *type, helics_error *error);
  void (*set_core_options)(void *info, const char *options, helics_error *error);
  void (*set_time)(void *info, int property, double value, helics_error *error);
  void *(*create_federate)(const char *name, void *info, helics_error *error);
  void *(*publication)(void *federate, const char *key, int type, const char *units, helics_error *error);
  void *(*subscription)(void *federate, const char *key, const char *units, helics_error *error);
  void (*execute)(void *federate, helics_error *error);
  double (*request_time)(void *federate, double time, helics_error *error);
  void (*publish)(void *publication, double value, helics_error *error);
  double (*value)(void *input, helics_error *error);
  void (*disconnect)(void *federate, helics_error *error);
  void (*close_library)(void);
} helics;

static bench_times times;
static helics_error error;

static void load(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    exit(2);
  }
  struct {
    const char *name;
    void *place;
  } names[] = {
      {"helicsErrorInitialize", &helics.error_initialize},
      {"helicsCreateBroker", &helics.create_broker},
      {"helicsBrokerWaitForDisconnect", &helics.broker_wait},
      {"helicsCreateFederateInfo", &helics.create_info},
      {"helicsFederateInfoSetCoreTypeFromString", &helics.set_core_type},
      {"helicsFederateInfoSetCoreInitString", &helics.set_core_options},
      {"helicsFederateInfoSetTimeProperty", &helics.set_time},
      {"helicsCreateValueFederate", &helics.create_federate},
      {"helicsFederateRegisterGlobalPublication", &helics.publication},
      {"helicsFederateRegisterSubscription", &helics.subscription},
      {"helicsFederateEnterExecutingMode", &helics.execute},
      {"helicsFederateRequestTime", &helics.request_time},
      {"helicsPublicationPublishDouble", &helics.publish},
      {"helicsInputGetDouble", &helics.value},
      {"helicsFederateDisconnect", &helics.disconnect},
      {"helicsCloseLibrary", &helics.close_library},
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *function = dlsym(library, names[i].name);
    if (function == NULL) {
      fprintf(stderr, "%s has no %s: HELICS 3 is needed\n", path, names[i].name);
      exit(2);
    }
    memcpy(names[i].place, &function, sizeof function);
  }
  error = helics.error_initialize();
}

static void check(const char *what) {
  if (error.error_code == 0) return;
  fprintf(stderr, "HELICS: %s: %s\n", what, error.message ? error.message : "");
  exit(2);
}

static void serve_broker(int federates, int port, long frames) {
  char options[128];
  snprintf(options, sizeof options, "-f %d --loglevel=error --port=%d --local_interface=127.0.0.1", federates, port);
  void *broker = helics.create_broker(CORE, "", options, &error);
  check("the broker");
  bench_usage begin = bench_usage_of(getpid());
  while (!helics.broker_wait(broker, 1000, &error)) check("the broker");
  bench_report_usage("node", begin, bench_usage_of(getpid()), frames);
  helics.close_library();
}

static void serve_federate(int port, int index, int count, int signals, long frames, long warm_up) {
  char text[160];
  void *info = helics.create_info();
  helics.set_core_type(info, CORE, &error);
  snprintf(text, sizeof text, "--federates=1 --loglevel=error --broker_address=127.0.0.1 --brokerport=%d", port);
  helics.set_core_options(info, text, &error);
  helics.set_time(info, TIME_PERIOD, 1.0, &error);
  check("its settings");
  snprintf(text, sizeof text, "m%d", index);
  void *federate = helics.create_federate(text, info, &error);
  check("a federate");
  void **own = calloc((size_t)signals, sizeof *own), **in = calloc((size_t)signals, sizeof *in);
  double *values = calloc((size_t)signals, sizeof *values);
  if (!own || !in || !values) bench_fail("calloc");
  for (int i = 0; i < signals; i++) {
    snprintf(text, sizeof text, "m%d.own.%06d", index, i);
    own[i] = helics.publication(federate, text, TYPE_DOUBLE, "", &error);
    snprintf(text, sizeof text, "m%d.own.%06d", (index + count - 1) % count, i);
    in[i] = helics.subscription(federate, text, "", &error);
    values[i] = index * 1000.0 + i + 1;
    check("a signal");
  }
  helics.execute(federate, &error);
  check("the start");
  bench_usage begin = bench_usage_of(getpid());
  bench_laps laps = {.times = &times, .left = warm_up};
  for (long frame = 1; frame <= frames + warm_up; frame++) {
    bench_lap(&laps);
    for (int i = 0; i < signals; i++) helics.publish(own[i], values[i], &error);
    helics.request_time(federate, (double)frame, &error);
    check("a time request");
    for (int i = 0; i < signals; i++) {
      double next = values[i] + helics.value(in[i], &error);
      values[i] = next >= 4503599627370449.0 ? next - 4503599627370449.0 : next;
    }
  }
  bench_report_usage("module", begin, bench_usage_of(getpid()), frames + warm_up);
  if (index == 0) bench_report_times("times", &times);
  helics.disconnect(federate, &error);
  helics.close_library();
}

/* Below those that the kernel hands out by itself, with free ones behind it: a core takes more than one. */
static int free_port(void) {
  for (int first = 20000 + getpid() % 1000 * 12, tries = 0; tries < 900; tries++, first += 12) {
    if (first > 31980) first = 20000;
    int taken = 0;
    for (int port = first; port < first + 12 && !taken; port++) {
      struct sockaddr_in address = {
          .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
      int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (probe < 0) bench_fail("socket");
      taken = bind(probe, (struct sockaddr *)&address, sizeof address) != 0;
      close(probe);
    }
    if (!taken) return first;
  }
  errno = EADDRINUSE;
  bench_fail("a port for the broker");
}

int bench_helics(const char *library, int federates, int signals, long frames, long warm_up) {
  int port = free_port();
  pid_t parent = getpid();
  for (int i = -1; i < federates; i++) {
    pid_t child = fork();
    if (child < 0) bench_fail("fork");
    if (child > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(2);
    load(library);
    if (i < 0) serve_broker(federates, port, frames + warm_up);
    else serve_federate(port, i, federates, signals, frames, warm_up);
    fflush(stdout);
    _exit(0);
  }
  int status, failed = 0;
  pid_t ended;
  while ((ended = wait(&status)) > 0) {
    if (status == 0) continue;
    /* Without one of them the others wait for ever: with this process they end. */
    failed = 1;
    break;
  }
  return failed ? 2 : 0;
}
