# One file, no recursion into folders. `make help` lists what there is.
#
#   DEV=1                      warnings are errors (CI=1 too)
#   SAN=address,undefined      sanitizers; also SAN=thread. Each set builds in a folder of its own
#   CC=clang                   likewise
#   V=1                        show commands

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash

ifeq ($(origin CC),default)
CC := gcc
endif
ifneq ($(V),1)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

comma := ,
empty :=
space := $(empty) $(empty)

# Where a build goes: build/ for the plain one, build/<compiler>-<sanitizers>/ for others.
variant := $(subst $(space),-,$(strip $(if $(filter-out gcc,$(CC)),$(notdir $(CC))) $(subst $(comma),-,$(SAN))))
B := build$(if $(variant),/$(variant))
PYTHON := build/venv/bin/python
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 10

# ---- what there is ----------------------------------------------------------------------------------------------
# A folder includes only folders before it in this list; dns stands beside them, on base and config alone
# (tools/lint_includes.py).
folders := base config kafka offsets mirror dns failover http cli
mains := $(wildcard mirror/daemon.c cli/main.c)
sources := $(filter-out $(mains),$(foreach f,$(folders),$(wildcard $(f)/*.c)))
fakes := $(wildcard tests/fake/*.c)
units := $(wildcard tests/unit/test_*.c)
fuzzers := $(wildcard tests/fuzz/fuzz_*.c)
drivers := $(wildcard tests/integration/drivers/*.c)
c_files := $(foreach f,$(folders) bench bench/clients docs/examples tests/unit tests/fuzz tests/fake tests/integration/drivers,$(wildcard $(f)/*.c $(f)/*.h))
scripts := $(wildcard tools/*.sh package/*.sh docker/*.sh docker/rehearsal/*.sh .ci/run)

library := $(B)/libferry.a
objects := $(sources:%.c=$(B)/obj/%.o)
fake_library := $(B)/libfake.a
programs := $(if $(filter mirror/daemon.c,$(mains)),$(B)/bin/ferryd) $(if $(filter cli/main.c,$(mains)),$(B)/bin/ferry)
unit_programs := $(units:tests/unit/%.c=$(B)/unit/%)
fuzz_programs := $(fuzzers:tests/fuzz/%.c=$(B)/fuzz/%)
driver_programs := $(drivers:tests/integration/drivers/%.c=$(B)/drivers/%) \
	$(patsubst docs/examples/%.c,$(B)/examples/%,$(wildcard docs/examples/*.c))

# ---- flags ------------------------------------------------------------------------------------------------------
# What may be an archive of build/deps stands before what it needs.
packages := rdkafka hiredis_ssl hiredis libevent libevent_openssl jansson libcurl openssl libsasl2 libzstd liblz4 zlib ldns expat
# Libraries that are too old here come from build/deps (tools/setup.sh), which is asked first.
pkg_config := PKG_CONFIG_PATH=$(CURDIR)/build/deps/lib/pkgconfig:$$PKG_CONFIG_PATH pkg-config
# -isystem: our warnings are about our code
package_cflags := $(patsubst -I%,-isystem %,$(shell $(pkg_config) --cflags $(packages) 2>/dev/null))
package_libs := $(shell $(pkg_config) --libs $(packages) 2>/dev/null) -lsnappy -lm -ldl -lpthread

warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wvla -Wformat=2 \
	-Wswitch-enum -Wconversion
ifneq ($(DEV)$(CI),)
werror := -Werror
endif
hardening := -fstack-protector-strong -fstack-clash-protection -fPIE
ifeq ($(SAN),)
optimize := -O2 -g -D_FORTIFY_SOURCE=3
else ifeq ($(SAN),fuzzer)
optimize := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
san_link := -fsanitize=address,undefined
else
optimize := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
san_link := -fsanitize=$(SAN)
endif

# <sys/queue.h> looks at a list's head as if it were an entry (TAILQ_LAST): gcc -O2 may reorder that, and did.
language := -std=gnu17 -fno-strict-aliasing -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -I$(B)/generated -include base/banned.h
all_cflags = $(language) $(warnings) $(optimize) $(hardening) $(package_cflags) $(CPPFLAGS) $(CFLAGS)
all_ldflags := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(san_link) $(LDFLAGS)

# ---- build ------------------------------------------------------------------------------------------------------
.PHONY: all programs help
all: programs ## ferryd and ferry in build/bin
programs: $(programs) $(library)

# Objects follow their flags: changing CFLAGS rebuilds, -Werror alone does not.
flags_now := $(CC) $(all_cflags) $(all_ldflags)
$(shell mkdir -p $(B)/generated; \
	printf '%s' '$(subst ','\'',$(flags_now))' | cmp -s - $(B)/flags || printf '%s' '$(subst ','\'',$(flags_now))' >$(B)/flags)

# The version of a checkout is git's word; of a release archive, the file VERSION.
version := $(or $(shell git describe --tags --always --dirty 2>/dev/null),$(shell cat VERSION))
version_line := \#define FERRY_VERSION "$(shell cat VERSION)$(if $(filter-out $(shell cat VERSION),$(version)),+$(version))"
$(shell printf '%s\n' '$(version_line)' | cmp -s - $(B)/generated/ferry_version.h || \
	printf '%s\n' '$(version_line)' >$(B)/generated/ferry_version.h)

# What is missing, by name, says more than a page of errors about headers.
.PHONY: libraries
libraries:
	@$(pkg_config) --print-errors --exists $(packages) || \
		{ echo "Not all that Ferry is linked to is here: \`make setup-build\` brings what compiling needs." >&2; exit 1; }

$(B)/obj/%.o: %.c $(B)/flags | libraries
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(all_cflags) $(werror) -MMD -MP -c -o $@ $<

$(library): $(objects)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $(objects)

# An archive, so that a test gets those fakes alone that it names, and may bring functions of ours in its own words.
$(fake_library): $(fakes:%.c=$(B)/obj/%.o)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(B)/bin/ferryd: $(B)/obj/mirror/daemon.o $(library)
$(B)/bin/ferry: $(B)/obj/cli/main.o $(library)
$(B)/bin/ferryd $(B)/bin/ferry:
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(all_cflags) $(all_ldflags) -o $@ $^ $(package_libs)

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(fake_library) $(library)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(all_cflags) $(all_ldflags) -o $@ $^ $(package_libs) -lcmocka

$(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(fake_library) $(library)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(all_cflags) $(all_ldflags) -fsanitize=fuzzer -o $@ $^ $(package_libs)

# Small programs around one interface, told what to do by a test in Python.
$(B)/drivers/%: $(B)/obj/tests/integration/drivers/%.o $(library)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(all_cflags) $(all_ldflags) -o $@ $^ $(package_libs)

# What docs/examples say about building it, against our own librdkafka.
$(B)/examples/%: docs/examples/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 $(warnings) $(werror) $(optimize) $(package_cflags) -o $@ $< $(package_libs)

# LLVMFuzzerTestOneInput is declared nowhere.
$(B)/obj/tests/fuzz/%.o: warnings += -Wno-missing-prototypes

.SECONDARY:
-include $(wildcard $(B)/obj/*/*.d $(B)/obj/tests/*/*.d $(B)/obj/tests/integration/*/*.d)

# ---- tests ------------------------------------------------------------------------------------------------------
.PHONY: setup setup-build check run-unit fuzz run-fuzz check-integration check-long test test-long demo bench
setup: ## packages, libraries, Kafka, Python: once, under build/
	$(Q)tools/setup.sh

setup-build: ## of that, what compiling needs: packages and libraries
	$(Q)tools/setup.sh build-packages libraries

check_san := address,undefined
check: ## unit tests under sanitizers (SAN=thread for the other kind; ONLY=test_x for one)
	$(Q)$(MAKE) --no-print-directory SAN=$(or $(SAN),$(check_san)) run-unit

run-unit: $(if $(ONLY),$(B)/unit/$(ONLY),$(unit_programs))
	$(Q)ASAN_OPTIONS=$${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1} UBSAN_OPTIONS=print_stacktrace=1 \
		TSAN_OPTIONS=suppressions=$(CURDIR)/tests/unit/thread.supp \
		V=$(V) tools/run_units.sh $^

fuzz: ## every decoder's fuzzer for FUZZ_SECONDS (10)
	$(Q)$(MAKE) --no-print-directory CC=clang SAN=fuzzer run-fuzz

run-fuzz: $(fuzz_programs)
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) tools/run_fuzzers.sh $^

# Sessions side by side, with clusters of their own: of a test's time two thirds are waiting, so there is one more than a
# two-core machine has cores; what is long works harder. ARGS="-n0" for one.
pytest := $(PYTHON) -m pytest --dist worksteal
.PHONY: drivers
drivers: $(driver_programs)

check-integration: all drivers ## real brokers, Redis and processes (ARGS="-k name" for some)
	$(Q)$(pytest) -n 3 tests/integration -m "not long" $(ARGS)

# Once more over the path records, long ones too: failovers and switchovers, taken back, killed, with everything dead.
failovers := tests/integration/test_failover.py tests/integration/test_failover_walk.py

check-long: all drivers
	$(Q)$(pytest) -n 2 tests/integration -m "long and not alone" $(ARGS) || test $$? = 5 # none of that name
	$(Q)FERRY_RIG_PATH=records $(pytest) -n 2 $(failovers) -m "not alone" $(ARGS) || test $$? = 5
	$(Q)$(pytest) -n 0 tests/integration -m "long and alone" $(ARGS) || test $$? = 5

# What was not there when this file was read (packages, libraries) is there after the set-up: hence a fresh make.
again := $(MAKE) --no-print-directory -j$(shell nproc)
test: setup ## everything that must pass before a change lands
	$(Q)$(again) all
	$(Q)$(again) lint-quick
	$(Q)$(again) check
	$(Q)$(again) fuzz FUZZ_SECONDS=$(FUZZ_SECONDS)
	$(Q)$(again) check-integration

test-long: setup ## storms, gigabytes and minutes
	$(Q)tools/setup.sh engine
	$(Q)$(again) all
	$(Q)$(again) lint
	$(Q)$(again) run-unit
	$(Q)$(again) check SAN=thread
	$(Q)$(again) fuzz FUZZ_SECONDS=60
	$(Q)$(again) check-long

# The demo prints its plan and asks before it sets anything up; it builds by itself.
demo: ## two real sites, real producers, a killed worker, a proof (YES=1 does not ask; DEMO_BREAK=lose|double|swap|flip|skip)
	$(Q)tools/demo.sh

build/bench/%: bench/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(language) $(package_cflags) $(warnings) $(werror) -O2 -o $@ $< $(package_libs)

bench: setup ## against MirrorMaker 2 and a bare copy of the same bytes (ARGS="--rounds 1 --scale 0.1", ARGS=--full)
	$(Q)$(PYTHON) -m pip install -q --disable-pip-version-check -r bench/requirements.txt
	$(Q)$(again) all build/bench/bare_copy build/bench/rdkafka_copy
	$(Q)$(PYTHON) bench/run.py $(ARGS)

.PHONY: matrix
matrix: setup ## which clients follow a failover: docs/clients.md measured anew (root; ARGS="--rounds 1 --cases refused")
	$(Q)$(again) all drivers build/bench/clients/client
	$(Q)bench/clients/setup.sh
	$(Q)$(PYTHON) bench/matrix.py --page $(ARGS)

# ---- lint, format, docs -----------------------------------------------------------------------------------------
.PHONY: lint lint-quick lint-tidy lint-cppcheck lint-analyzer format docs top
lint: lint-quick lint-cppcheck lint-tidy lint-analyzer ## all of it; lint-quick takes seconds

lint-quick:
	$(call say,LINT,format)
	$(Q)$(if $(c_files),build/venv/bin/clang-format --dry-run -Werror $(c_files))
	$(call say,LINT,includes)
	$(Q)$(PYTHON) tools/lint_includes.py
	$(call say,LINT,python)
	$(Q)$(PYTHON) -m ruff check -q . && $(PYTHON) -m ruff format -q --check .
	$(call say,LINT,shell)
	$(Q)shellcheck -S warning $(scripts)

# uninitvar: it does not see through the list macros of sys/queue.h; gcc, the analyzer and the sanitizers do.
# ctunullpointer: it does not see that a null id is given only where nothing is compared by id (mirror/sink.c).
lint-cppcheck:
	$(call say,LINT,cppcheck)
	$(Q)cppcheck -q -j$$(nproc) --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem --suppress=uninitvar \
		--suppress=ctunullpointer:kafka/wire.c -I. -D__GNUC__ $(sources) $(mains)

lint-tidy:
	$(call say,LINT,clang-tidy)
	$(Q)printf '%s\n' $(sources) $(mains) | xargs -r -P$$(nproc) -n4 \
		bash -c 'clang-tidy --quiet "$$@" -- $(language) $(package_cflags) 2>&1 | grep -v " warnings\? generated.$$" >&2; \
			test $${PIPESTATUS[0]:-0} = 0' _

# malloc-leak: gcc 12 loses what is stored in a structure that it reaches through a pointer, and takes the way to abort() in
# must() for a leak; LeakSanitizer looks at every unit test and fuzzer. References that are counted: it frees at the first
# unref(), while another is held.
analyzer_off := -Wno-analyzer-malloc-leak
counted := -Wno-analyzer-use-after-free -Wno-analyzer-use-of-uninitialized-value
build/analyzer/mirror/engine.o build/analyzer/mirror/task.o build/analyzer/failover/preflight.o: analyzer_off += $(counted)
lint-analyzer: $(patsubst %.c,build/analyzer/%.o,$(sources) $(mains))
build/analyzer/%.o: %.c
	$(call say,ANALYZE,$<)
	@mkdir -p $(@D)
	$(Q)gcc $(language) $(package_cflags) -O1 -fanalyzer -Werror $(analyzer_off) -MMD -MP -c -o $@ $<

format: ## clang-format and ruff, in place
	$(Q)$(if $(c_files),build/venv/bin/clang-format -i $(c_files))
	$(Q)$(PYTHON) -m ruff format -q . && $(PYTHON) -m ruff check -q --fix .

docs: programs ## what is printed by the program: man page, table of keys, runbook, completions
	$(Q)$(B)/bin/ferry help --man >docs/man/ferry.1
	$(Q)$(B)/bin/ferry config reference >docs/configuration.md
	$(Q)$(B)/bin/ferry help --runbook >docs/runbook.md
	$(Q)mkdir -p docs/completions
	$(Q)$(B)/bin/ferry help --completion bash >docs/completions/ferry.bash
	$(Q)$(B)/bin/ferry help --completion zsh >docs/completions/_ferry

top: ## longest functions and files, medians
	$(Q)$(if $(wildcard $(PYTHON)),$(PYTHON),python3) tools/top.py $(filter %.c,$(c_files))

# ---- install, clean ---------------------------------------------------------------------------------------------
.PHONY: install uninstall deb clean distclean
export DESTDIR PREFIX SYSCONFDIR UNITDIR
install: all ## programs, man pages, units, completions, example; DESTDIR, PREFIX (/usr/local), SYSCONFDIR (/etc)
	$(Q)package/install.sh install $(B)/bin

uninstall: ## what install laid; configuration and state stay
	$(Q)package/install.sh uninstall $(B)/bin

deb: setup-build ## a Debian package into build/deb, from a bare system on
	$(Q)$(again) all
	$(Q)package/deb.sh $(B)/bin build/deb

clean: ## what was compiled; set-up stays
	$(Q)rm -rf build/obj build/bin build/unit build/fuzz build/drivers build/examples build/libferry.a build/libfake.a build/flags build/generated build/analyzer \
		build/gcc-* build/clang* build/address* build/thread* build/undefined*

distclean: ## the set-up too
	$(Q)rm -rf build

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
