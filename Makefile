# The commands of this project. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test test-stack check fmt bench dashboards pictures

# Cargo's own variables (CARGO_TARGET_DIR, CARGO_BUILD_JOBS) work as ever.
CARGO ?= cargo
# npm brings libchdb, the embedded ClickHouse engine. The stamp is newer than the lock file when it is there.
ENGINE := node_modules/.stamp

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(ENGINE) ## Run tillwatch with the embedded engine and a simulated fleet until Ctrl-C
	@scripts/run.sh

test: $(ENGINE) ## Run every test that needs only Rust, Node and npm
	@scripts/test.sh

test-stack: $(ENGINE) ## Test against a real Prometheus (installed by apt-get as root if it is missing)
	@tests/stack/run.sh
	@node dashboards/check_types.mjs
	@node dashboards/check_live.mjs

dashboards: ## Write dashboards/json anew from dashboards/src
	@node dashboards/build.mjs

pictures: $(ENGINE) ## Draw the dashboards into docs/pictures (25 minutes of a simulated day; needs Prometheus and Chromium)
	$(CARGO) build --locked --quiet --bin tillwatch
	@dashboards/pictures/run.sh

check: ## Formatting and clippy, with warnings as errors
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt --all

bench: $(ENGINE) ## Run the benchmarks (release profile)
	$(CARGO) bench --locked

$(ENGINE): package.json package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or later with npm." >&2; exit 1; }
	npm ci --no-audit --no-fund
	@touch $@
