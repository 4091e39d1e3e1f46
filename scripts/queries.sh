#!/usr/bin/env bash
# Measures what terminals notice of queries over everything that is open, and writes it into docs/load.md.
# `make queries` calls it; needs curl and jq.
#
# A collector of its own never seals, so that every row stays open. A fleet fills it and goes on posting in turns of a
# few seconds, in every second of which clients ask without a pause for percentiles of every metric over the whole range.
#
#   scripts/queries.sh
#
# TILLWATCH     the program (default: built in the release profile)
# ROWS          open rows before the first turn (default 200000)
# RATE          batches a minute (default 20000)
# ROUNDS        turns with and without queries, one after the other (default 5)
# TURN          length of a turn, seconds (default 20)
# CLIENTS       clients that ask at once (default 4)
# LOAD_REPORT   the page that is written (default docs/load.md); empty: none
set -euo pipefail
cd "$(dirname "$0")/.."

rows_wanted="${ROWS:-200000}" rate="${RATE:-20000}" rounds="${ROUNDS:-5}" turn="${TURN:-20}" clients="${CLIENTS:-4}"
report="${LOAD_REPORT-docs/load.md}"
for tool in curl jq; do
  command -v "$tool" > /dev/null || { echo "scripts/queries.sh: $tool is missing; install it." >&2; exit 2; }
done
tillwatch="${TILLWATCH:-}"
if [[ -z "$tillwatch" ]]; then
  echo "Building in the release profile (the first time takes minutes) …"
  cargo build --release --locked --quiet --bin tillwatch
  tillwatch="${CARGO_TARGET_DIR:-target}/release/tillwatch"
fi

folder="$(mktemp -d)"
serve='' asking=()
end() {
  for pid in "${asking[@]}" $serve; do kill "$pid" 2> /dev/null || true; done
  [[ -z "$serve" ]] || wait "$serve" 2> /dev/null || true
  rm -rf "$folder"
}
trap end EXIT

# Nothing but the end seals.
TILLWATCH_SEAL_ROWS=100000000 TILLWATCH_SEAL_JOURNAL_BYTES=64GiB TILLWATCH_JOURNAL_BUDGET=64GiB \
  "$tillwatch" serve --data-dir "$folder/data" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --seal-interval 24h \
  > "$folder/ready" 2> "$folder/log" &
serve=$!
until grep -q '^tillwatch ready' "$folder/ready"; do
  kill -0 "$serve" 2> /dev/null || { cat "$folder/log" >&2; exit 1; }
  sleep 0.2
done
url="$(sed -n 's/.* ingest=\([^ ]*\).*/\1/p' "$folder/ready")" admin="$(sed -n 's/.* admin=\([^ ]*\).*/\1/p' "$folder/ready")"

# fleet NAME STORES TERMINALS: a turn of a fleet; its report goes to a file of that name.
fleet() {
  "$tillwatch" simulate --url "$url" --stores "$2" --terminals "$3" --rate "$rate" --duration "${turn}s" --seed "$RANDOM" \
    --quiet --json > "$folder/$1" || { cat "$folder/$1" >&2; exit 1; }
}
open_rows() { curl -sf "$admin/metrics" | awk '$1 == "tillwatch_open_rows" { printf "%d", $2 }'; }
# Queries that were answered, and seconds spent on all.
answers() {
  curl -sf "$admin/metrics" | awk '
    $1 == "tillwatch_queries_total{result=\"ok\"}" { answered = $2 }
    $1 == "tillwatch_query_duration_seconds_sum" { spent = $2 }
    END { print answered + 0, spent + 0 }'
}
# times FILE: p50 and p99 of the answers, ms.
times() { jq -r '[.answer_times.p50_ms, .answer_times.p99_ms, .answer_times.max_ms] | map(. * 100 | round / 100) | @tsv' "$folder/$1"; }

echo "Filling a collector with $rows_wanted open rows …"
while rows="$(open_rows)"; (( rows < rows_wanted )); do
  fleet filled 200 2000
  echo "  $(open_rows) rows"
done

# Every metric over all there is, again and again, one after the other on one connection.
now_ms="$(date +%s)000"
curl -sf "$admin/api/v1/metrics" | jq -r '.metrics[].metric' > "$folder/metrics"
for (( again = 0; again < 1000; again++ )); do
  while read -r metric; do
    printf 'url = "%s/api/v1/percentiles?metric=%s&group_by=connection&from=%s&to=%s"\noutput = "/dev/null"\n' \
      "$admin" "$metric" "$(( now_ms - 86400000 ))" "$(( now_ms + 86400000 ))"
  done < "$folder/metrics"
done > "$folder/questions"
ask() {
  for (( client = 0; client < clients; client++ )); do
    curl -s --config "$folder/questions" > /dev/null 2>&1 &
    asking+=("$!")
  done
}
hush() {
  for pid in "${asking[@]}"; do kill "$pid" 2> /dev/null || true; wait "$pid" 2> /dev/null || true; done
  asking=()
}

median() { sort -n | awk '{ all[NR] = $1 } END { print (NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2) }'; }
table="$folder/table"
{
  echo "| turn | open rows | p50 ms without | p99 ms | longest ms | p50 ms with queries | p99 ms | longest ms | answered queries | mean s |"
  echo "|---|---|---|---|---|---|---|---|---|---|"
} > "$table"
for (( round = 1; round <= rounds; round++ )); do
  fleet "quiet.$round" 50 500
  read -r answered_before spent_before <<< "$(answers)"
  ask
  fleet "asked.$round" 50 500
  hush
  read -r answered_after spent_after <<< "$(answers)"
  answered="$(( answered_after - answered_before ))"
  mean="$(awk -v spent="$spent_after" -v before="$spent_before" -v answered="$answered" 'BEGIN { printf "%.3f", answered ? (spent - before) / answered : 0 }')"
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$round" "$(open_rows)" "$(times "quiet.$round")" "$(times "asked.$round")" "$answered" "$mean" \
    | sed 's/\t/ | /g; s/^/| /; s/$/ |/' | tee -a "$table"
done
p99() { for (( round = 1; round <= rounds; round++ )); do times "$1.$round" | cut -f 2; done | median; }
quiet="$(p99 quiet)" asked="$(p99 asked)"
is_met="$(awk -v quiet="$quiet" -v asked="$asked" 'BEGIN { print (asked <= 2 * quiet ? "met" : "not met") }')"
{
  echo "| expected | found | |"
  echo "|---|---|---|"
  echo "| p99 of the answers to terminals is at most twice as long while queries run | $quiet ms without queries, $asked ms with them (medians of $rounds turns) | $is_met |"
  echo
  echo "$(nproc) processors, simulator and clients beside the collector; $rate batches a minute from 500 terminals in 50 stores, $clients clients that ask."
  echo
  cat "$table"
} > "$folder/section"
cat "$folder/section"
if [[ -n "$report" ]]; then
  awk -v section="$folder/section" '
    /^<!-- end queries -->/ { inside = 0 }
    !inside { print }
    /^<!-- begin queries -->/ { inside = 1; while ((getline line < section) > 0) print line }
  ' "$report" > "$folder/page"
  cat "$folder/page" > "$report"
fi
[[ "$is_met" == met ]]
