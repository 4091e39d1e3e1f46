#!/usr/bin/env bash
# The console in a real Chromium, against a real collector. `make test-stack` calls it beside its other parts.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

need_chromium
find_tillwatch
STACK_PROGRAM="$(realpath "$tillwatch")"
export STACK_PROGRAM
# The collector of the tests is that of the terminal's library.
scripts/built.sh sdk
scripts/built.sh console
cd console/test/browser
# What waits runs beside one another; what is timed runs alone.
node --test --test-concurrency=3 {views,signin,keys,access,faults,readers}.test.mjs
node --test --test-concurrency=1 {live,soak}.test.mjs
pass "the console in a browser"
