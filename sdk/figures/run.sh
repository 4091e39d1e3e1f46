#!/usr/bin/env bash
# Measures what docs/figures.md says about the terminal SDK. `make sdk-figures` calls it. Tables go to the terminal, and the
# same as JSON to target/sdk-figures.
set -euo pipefail
cd "$(dirname "$0")/../.."

for folder in sdk sdk/figures; do
  [[ $folder/node_modules/.package-lock.json -nt $folder/package-lock.json ]] || (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts)
done

export STACK_PROGRAM="${STACK_PROGRAM:-${CARGO_TARGET_DIR:-$PWD/target}/release/tillwatch}"
out="${CARGO_TARGET_DIR:-target}/sdk-figures"
mkdir -p "$out"
for name in compare till_minutes main_thread; do
  node "sdk/figures/$name.mjs" >"$out/$name.json"
done
