# `make help` lists the targets. Swift builds the executables; cc builds libhermes from the same C files, because an
# executable and a library that are both called `hermes` cannot come from one Swift package.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run flight rack hil cluster build test bench bench-check install deb format lint clean setup release library examples

PREFIX ?= /usr/local
EXECUTABLES = hermes hermes-node
SWIFT_RELEASE = swift build -c release --static-swift-stdlib
SWIFT_SOURCES = Sources Tests Package.swift

CFLAGS ?= -O2 -g
HERMES_CFLAGS = -std=c11 $(CFLAGS) -fPIC -ffp-contract=off -Wall -Wextra -Wpedantic -Werror -pthread -Iinclude
BENCH_MODULE = .build/lib/hermes/hermes-bench-module
C_OBJECTS = $(patsubst Sources/CHermes/%.c,.build/lib/%.o,$(sort $(wildcard Sources/CHermes/*.c)))

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: release library ## build what is missing and run Examples/basic_sim.yaml
	$(MAKE) -C Examples basic_sim
	.build/release/hermes run Examples/basic_sim.yaml --print vehicle.position vehicle.velocity

flight: release library ## fly a real aircraft: JSBSim's c172p, 200 simulated seconds
	@scripts/setup --flight
	$(MAKE) -C Examples/flight run

rack: release library ## the same flight over three hosts, bit for bit; as root each host is a network namespace
	@scripts/setup --flight
	$(MAKE) -C Examples/flight environment modules
	Examples/flight/rack

hil: release library ## hardware in the loop over three hosts: a motor with a clock of its own, 200 Hz
	$(MAKE) -C Examples hil
	Examples/hil/run

cluster: release library ## three nodes on this machine, and the same bits as on one host
	$(MAKE) -C Examples cluster
	Examples/cluster/run

build: release library examples ## hermes, libhermes and the example modules, optimised

test: ## every test, from a fresh clone (see docs/testing.md)
	scripts/test

bench: release library ## speed and memory, each line beside its floor; QUICK=1 for a short look, ARGS=... for bench/run.py
	python3 bench/run.py $(ARGS)

bench-check: release library ## the same, and each ratio held to its stored bound: one that is worse fails
	python3 bench/run.py --check $(ARGS)

install: release library ## into PREFIX (/usr/local), beneath DESTDIR if set
	scripts/install "$(DESTDIR)" "$(PREFIX)" $(EXECUTABLES)

deb: release library ## .build/deb/hermes_*.deb: what `make install` installs, with a user, folders and settings for the service
	@scripts/setup --deb
	scripts/deb $(EXECUTABLES)

format: ## rewrite Swift sources in the project's style
	swift format --in-place --parallel --recursive $(SWIFT_SOURCES)

lint: ## say where Swift sources depart from it
	scripts/check-bytes
	swift format lint --strict --parallel --recursive $(SWIFT_SOURCES)

clean: ## remove everything that was built
	rm -rf .build .build-python result
	if [ -f Examples/Makefile ]; then $(MAKE) -C Examples clean; fi

setup:
	@scripts/setup

release: setup
	for name in $(EXECUTABLES); do $(SWIFT_RELEASE) --product $$name || exit 1; done

examples: library
	$(MAKE) -C Examples

library: .build/lib/libhermes.a .build/lib/libhermes.so $(BENCH_MODULE)

# The module and the floors of `hermes bench`: a small program that hosts are sent as it is.
$(BENCH_MODULE): $(wildcard Sources/hermes-bench-module/*.[ch]) .build/lib/libhermes.a
	@mkdir -p $(@D)
	$(CC) $(HERMES_CFLAGS) $(filter %.c,$^) .build/lib/libhermes.a $(LDFLAGS) -o $@ -pthread -ldl -lm

.build/lib/libhermes.a: $(C_OBJECTS)
	rm -f $@
	$(AR) rcs $@ $^

.build/lib/libhermes.so: .build/lib/libhermes.so.1
	ln -sf libhermes.so.1 $@

.build/lib/libhermes.so.1: $(C_OBJECTS)
	$(CC) -shared -Wl,-soname,libhermes.so.1 $(LDFLAGS) $^ -o $@ -pthread -ldl -lm

.build/lib/%.o: Sources/CHermes/%.c Makefile | setup
	@mkdir -p .build/lib
	$(CC) $(HERMES_CFLAGS) -MMD -MP -c $< -o $@

-include $(C_OBJECTS:.o=.d)
