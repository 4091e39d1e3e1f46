#!/usr/bin/env bash
# Tills in a real Chromium, with the terminal's library and the example till, against a real collector. `make test-stack`
# calls it beside its other parts.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

need_chromium
find_tillwatch
STACK_PROGRAM="$(realpath "$tillwatch")"
export STACK_PROGRAM
scripts/built.sh sdk
# Files run beside one another: a browser mostly waits.
node --test --test-concurrency=2 sdk/test/browser/*.test.mjs examples/test/*.test.mjs
pass "tills in a browser"
