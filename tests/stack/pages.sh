#!/usr/bin/env bash
# From a posted batch to the page: tillwatch, Prometheus and Alertmanager with the shipped configuration, twelve stores
# that post, and a webhook that takes what would wake somebody. `tests/stack/run.sh` calls it.
#
#   tests/stack/pages.sh             a slow store, a silent one, a week-late backlog, lost data, the whole fleet. For slow and
#                                    silent stores minutes of `for` and `keep_firing_for` become seconds, a store is
#                                    silent after 20 s, and everything is looked at once a second; the rest is as shipped
#   tests/stack/pages.sh --shipped   nothing is shortened: how long it takes from the first slow synchronisation to the page
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

shipped="${1:-}"
need_prometheus
begin

# chatted TITLE STORE: what the chat was told of it; the title begins with the alert's name and its status.
chatted() { jq -c --arg alert "$1" --arg store "$2" 'select(.path == "/chat") | .attachments[] | select((.title | startswith($alert)) and (.text | contains($store)))' "$folder/notifications"; }
is_chatted() { [[ -n "$(chatted "$@")" ]]; }

# links PAGE: every alert of it leads to a runbook and a dashboard of this project, and says what is wrong.
links() {
  local runbook dashboard
  while IFS=$'\t' read -r runbook dashboard; do
    [[ -f "docs/runbooks/${runbook##*/}" && "$runbook" == https://* ]] || fail "no such runbook: $runbook"
    dashboard="${dashboard#*/d/}"
    [[ -f "dashboards/json/${dashboard%%\?*}.json" ]] || fail "no such dashboard: $dashboard"
  done < <(jq -r '.alerts[] | [.annotations.runbook_url, .annotations.dashboard_url] | @tsv' <<<"$1")
}

shorten_waits='s/(group_wait|group_interval): .*/\1: 1s/; s/mute_time_intervals: .*/mute_time_intervals: []/'
shorten_rules='s/(for|keep_firing_for): ([0-9]+)m$/\1: \2s/'
# A quarter of an hour of silence becomes 20 s, twenty minutes after a start 30 s.
shorten_silence='s/bool 900/bool 20/g; s/< 1200/< 30/'
shorten_looks='s/^    interval: .*/    interval: 1s/'
shorten_scrapes='s/(scrape_interval|scrape_timeout|evaluation_interval): .*/\1: 1s/'
if [[ "$shipped" == --shipped ]]; then
  shorten_waits='' shorten_rules='' shorten_silence='' shorten_looks='' shorten_scrapes=''
fi

start_alertmanager "$shorten_waits"

# Twelve stores that synchronise in 0.9 s, and that reported at this hour a week ago as well.
stores=(store-{01..12})
plan() { jq -n "$1" --args "${stores[@]}" >"$folder/plan.new" && mv "$folder/plan.new" "$folder/plan"; }
usual='[$ARGS.positional[] | {key: ., value: {sync_ms: 900, syncs: 20}}] | from_entries'
# Thirty times as many, so that the slow ones are soon few among those of the last ten minutes.
better='[$ARGS.positional[] | {key: ., value: {sync_ms: 900, syncs: 600}}] | from_entries'
week_ago=$(($(date +%s) - 7 * 86400))
{
  echo "# TYPE pos_store_last_report_timestamp_seconds gauge"
  for store in "${stores[@]}"; do
    seq $((week_ago - 90 * 60)) 10 $((week_ago + 105 * 60)) | sed "s/.*/pos_store_last_report_timestamp_seconds{store_id=\"$store\"} & &/"
  done
  echo "# EOF"
} >"$folder/week_ago.txt"
promtool tsdb create-blocks-from openmetrics "$folder/week_ago.txt" "$folder/prometheus" >"$folder/blocks.log" 2>&1 \
  || { cat "$folder/blocks.log" >&2; fail "the history of a week ago"; }

start_tillwatch
touch "$folder/acks"
plan "$usual"
start_in_background shops node tests/stack/shops.mjs "$ingest" "$folder/plan" "$folder/acks"

mkdir "$folder/rules"
for file in alerts/rules/*.yml; do
  shorten="$shorten_looks"
  case "$file" in
    */sync.yml) shorten+="; $shorten_rules" ;;
    */silence.yml) shorten+="; $shorten_rules; $shorten_silence" ;;
  esac
  sed -E "$shorten" "$file" >"$folder/rules/${file##*/}"
