#!/usr/bin/env bash
# Runs load scenarios of the simulator in the release profile and writes what they found into docs/load.md.
# `make soak`, `make ramp`, `make disk` and `make scenarios` call it.
#
#   scripts/load.sh SCENARIO… [-- OPTION…]
#
# LOAD_REPORT   the page that is written (default docs/load.md); empty: none
set -euo pipefail
cd "$(dirname "$0")/.."

report="${LOAD_REPORT-docs/load.md}"
scenarios=()
while (( $# > 0 )) && [[ "$1" != -- ]]; do
  scenarios+=("$1")
  shift
done
[[ "${1:-}" != -- ]] || shift
(( ${#scenarios[@]} > 0 )) || { echo "scripts/load.sh: name a scenario; tillwatch simulate --help lists them." >&2; exit 2; }

echo "Building in the release profile (the first time takes minutes) …"
cargo build --release --locked --quiet --bin tillwatch
tillwatch="${CARGO_TARGET_DIR:-target}/release/tillwatch"

failed=()
for scenario in "${scenarios[@]}"; do
  echo
  echo "=== $scenario"
  options=(--scenario "$scenario")
  [[ -z "$report" ]] || options+=(--report "$report")
  # One that fails does not keep the others from running.
  "$tillwatch" simulate "${options[@]}" "$@" || failed+=("$scenario")
done
if (( ${#failed[@]} > 0 )); then
  echo "not good: ${failed[*]}" >&2
  exit 1
fi
