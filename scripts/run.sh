#!/usr/bin/env bash
# Runs tillwatch on the embedded engine with a simulated fleet until Ctrl-C. `make run` calls it.
#
# TILLWATCH_LISTEN        where terminals post        (default 127.0.0.1:8080)
# TILLWATCH_ADMIN_LISTEN  metrics and the query API   (default 127.0.0.1:9090)
# TILLWATCH_DATA_DIR      where the data is kept      (default data/run)
# RUN_STORES, RUN_TERMINALS, RUN_BACKFILL             (defaults 50, 500, 24h)
set -euo pipefail
# Started in the background by another script, this one would be deaf to SIGINT.
if [[ -z "${RUN_HEARS_SIGINT:-}" ]] && env --default-signal=INT true 2>/dev/null; then
  RUN_HEARS_SIGINT=1 exec env --default-signal=INT "$BASH" "$0" "$@"
fi
cd "$(dirname "$0")/.."

export TILLWATCH_LISTEN="${TILLWATCH_LISTEN:-127.0.0.1:8080}"
export TILLWATCH_ADMIN_LISTEN="${TILLWATCH_ADMIN_LISTEN:-127.0.0.1:9090}"
export TILLWATCH_DATA_DIR="${TILLWATCH_DATA_DIR:-data/run}"
export TILLWATCH_SEAL_INTERVAL="${TILLWATCH_SEAL_INTERVAL:-10s}"
stores="${RUN_STORES:-50}"
terminals="${RUN_TERMINALS:-500}"
backfill="${RUN_BACKFILL:-24h}"
logs="$TILLWATCH_DATA_DIR.logs"

say() { printf '%s\n' "$*"; }
fail() { printf 'make run: %s\n' "$*" >&2; exit 1; }

port_is_taken() { # host:port
  local host="${1%:*}"
  host="${host#[}"
  (exec 3<>"/dev/tcp/${host%]}/${1##*:}") 2>/dev/null
}

command -v cargo >/dev/null || fail "cargo is missing: install Rust (https://rustup.rs)."
for setting in TILLWATCH_LISTEN TILLWATCH_ADMIN_LISTEN; do
  address="${!setting}"
  if [[ "${address##*:}" != 0 ]] && port_is_taken "$address"; then
    fail "$address is in use by another process. Choose another address: $setting=127.0.0.1:PORT make run"
  fi
done

started=$SECONDS
say "Building (the first time takes minutes) …"
cargo build --locked --quiet --profile trial --bin tillwatch
tillwatch="${CARGO_TARGET_DIR:-target}/trial/tillwatch"
built=$((SECONDS - started))
mkdir -p "$(dirname "$TILLWATCH_DATA_DIR")" "$logs"

# What happened before is delivered once; a later run finds it in the data folder.
history=()
if [[ ! -e "$TILLWATCH_DATA_DIR/state.sqlite" ]]; then
  history=(--backfill "$backfill")
fi

# Job control gives each child a process group of its own: Ctrl-C reaches this script alone, which
# ends the fleet first and the collector after it.
set -m
serve_pid=
fleet_pid=

stop() {
  # Whoever started this may have closed the terminal: that must not keep it from stopping the rest.
  trap '' INT TERM HUP PIPE
  set +e
  if [[ -n "$fleet_pid" ]] && kill -0 "$fleet_pid" 2>/dev/null; then
    say ""
    say "Stopping the fleet …"
    kill -TERM "$fleet_pid" 2>/dev/null
    wait "$fleet_pid" 2>/dev/null
  fi
  if [[ -n "$serve_pid" ]] && kill -0 "$serve_pid" 2>/dev/null; then
    say "Stopping tillwatch: it seals and ships what it holds …"
    kill -TERM "$serve_pid" 2>/dev/null
    wait "$serve_pid" 2>/dev/null
  fi
}
trap stop EXIT
trap 'exit 0' INT TERM HUP

"$tillwatch" serve </dev/null >"$logs/serve.out" 2>"$logs/serve.log" &
serve_pid=$!

ready=
for _ in {1..600}; do
  ready="$(grep -m 1 '^tillwatch ready ' "$logs/serve.out" || true)"
  [[ -n "$ready" ]] && break
  if ! kill -0 "$serve_pid" 2>/dev/null; then
    tail -n 5 "$logs/serve.log" >&2
    fail "tillwatch did not start; its log is $logs/serve.log"
  fi
  sleep 0.1
done
[[ -n "$ready" ]] || fail "tillwatch was not ready after a minute; its log is $logs/serve.log"
ingest="${ready#*ingest=}"
ingest="${ingest%% *}"
admin="${ready#*admin=}"
export TILLWATCH_ADMIN_URL="$admin"

"$tillwatch" simulate --url "$ingest" --stores "$stores" --terminals "$terminals" --forever \
  --queues "$logs/queues.json" --drain 5s "${history[@]}" </dev/null >"$logs/fleet.out" 2>"$logs/fleet.log" &
fleet_pid=$!

no_samples="no samples"
table="$no_samples"
for _ in {1..300}; do
  table="$("$tillwatch" query sync_duration_ms --from 24h --group-by store_id 2>/dev/null || printf '%s' "$no_samples")"
  [[ "$table" != *"$no_samples"* ]] && break
  kill -0 "$fleet_pid" 2>/dev/null || { tail -n 5 "$logs/fleet.log" >&2; fail "the fleet ended; its log is $logs/fleet.log"; }
  sleep 0.2
done
[[ "$table" != *"$no_samples"* ]] || fail "no percentiles after a minute; the log is $logs/serve.log"

# The way a person would type it.
program="$tillwatch"
[[ "$program" == /* ]] || program="./$program"
flags=
[[ "$admin" == http://127.0.0.1:9090 ]] || flags=" --admin-url $admin"

say "First percentiles after $((SECONDS - started)) s, of which $built s building."
say "Synchronisation times of the first stores (milliseconds, within 0.1 %; times in UTC):"
say ""
head -n 7 <<<"$table"
say ""
cat <<EOF
$terminals terminals in $stores stores post to $ingest. Look at them in a browser: $admin/
In another terminal, from this folder:

  $program query sync_duration_ms --group-by store_id$flags
  $program query lcp_ms --group-by release --q 0.5,0.75,0.99$flags
  $program sql --data-dir $TILLWATCH_DATA_DIR "SELECT store_id, sum(count) FROM v_rollup_1m WHERE metric = 'sync_duration_ms' GROUP BY store_id ORDER BY store_id LIMIT 5"
  $program audit --data-dir $TILLWATCH_DATA_DIR
  curl -s "$admin/api/v1/percentiles?metric=sync_duration_ms&q=0.5,0.95&step=5m&store_id=store-001"
  curl -s $admin/metrics
  curl -s $admin/metrics/fleet

Data: $TILLWATCH_DATA_DIR   Logs: $logs   Ctrl-C stops everything.
EOF

# Returns when one of the two ends, or at Ctrl-C.
wait -n "$serve_pid" "$fleet_pid" || true
tail -n 5 "$logs/serve.log" "$logs/fleet.log" >&2
fail "the collector or the fleet ended by itself; the logs are in $logs"
