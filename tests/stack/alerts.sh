#!/usr/bin/env bash
# The alert rules on a real Prometheus and Alertmanager: their own tests, then a loss of data from a posted batch to
# the page, over a restart of Prometheus, and fifty bad stores. `tests/stack/run.sh` calls it.
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

# The shipped configuration, with a receiver of this test and without its waits.
touch "$folder/pages" "$folder/webhook.out"
node tests/stack/webhook.mjs "$folder/pages" >"$folder/webhook.out" 2>"$folder/webhook.log" &
pids=("$!")
until_true 20 "the webhook did not start" grep -q '^http' "$folder/webhook.out"
hook="$(cat "$folder/webhook.out")"
sed -E "s#http://(pager|chat|deadman)\.example\.com/[a-z]+#$hook/\1#; s/(group_wait|group_interval): .*/\1: 2s/; s/mute_time_intervals: .*/mute_time_intervals: []/" \
  alerts/alertmanager.yml >"$folder/alertmanager.yml"
amtool check-config "$folder/alertmanager.yml" >/dev/null || fail "the test's own Alertmanager configuration is wrong"
start_on_a_port alertmanager prometheus-alertmanager --config.file="$folder/alertmanager.yml" --storage.path="$folder/alertmanager" \
  --web.listen-address=127.0.0.1:PORT --cluster.listen-address=
alertmanager_url="$url"

start_tillwatch
mkdir "$folder/rules"
for file in alerts/rules/*.yml; do
  sed -E 's/^    interval: .*/    interval: 2s/' "$file" >"$folder/rules/${file##*/}"
done
sed -E "s#(scrape_interval|evaluation_interval): .*#\1: 1s#; s#scrape_timeout: .*#scrape_timeout: 1s#;
  s#\"alertmanager:9093\"#\"${alertmanager_url#http://}\"#; s#\"tillwatch:9090\"#\"${admin#http://}\"#" alerts/prometheus.yml >"$folder/prometheus.yml"
# Prometheus and Alertmanager are scraped where they are.
start_prometheus

# pages PATH ALERT: how often the alert was notified as firing there.
pages() { jq -c --arg path "$1" --arg alert "$2" 'select(.path == $path and .status == "firing" and .commonLabels.alertname == $alert)' "$folder/pages" | wc -l; }
has_pages() { (( $(pages "$1" "$2") >= 1 )); }
# What fires before Prometheus has found Alertmanager is sent a minute later.
until_true 120 "the dead man's switch did not arrive" has_pages /deadman Watchdog
pass "the dead man's switch arrives"
until_true 60 "Prometheus does not read the fleet's page" is_at_least 'sum_over_time(up{job="tillwatch-fleet"}[1m])' 3

# A store that nobody knew, with a loss three days old: its counter starts at 1.
now="$(date +%s)000"
curl -fsS "$ingest/v1/batches" -H 'Content-Type: application/json' -d '{"v": 1, "sent_at_ms": '"$now"', "store_id": "lossy", "terminal_id": "till-1",
  "queue": "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10", "seq": 1, "release": "2.4.1", "consent": true,
  "samples": [{"m": "data_loss_incidents", "t": '$((now - 3 * 86400000))', "v": 1}, {"m": "offline_login_duration_ms", "t": '$((now - 3 * 86400000))', "v": 9000}]}' >/dev/null
until_true 60 "the loss was not paged" has_pages /pager PosStoreDataLoss
page="$(jq -c 'select(.path == "/pager" and .commonLabels.alertname == "PosStoreDataLoss")' "$folder/pages" | head -n 1)"
jq -e '.commonLabels.store_id == "lossy" and (.commonLabels | has("runbook_base") | not)
  and (.commonAnnotations.runbook_url | startswith("https://") and endswith("/PosStoreDataLoss.md"))
  and (.commonAnnotations.dashboard_url | contains("/d/tillwatch-store?var-store_id=lossy"))
  and (.commonAnnotations.description | contains("1 new incident"))' <<<"$page" >/dev/null || { jq . <<<"$page" >&2; fail "the page is not whole"; }
pass "a posted loss is paged: $(jq -r '.commonAnnotations.description' <<<"$page")"

# Prometheus is away and comes back.
end "$prometheus_pid"
start_prometheus
has_rules() { curl -fsS "$prometheus_url/api/v1/rules" | jq -e '[.data.groups[].rules[] | select(.health == "unknown")] | length == 0' >/dev/null; }
until_true 60 "Prometheus did not evaluate every rule" has_rules
failing="$(curl -fsS "$prometheus_url/api/v1/rules" | jq -r '.data.groups[].rules[] | select(.health != "ok") | .name + ": " + .lastError')"
[[ -z "$failing" ]] || fail "rules that Prometheus cannot evaluate: $failing"
pass "Prometheus evaluates every rule"
is_firing() { curl -fsS "$alertmanager_url/api/v2/alerts?filter=alertname=PosStoreDataLoss" | jq -e 'length == 1' >/dev/null; }
until_true 60 "Alertmanager lost the alert" is_firing
times="$(pages /pager PosStoreDataLoss)"
(( times == 1 )) || fail "one loss was paged $times times"
pass "one loss is one page, also over a restart of Prometheus"

# Fifty stores and the fleet at once.
alert() { # NAME SCOPE STORE
  jq -nc --arg name "$1" --arg scope "$2" --arg store "$3" \
    '{labels: ({alertname: $name, severity: "critical", scope: $scope, family: "sync_latency"} + (if $store == "" then {} else {store_id: $store} end))}'
}
{
  alert PosFleetSyncLatencyHigh fleet ""
  for store in {1..50}; do alert PosStoreSyncLatencyHigh store "store-$store"; done
} | jq -s . | curl -fsS -H 'Content-Type: application/json' -d @- "$alertmanager_url/api/v2/alerts" >/dev/null
until_true 60 "the fleet's alert was not paged" has_pages /pager PosFleetSyncLatencyHigh
are_held() { curl -fsS "$alertmanager_url/api/v2/alerts?filter=alertname=PosStoreSyncLatencyHigh" | jq -e '[.[] | select(.status.state == "suppressed")] | length == 50' >/dev/null; }
until_true 60 "the alerts of the stores are not held back" are_held
(( $(pages /pager PosStoreSyncLatencyHigh) == 0 )) || fail "stores were paged beside the fleet"
pass "fifty bad stores are one page"
