#!/usr/bin/env bash
# Probes in a real Chromium, at the example till, with a real collector. `make test-stack` calls it beside its other parts.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

need_chromium
find_tillwatch
STACK_PROGRAM="$(realpath "$tillwatch")"
export STACK_PROGRAM
# The collector of the tests is that of the terminal's library.
scripts/built.sh sdk
if [[ ! probe/node_modules/.package-lock.json -nt probe/package-lock.json ]]; then
  npm ci --prefix probe --ignore-scripts --no-audit --no-fund
fi
node --test probe/test/browser/*.test.mjs
pass "probes in a browser"
