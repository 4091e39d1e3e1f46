#!/usr/bin/env bash
# Runs tillwatch on the embedded engine and the example of a till in the browser until Ctrl-C. `make demo` calls it.
#
# DEMO_PORT               where the till is served    (default 8090)
# DEMO_PROGRAM            a tillwatch that is built   (default: it is built here)
# TILLWATCH_LISTEN        where the till posts        (default 127.0.0.1:8080)
# TILLWATCH_ADMIN_LISTEN  metrics and the query API   (default 127.0.0.1:9090)
# TILLWATCH_DATA_DIR      where the data is kept      (default data/demo)
set -euo pipefail
# Started in the background by another script, this one would be deaf to SIGINT.
if [[ -z "${DEMO_HEARS_SIGINT:-}" ]] && env --default-signal=INT true 2>/dev/null; then
  DEMO_HEARS_SIGINT=1 exec env --default-signal=INT "$BASH" "$0" "$@"
fi
cd "$(dirname "$0")/.."

export DEMO_PORT="${DEMO_PORT:-8090}"
export TILLWATCH_LISTEN="${TILLWATCH_LISTEN:-127.0.0.1:8080}"
export TILLWATCH_ADMIN_LISTEN="${TILLWATCH_ADMIN_LISTEN:-127.0.0.1:9090}"
export TILLWATCH_DATA_DIR="${TILLWATCH_DATA_DIR:-data/demo}"
export TILLWATCH_SEAL_INTERVAL="${TILLWATCH_SEAL_INTERVAL:-5s}"
logs="$TILLWATCH_DATA_DIR.logs"

say() { printf '%s\n' "$*"; }
fail() { printf 'make demo: %s\n' "$*" >&2; exit 1; }

port_is_taken() { # host:port
  local host="${1%:*}"
  host="${host#[}"
  (exec 3<>"/dev/tcp/${host%]}/${1##*:}") 2>/dev/null
}

command -v node >/dev/null || fail "node is missing: install Node.js 20 or later."
for setting in TILLWATCH_LISTEN TILLWATCH_ADMIN_LISTEN; do
  address="${!setting}"
  if [[ "${address##*:}" != 0 ]] && port_is_taken "$address"; then
    fail "$address is in use by another process. Choose another address: $setting=127.0.0.1:PORT make demo"
  fi
done
if [[ "$DEMO_PORT" != 0 ]] && port_is_taken "127.0.0.1:$DEMO_PORT"; then
  fail "port $DEMO_PORT is in use by another process. Choose another port: DEMO_PORT=PORT make demo"
fi

if [[ -n "${DEMO_PROGRAM:-}" ]]; then
  tillwatch="$DEMO_PROGRAM"
  command -v "$tillwatch" >/dev/null || fail "DEMO_PROGRAM=$tillwatch is not a program."
else
  command -v cargo >/dev/null || fail "cargo is missing: install Rust (https://rustup.rs)."
  say "Building (the first time takes minutes) …"
  cargo build --locked --quiet --profile trial --bin tillwatch
  tillwatch="${CARGO_TARGET_DIR:-target}/trial/tillwatch"
fi
mkdir -p "$(dirname "$TILLWATCH_DATA_DIR")" "$logs"

# Job control gives each child a process group of its own: Ctrl-C reaches this script alone, which
# ends the till's server first and the collector after it.
set -m
serve_pid=
till_pid=

stop() {
  # Whoever started this may have closed the terminal: that must not keep it from stopping the rest.
  trap '' INT TERM HUP PIPE
  set +e
  if [[ -n "$till_pid" ]] && kill -0 "$till_pid" 2>/dev/null; then
    kill -TERM "$till_pid" 2>/dev/null
    wait "$till_pid" 2>/dev/null
  fi
  if [[ -n "$serve_pid" ]] && kill -0 "$serve_pid" 2>/dev/null; then
    say ""
    say "Stopping tillwatch: it seals and ships what it holds …"
    kill -TERM "$serve_pid" 2>/dev/null
    wait "$serve_pid" 2>/dev/null
  fi
}
trap stop EXIT
trap 'exit 0' INT TERM HUP

wait_for() { # PID FILE BEGINNING LOG: prints the first line of the file that begins so.
  local line
  for _ in {1..600}; do
    line="$(grep -m 1 "^$3" "$2" || true)"
    if [[ -n "$line" ]]; then
      printf '%s' "$line"
      return
    fi
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 5 "$4" >&2
  return 1
}

"$tillwatch" serve </dev/null >"$logs/serve.out" 2>"$logs/serve.log" &
serve_pid=$!
ready="$(wait_for "$serve_pid" "$logs/serve.out" 'tillwatch ready ' "$logs/serve.log")" ||
  fail "tillwatch did not start; its log is $logs/serve.log"
ingest="${ready#*ingest=}"
export DEMO_COLLECTOR="${ingest%% *}"
export DEMO_ADMIN="${ready#*admin=}"

node examples/till/server.mjs </dev/null >"$logs/till.out" 2>"$logs/till.log" &
till_pid=$!
ready="$(wait_for "$till_pid" "$logs/till.out" 'till ready ' "$logs/till.log")" ||
  fail "the till's server did not start; its log is $logs/till.log"

cat <<EOF

The till is at  ${ready#till ready }
The console is at  $DEMO_ADMIN/store?store_id=corner-shop

Put the two side by side.

  1. Log in with the PIN 1234, search for products and sell some: the numbers on the right move.
  2. Log out, pull the plug and log in again: the till knows you, and tillwatch counts it.
  3. Sell two more, and reload the page: the till still loads, and the sales still wait.
  4. Put the plug back in: what was sold and what was measured arrives within seconds, once.
  5. Make it slow, cause an error, or take back consent, and see what tillwatch makes of it.

The collector answers too: curl -s "$DEMO_ADMIN/api/v1/percentiles?metric=sync_duration_ms&store_id=corner-shop"
Data: $TILLWATCH_DATA_DIR   Logs: $logs   Ctrl-C stops everything.
EOF

# Returns when one of the two ends, or at Ctrl-C.
wait -n "$serve_pid" "$till_pid" || true
tail -n 5 "$logs/serve.log" "$logs/till.log" >&2
fail "the collector or the till's server ended by itself; the logs are in $logs"
