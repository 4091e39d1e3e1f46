#!/usr/bin/env bash
# Releases of Grafana Faro's Web SDK in a real Chromium, against a real collector. `make test-clients` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

need_chromium
find_tillwatch
STACK_PROGRAM="$(realpath "$tillwatch")"
export STACK_PROGRAM
# Chromium is driven by what the terminal's library is tested with.
scripts/built.sh sdk
if [[ ! tests/faro/node_modules/.package-lock.json -nt tests/faro/package-lock.json ]]; then
  npm ci --prefix tests/faro --ignore-scripts --no-audit --no-fund
fi
node --test tests/faro/*.test.mjs
pass "Grafana Faro in a browser"