done
sed -E "s#\"alertmanager:9093\"#\"${alertmanager_url#http://}\"#; s#\"tillwatch:9090\"#\"${admin#http://}\"#; s#localhost:9090#127.0.0.1:PORT#;
  $shorten_scrapes" alerts/prometheus.yml >"$folder/prometheus.yml.in"
start_prometheus

# What fires before Prometheus has found Alertmanager is sent a minute later.
until_true 120 "the dead man's switch did not arrive" is_notified /deadman firing Watchdog
pass "the dead man's switch arrives"
until_true 120 "Prometheus has no latency of the stores" is_at_least 'count(store:pos_sync_slow:ratio >= 0)' 12

# ---- A store's synchronisations go slow.
plan "$usual | .[\"store-03\"].sync_ms = 8000"
slow_limit=60
[[ -z "$shipped" ]] || slow_limit=900
until_true "$slow_limit" "the slow store was not paged" is_notified /pager firing PosStoreSyncLatencyHigh store-03
page="$(notified /pager firing PosStoreSyncLatencyHigh | head -n 1)"
slow_since="$(jq -r 'select(.store == "store-03" and .sync_ms == 8000) | .at_ms' "$folder/acks")"
took="$(jq -r --argjson since "$slow_since" '(.at_ms - $since) / 1000' <<<"$page")"
jq -e '(.alerts | length == 1) and .commonLabels.store_id == "store-03" and .commonLabels.severity == "critical"
  and (.commonLabels | has("runbook_base") or has("dashboard_base") | not)
  and (.commonAnnotations.description | test("^[0-9.]+% of the synchronisations of store-03 "))
  and (.commonAnnotations.runbook_url | endswith("/PosStoreSyncLatencyHigh.md"))
  and (.commonAnnotations.dashboard_url | endswith("/d/tillwatch-store?var-store_id=store-03"))' <<<"$page" >/dev/null \
  || { jq . <<<"$page" >&2; fail "the page of the slow store is not whole"; }
links "$page"
pass "a slow store is paged ${took} s after its first slow synchronisation was acknowledged: $(jq -r '.commonAnnotations.description' <<<"$page")"
[[ -z "$shipped" ]] || exit 0

plan "$usual | .[\"store-03\"].syncs = 600"
until_true 120 "the page of the slow store was not taken back" is_notified /pager resolved PosStoreSyncLatencyHigh store-03
(( $(notified /pager firing PosStoreSyncLatencyHigh | wc -l) == 1 )) || fail "the slow store was paged more than once"
pass "it is taken back when the store is fast again, and was one page"

# ---- A backlog of a week: nothing of it is about now.
plan "$usual"
now="$(date +%s)000"
jq -nc --argjson now "$now" '($now - (7 * 86400 - 3600) * 1000) as $start | {v: 1, sent_at_ms: $now, store_id: "store-05", terminal_id: "till-1",
  queue: "2a0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f11", seq: 1, release: "2.4.1", consent: true, samples: [range(400) | ($start + . * 1000) as $t |
    {m: "sync_duration_ms", t: $t, v: 60000}, {m: "sync_attempts", t: $t, v: 1, label: "failure"}, {m: "offline_login_duration_ms", t: $t, v: 9000},
    {m: "offline_logins", t: $t, v: 1, label: "failure"}, {m: "errors", t: $t, v: 5, label: "sync"}, {m: "login_failures", t: $t, v: 5},
    {m: "lcp_ms", t: $t, v: 20000}, {m: "memory_used_mb", t: $t, v: 900}, {m: "pending_transactions", t: $t, v: 990},
    {m: "conflicts", t: $t, v: 1, label: "price_change"}, {m: "reconnect_to_synced_ms", t: $t, v: 3600000}, {m: "queue_wait_ms", t: $t, v: 36000000}]}' \
  | curl -sS "$ingest/v1/batches" -H 'Content-Type: application/json' -d @- >"$folder/answer"
