#!/usr/bin/env bash
# The alert rules and Alertmanager's routes: their own tests, and fifty bad stores on a running Alertmanager.
# `tests/stack/run.sh` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

need_prometheus
begin

promtool check rules --lint=all --lint-fatal alerts/rules/*.yml >"$folder/log" || { cat "$folder/log" >&2; fail "promtool check rules"; }
promtool check config alerts/prometheus.yml >"$folder/log" || { cat "$folder/log" >&2; fail "promtool check config"; }
amtool check-config alerts/alertmanager.yml >"$folder/log" || { cat "$folder/log" >&2; fail "amtool check-config"; }
for file in alerts/tests/*.yml; do
  promtool test rules "$file" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; fail "$file"; }
done
pass "promtool: $(grep -c 'alert: ' alerts/rules/*.yml | awk -F: '{ sum += $2 } END { print sum }') alerts, $(grep -c 'eval_time' alerts/tests/*.yml | awk -F: '{ sum += $2 } END { print sum }') assertions"

routes=0
while IFS=: read -r receiver labels; do
  # shellcheck disable=SC2086 # one argument a label
  amtool config routes test --config.file=alerts/alertmanager.yml --verify.receivers="$receiver" $labels >"$folder/log" 2>&1 \
    || { cat "$folder/log" >&2; fail "an alert with$labels does not go to $receiver"; }
  routes=$((routes + 1))
done < <(grep -v '^#' alerts/tests/routes.txt)
(( routes >= 10 )) || fail "the routes were not found"
pass "amtool: $routes routes"

# Fifty stores and the fleet at once.
start_alertmanager 's/(group_wait|group_interval): .*/\1: 2s/'
alert() { # NAME SCOPE STORE
  jq -nc --arg name "$1" --arg scope "$2" --arg store "$3" \
    '{labels: ({alertname: $name, severity: "critical", scope: $scope, family: "sync_latency"} + (if $store == "" then {} else {store_id: $store} end))}'
}
{
  alert PosFleetSyncLatencyHigh fleet ""
  for store in {1..50}; do alert PosStoreSyncLatencyHigh store "store-$store"; done
} | jq -s . | curl -fsS -H 'Content-Type: application/json' -d @- "$alertmanager_url/api/v2/alerts" >/dev/null
until_true 60 "the fleet's alert was not paged" is_notified /pager firing PosFleetSyncLatencyHigh
until_true 60 "the alerts of the stores are not held back" are_held PosStoreSyncLatencyHigh 50
is_notified /pager firing PosStoreSyncLatencyHigh && fail "stores were paged beside the fleet"
pass "fifty bad stores are one page"
