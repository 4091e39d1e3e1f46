#!/usr/bin/env bash
# tillwatch under a real Prometheus: lints /metrics, parses /metrics/fleet strictly, scrapes both and asks
# Prometheus what it got. `tests/stack/run.sh` calls it; everything it starts is gone when it ends.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/stack/support.sh

need_prometheus
begin
start_tillwatch

"$tillwatch" simulate --url "$ingest" --stores 5 --terminals 50 --rate 1200 --forever --quiet --drain 2s \
  </dev/null >"$folder/fleet.out" 2>"$folder/fleet.log" &
# Stopped in this order: the fleet, then the collector.
pids=("$!" "${pids[@]}")
has_fleet() { ask /metrics/fleet | grep -q '^pos_sync_duration_seconds_count{[^}]*} [1-9]'; }
until_true 60 "the fleet's samples do not show in /metrics/fleet" has_fleet
has_shipped() { ask /metrics | grep -q '^tillwatch_confirmed_epoch [1-9]'; }
until_true 60 "no epoch was confirmed" has_shipped

ask /metrics >"$folder/own.txt"
promtool check metrics <"$folder/own.txt" || fail "promtool check metrics finds fault with /metrics"
pass "promtool check metrics: $(grep -c '^# TYPE' "$folder/own.txt") families"

has_windows() {
  ask /metrics/fleet -H 'Accept: text/plain' >"$folder/fleet.plain"
  grep -q '^pos_sync_duration_window_seconds{' "$folder/fleet.plain"
}
until_true 120 "/metrics/fleet has no window gauges" has_windows
promtool check metrics <"$folder/fleet.plain" || fail "promtool check metrics finds fault with /metrics/fleet"
pass "promtool check metrics: $(grep -c '^# TYPE' "$folder/fleet.plain") families of /metrics/fleet"

# The strict parser wants a time on every line.
ask /metrics/fleet -D "$folder/head" >"$folder/fleet.txt"
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
    authorization: {credentials_file: keys/metrics.key}
    static_configs: [{targets: ["${admin#http://}"]}]
  - job_name: fleet
    metrics_path: /metrics/fleet
    basic_auth: {username: prometheus, password_file: keys/metrics.key}
    static_configs: [{targets: ["${admin#http://}"]}]
YML
promtool check config "$folder/prometheus.yml" >/dev/null || fail "the test's own configuration is wrong"
start_prometheus

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