jq -e '.accepted == 4800' "$folder/answer" >/dev/null || { cat "$folder/answer" >&2; fail "the backlog was not accepted whole"; }
until_true 60 "Prometheus does not see the late samples" is_at_least 'sum(pos_late_samples_total{store_id="store-05"})' 4800
# Every rule looks at it twenty times; an alert that is pending counts.
least_looks='min(prometheus_rule_group_iterations_total)'
looked="$(value "$least_looks")"
until_true 120 "Prometheus does not evaluate its rules" is_at_least "$least_looks" "$((looked + 20))"
alerts_of() { curl -fsS "$prometheus_url/api/v1/alerts" | jq -c --arg store "$1" '[.data.alerts[] | select(.labels.store_id == $store) | .labels.alertname]'; }
[[ "$(alerts_of store-05)" == "[]" ]] || fail "a backlog of a week raised $(alerts_of store-05)"
pass "a week-late backlog of 4,800 bad samples raises nothing"

# ---- A store goes silent that reported a week ago.
plan "$usual | del(.[\"store-07\"])"
until_true 120 "the silent store was not told of" is_chatted "PosStoreSilent (firing" store-07
is_notified /pager firing PosStoreSilent && fail "one silent store was paged"
(( $(jq -c 'select(.path == "/chat") | .attachments[] | select(.title | startswith("PosStoreSilent"))' "$folder/notifications" | wc -l) == 1 )) \
  || fail "other stores were called silent, too"
pass "a silent store is told of and not paged: $(chatted "PosStoreSilent (firing" store-07 | jq -r .text | head -n 1)"
plan "$usual"
until_true 60 "the silence was not taken back" is_chatted "PosStoreSilent (resolved" store-07
pass "it is taken back when the store reports again"

# ---- A store that nobody knew, with a loss three days old: its counter starts at 1.
now="$(date +%s)000"
curl -fsS "$ingest/v1/batches" -H 'Content-Type: application/json' -d '{"v": 1, "sent_at_ms": '"$now"', "store_id": "lossy", "terminal_id": "till-1",
  "queue": "5f0c6a52-6f3f-4c0e-8f43-2a6b2f1f8f10", "seq": 1, "release": "2.4.1", "consent": true,
  "samples": [{"m": "data_loss_incidents", "t": '$((now - 3 * 86400000))', "v": 1}, {"m": "offline_login_duration_ms", "t": '$((now - 3 * 86400000))', "v": 9000}]}' >/dev/null
until_true 60 "the loss was not paged" is_notified /pager firing PosStoreDataLoss lossy
page="$(notified /pager firing PosStoreDataLoss | head -n 1)"
jq -e '.commonLabels.store_id == "lossy" and (.commonAnnotations.description | contains("1 new incident"))' <<<"$page" >/dev/null \
  || { jq . <<<"$page" >&2; fail "the page of the loss is not whole"; }
links "$page"
pass "a posted loss is paged: $(jq -r '.commonAnnotations.description' <<<"$page")"

