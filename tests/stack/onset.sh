#!/usr/bin/env bash
# How long it takes from the onset of trouble to the page in a fleet as large as a chain, and what else is said meanwhile:
# tillwatch, Prometheus and Alertmanager with the shipped rules and intervals, simulated terminals that make a batch a
# minute, and one store that becomes slow. It takes about half an hour; `make test-stack` does not call it.
#
#   tests/stack/onset.sh                        60 stores, 600 terminals, store 7 slow after 25 minutes
#   TROUBLE=none HEALTHY_FOR=3600 tests/stack/onset.sh
#                                               nothing is wrong: what is said is false
#   STORES, TERMINALS, TROUBLE (as the simulator's), TROUBLE_AFTER (minutes) change it.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

stores="${STORES:-60}" terminals="${TERMINALS:-600}" trouble="${TROUBLE:-slow-sync:7}" after="${TROUBLE_AFTER:-25}"
need_prometheus
begin
# Only the quiet hours are taken out: what comes at night counts, too.
start_alertmanager 's/mute_time_intervals: .*/mute_time_intervals: []/'
start_tillwatch
mkdir "$folder/rules"
cp alerts/rules/*.yml "$folder/rules/"
sed -E "s#\"alertmanager:9093\"#\"${alertmanager_url#http://}\"#; s#\"tillwatch:9090\"#\"${admin#http://}\"#; s#localhost:9090#127.0.0.1:PORT#" \
  alerts/prometheus.yml >"$folder/prometheus.yml.in"
start_prometheus

with_trouble=()
[[ "$trouble" == none ]] || with_trouble=(--trouble "$trouble@${after}m")
begun_ms="$(date +%s%3N)"
start_in_background fleet "$tillwatch" simulate --url "$ingest" --stores "$stores" --terminals "$terminals" --canary-share 0 \
  --forever --quiet --drain 2s "${with_trouble[@]}"
# Alerts about shops that fired at any time and went to the pager or the chat: a name, and a store if there is one.
said() {
  curl -fsS --get --data-urlencode 'query=count by (alertname, store_id) (last_over_time(ALERTS{alertstate="firing", severity=~"critical|warning", scope!~"collector|monitoring"}[12h]))' \
    "$prometheus_url/api/v1/query" | jq -r '.data.result[].metric | "\(.alertname) \(.store_id // "")"' | sort
}
until_true 120 "the dead man's switch did not arrive" is_notified /deadman firing Watchdog

if [[ "$trouble" == none ]]; then
  sleep "${HEALTHY_FOR:-3600}"
  value 'sum(increase(pos_sync_attempts_total[30m])) * 2' | xargs printf 'synchronisations an hour: %.0f\n'
  lines="$(said)"
  [[ -z "$lines" ]] || fail "a healthy fleet of $stores stores was called bad: $lines"
  pass "a healthy fleet of $stores stores and $terminals terminals: no line in ${HEALTHY_FOR:-3600} s"
  exit 0
fi

store="$(printf 'store-%03d' "${trouble#*:}")"
onset_ms=$((begun_ms + after * 60000))
until_true $((after * 60 + 1800)) "the slow store was not paged" is_notified /pager firing PosStoreSyncLatencyHigh "$store"
page="$(notified /pager firing PosStoreSyncLatencyHigh "$store" | head -n 1)"
took="$(jq -r --argjson onset "$onset_ms" '(.at_ms - $onset) / 1000' <<<"$page")"
pass "$store was paged $took s after its trouble began: $(jq -r '.commonAnnotations.description' <<<"$page")"
pass "synchronisations an hour of a store: $(value "avg(sum by (store_id) (increase(pos_sync_attempts_total[15m]))) * 4" | cut -d. -f1)"
# Whatever else is said of this store is true.
others="$(said | grep -v " $store\$" || true)"
[[ -z "$others" ]] || fail "also called bad: $others"
pass "nothing else was said in $((after)) minutes of $((stores - 1)) healthy stores"
