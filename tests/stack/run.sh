#!/usr/bin/env bash
# tillwatch under a real Prometheus: lints /metrics, parses /metrics/fleet strictly, scrapes both and asks
# Prometheus what it got. `make test-stack` calls it; everything it starts is gone when it ends.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'test-stack: FAILED: %s\n' "$*" >&2; exit 1; }
pass() { printf 'test-stack: ok: %s\n' "$*"; }

missing=()
for program in prometheus promtool; do
  command -v "$program" >/dev/null || missing+=("$program")
done
if (( ${#missing[@]} > 0 )); then
  if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # The tests start their own; the services of the packages must not run beside them.
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e "$policy" ]]; then
      printf '#!/bin/sh\nexit 101\n' >"$policy"
      chmod +x "$policy"
      trap 'rm -f "$policy"' EXIT
    fi
    apt-get install -q -y --no-install-recommends prometheus prometheus-alertmanager
    rm -f "$policy"
    trap - EXIT
  else
    fail "missing: ${missing[*]}. Install Prometheus (on Debian, as root: apt-get install --no-install-recommends prometheus prometheus-alertmanager)"
  fi
fi
for program in cargo curl jq prometheus promtool; do
  command -v "$program" >/dev/null || fail "missing: $program"
done

cargo build --locked --quiet --bin tillwatch
tillwatch="${CARGO_TARGET_DIR:-target}/debug/tillwatch"
folder="$(mktemp -d)"
set -m
pids=()
stop() {
  trap '' INT TERM
  local pid
  for pid in "${pids[@]}"; do
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

# until_true SECONDS WHAT COMMAND…: runs the command until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1)) what="$2"
  shift 2
  until "$@"; do
    (( SECONDS < deadline )) || fail "$what"
    sleep 0.3
  done
}

TILLWATCH_SEAL_INTERVAL=2s "$tillwatch" serve --data-dir "$folder/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
  </dev/null >"$folder/serve.out" 2>"$folder/serve.log" &
pids=("$!")
is_ready() {
  kill -0 "${pids[0]}" 2>/dev/null || { cat "$folder/serve.log" >&2; fail "tillwatch did not start"; }
  grep -q '^tillwatch ready ' "$folder/serve.out"
}
until_true 60 "tillwatch was not ready" is_ready
ready="$(grep -m 1 '^tillwatch ready ' "$folder/serve.out")"
ingest="${ready#*ingest=}"
ingest="${ingest%% *}"
admin="${ready#*admin=}"

"$tillwatch" simulate --url "$ingest" --stores 5 --terminals 50 --rate 1200 --forever --quiet --drain 2s \
  </dev/null >"$folder/fleet.out" 2>"$folder/fleet.log" &
# Stopped in this order: the fleet, then the collector.
pids=("$!" "${pids[0]}")
has_fleet() { curl -fsS "$admin/metrics/fleet" | grep -q '^pos_sync_duration_seconds_count{[^}]*} [1-9]'; }
until_true 60 "the fleet's samples do not show in /metrics/fleet" has_fleet
has_shipped() { curl -fsS "$admin/metrics" | grep -q '^tillwatch_confirmed_epoch [1-9]'; }
until_true 60 "no epoch was confirmed" has_shipped

curl -fsS "$admin/metrics" >"$folder/own.txt"
promtool check metrics <"$folder/own.txt" || fail "promtool check metrics finds fault with /metrics"
pass "promtool check metrics: $(grep -c '^# TYPE' "$folder/own.txt") families"

# The strict parser wants a time on every line.
curl -fsS -D "$folder/head" "$admin/metrics/fleet" >"$folder/fleet.txt"
grep -qi '^content-type: application/openmetrics-text' "$folder/head" || fail "/metrics/fleet is not sent as OpenMetrics"
[[ "$(tail -n 1 "$folder/fleet.txt")" == "# EOF" ]] || fail "/metrics/fleet does not end with # EOF"
awk -v now="$(date +%s)" '/^#/ { print; next } { print $0, now }' "$folder/fleet.txt" >"$folder/timed.txt"
promtool tsdb create-blocks-from openmetrics "$folder/timed.txt" "$folder/blocks" >"$folder/blocks.log" 2>&1 \
  || { cat "$folder/blocks.log" >&2; fail "/metrics/fleet is not strict OpenMetrics"; }
pass "OpenMetrics: $(grep -vc '^#' "$folder/fleet.txt") lines of /metrics/fleet parsed"

cat >"$folder/prometheus.yml" <<YML
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: tillwatch
    static_configs: [{targets: ["${admin#http://}"]}]
  - job_name: fleet
    metrics_path: /metrics/fleet
    static_configs: [{targets: ["${admin#http://}"]}]
YML
promtool check config "$folder/prometheus.yml" >/dev/null || fail "the test's own configuration is wrong"
# Prometheus cannot take a free port by itself and say which; try some.
prometheus_url=
for _ in {1..10}; do
  port=$((20000 + RANDOM % 20000))
  prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/prometheus" \
    --web.listen-address="127.0.0.1:$port" </dev/null >"$folder/prometheus.log" 2>&1 &
  pid=$!
  for _ in {1..100}; do
    kill -0 "$pid" 2>/dev/null || break
    if curl -fs "http://127.0.0.1:$port/-/ready" >/dev/null && kill -0 "$pid" 2>/dev/null; then
      prometheus_url="http://127.0.0.1:$port"
      break
    fi
    sleep 0.2
  done
  [[ -n "$prometheus_url" ]] && break
  kill -TERM "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
done
[[ -n "$prometheus_url" ]] || { tail -n 5 "$folder/prometheus.log" >&2; fail "Prometheus did not start"; }
pids=("$pid" "${pids[@]}")

# value EXPRESSION: what Prometheus says, 0 when it has no such series.
value() { curl -fsS --get --data-urlencode "query=$1" "$prometheus_url/api/v1/query" | jq -r '.data.result[0].value[1] // "0"'; }
is_at_least() { awk -v value="$(value "$1")" -v least="$2" 'BEGIN { exit !(value >= least) }'; }

until_true 60 "Prometheus does not see both targets up" is_at_least 'sum(up)' 2
pass "both targets are up"
until_true 60 "no pos_sync_duration_seconds_bucket of 5 stores" is_at_least 'count(count by (store_id) (pos_sync_duration_seconds_bucket))' 5
pass "pos_sync_duration_seconds_bucket of $(value 'count(count by (store_id) (pos_sync_duration_seconds_bucket))') stores"
until_true 60 "no tillwatch_samples_total" is_at_least 'sum(tillwatch_samples_total{outcome="accepted"})' 1
pass "tillwatch_samples_total is $(value 'sum(tillwatch_samples_total{outcome="accepted"})')"
until_true 60 "the sync rate is not above zero" is_at_least 'sum(rate(pos_sync_duration_seconds_count[15s]))' 0.001
until_true 60 "no percentile from the buckets" is_at_least 'histogram_quantile(0.95, sum by (le) (rate(pos_sync_duration_seconds_bucket[30s])))' 0.01
pass "p95 from the buckets is $(value 'histogram_quantile(0.95, sum by (le) (rate(pos_sync_duration_seconds_bucket[30s])))') s"
duplicates='max(count by (store_id, le) (pos_sync_duration_seconds_bucket))'
[[ "$(value "$duplicates")" == 1 ]] || fail "a store has its sync buckets more than once"
pass "no store is counted twice"
echo "test-stack: all passed"