# ---- The collector is killed and comes back.
starts='tillwatch_start_timestamp_seconds'
started="$(value "$starts")"
kill -KILL "$tillwatch_pid"
wait "$tillwatch_pid" 2>/dev/null || true
until_true 60 "Prometheus does not notice that the collector is away" is_at_least 'count(up{job="tillwatch-fleet"} == 0)' 1
start_tillwatch "${ingest#http://}" "${admin#http://}"
until_true 60 "Prometheus does not see the collector's new start" is_at_least "$starts" "$(awk -v started="$started" 'BEGIN { printf "%.3f", started + 1 }')"
until_true 60 "the count of losses did not go on" is_at_least 'pos_data_loss_incidents_total{store_id="lossy"}' 1
looked="$(value "$least_looks")"
until_true 60 "Prometheus does not evaluate its rules" is_at_least "$least_looks" "$((looked + 5))"
times="$(notified /pager firing PosStoreDataLoss | wc -l)"
(( times == 1 )) || fail "one loss was paged $times times"
pass "a loss is paged once, also when the collector is killed after it"

# ---- Prometheus is away and comes back.
end "$prometheus_pid"
start_prometheus
has_rules() { curl -fsS "$prometheus_url/api/v1/rules" | jq -e '[.data.groups[].rules[] | select(.health == "unknown")] | length == 0' >/dev/null; }
until_true 60 "Prometheus did not evaluate every rule" has_rules
failing="$(curl -fsS "$prometheus_url/api/v1/rules" | jq -r '.data.groups[].rules[] | select(.health != "ok") | .name + ": " + .lastError')"
[[ -z "$failing" ]] || fail "rules that Prometheus cannot evaluate: $failing"
pass "Prometheus evaluates every rule"
is_firing() { curl -fsS "$alertmanager_url/api/v2/alerts?filter=alertname=PosStoreDataLoss" | jq -e 'length == 1' >/dev/null; }
until_true 60 "Alertmanager lost the alert" is_firing
times="$(notified /pager firing PosStoreDataLoss | wc -l)"
(( times == 1 )) || fail "one loss was paged $times times"
pass "one loss is one page, also over a restart of Prometheus"

# ---- The whole fleet goes slow, but for the store that still counts as slow from before.
plan "$usual | map_values({sync_ms: 8000, syncs: 60}) | .[\"store-03\"].sync_ms = 900"
until_true 120 "the slow fleet was not paged" is_notified /pager firing PosFleetSyncLatencyHigh
page="$(notified /pager firing PosFleetSyncLatencyHigh | head -n 1)"
links "$page"
until_true 60 "the alerts of the stores are not held back" are_held PosStoreSyncLatencyHigh 11
(( $(notified /pager firing PosStoreSyncLatencyHigh | wc -l) == 1 )) || fail "stores were paged beside the fleet"
pass "a slow fleet is one page: $(jq -r '.commonAnnotations.description' <<<"$page")"
plan "$better"
until_true 180 "the page of the slow fleet was not taken back" is_notified /pager resolved PosFleetSyncLatencyHigh
(( $(notified /pager firing PosStoreSyncLatencyHigh | wc -l) == 1 )) || fail "stores were paged when the fleet's alert ended"
pass "it is taken back, and no store is paged after it"

# ---- The whole fleet goes silent, with the collector up.
plan '{}'
until_true 120 "the silent fleet was not paged" is_notified /pager firing PosFleetStoresSilent
links "$(notified /pager firing PosFleetStoresSilent | head -n 1)"
until_true 60 "the silent stores are not held back" are_held PosStoreSilent 12
pass "a silent fleet is one page: $(notified /pager firing PosFleetStoresSilent | head -n 1 | jq -r '.commonAnnotations.description')"

# ---- Nothing else woke anybody.
others="$(jq -r 'select(.path == "/pager") | .alerts[].labels.alertname' "$folder/notifications" | sort -u \
  | grep -vxE 'PosStoreSyncLatencyHigh|PosStoreDataLoss|PosFleetSyncLatencyHigh|PosFleetStoresSilent|PosSyncErrorBudgetBurnFast' || true)"
[[ -z "$others" ]] || fail "also paged: $others"
pass "nothing else was paged"
