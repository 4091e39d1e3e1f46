#!/usr/bin/env bash
# Runs every test that needs only Rust, Node and npm. `make test` calls it, after npm ci.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || { echo "cargo is missing: install Rust (https://rustup.rs)." >&2; exit 1; }

command -v node >/dev/null || { echo "node is missing: install Node.js 20 or later." >&2; exit 1; }

# The dashboards: what they are made from, and the rules they keep. The model of the alerts: what was promised of it.
# The module for Odoo, whose test needs neither an Odoo nor a browser, and the gate of a deployment. The parts of the probe
# that need none.
node --test dashboards/test/*.test.mjs alerts/model/*.test.mjs examples/test/{odoo,gate}.test.mjs probe/test/*.test.mjs

# The terminal's library, without a browser: its files are those of its sources, its buckets those of the collector.
scripts/built.sh sdk
node --test sdk/test/*.test.mjs

# The console, without a browser.
scripts/built.sh console
node --test console/test/*.test.mjs

if cargo nextest --version >/dev/null 2>&1; then
  # Most tests wait for a disk, a clock or another process: half as many again as there are processors keep them busy.
  export NEXTEST_TEST_THREADS="${NEXTEST_TEST_THREADS:-$(( ($(nproc) * 3 + 1) / 2 ))}"
  cargo nextest run --locked
  # nextest leaves out the examples in the documentation.
  cargo test --locked --doc
else
  cargo test --locked
fi
