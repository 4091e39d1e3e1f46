# What the scripts of this folder share; they source it. Whatever is started here is gone when they end.

fail() { printf 'test-stack: FAILED: %s\n' "$*" >&2; exit 1; }
pass() { printf 'test-stack: ok: %s\n' "$*"; }

# Whoever does not answer makes a test fail, and not wait for ever.
curl() { command curl --max-time 30 "$@"; }

# install_packages PACKAGE…: as root on Debian; fails elsewhere.
install_packages() {
  local policy=/usr/sbin/policy-rc.d is_ours=''
  [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null || return 1
  export DEBIAN_FRONTEND=noninteractive
  # The tests start their own; the services of the packages must not run beside them.
  if [[ ! -e "$policy" ]]; then
    is_ours=1
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  apt-get update -q && apt-get install -q -y --no-install-recommends "$@" || return 1
  if [[ -n "$is_ours" ]]; then
    rm -f "$policy"
    trap - EXIT
  fi
}

# Installs Prometheus and Alertmanager where it can; elsewhere says what is missing. Before `begin`.
need_prometheus() {
  local program missing=()
  for program in prometheus promtool prometheus-alertmanager amtool; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  (( ${#missing[@]} == 0 )) || install_packages prometheus prometheus-alertmanager \
    || fail "missing: ${missing[*]}. Install Prometheus (on Debian, as root: apt-get install --no-install-recommends prometheus prometheus-alertmanager)"
  for program in cargo curl jq node prometheus promtool prometheus-alertmanager amtool; do
    command -v "$program" >/dev/null || fail "missing: $program"
  done
}

# Installs Chromium where it can; elsewhere says that it is missing. Before `begin`.
need_chromium() {
  local program
  for program in "${CHROMIUM:-chromium}" google-chrome chromium-browser; do
    command -v "$program" >/dev/null && return
  done
  install_packages chromium || fail "Chromium is missing (on Debian, as root: apt-get install --no-install-recommends chromium); CHROMIUM can name it"
}

# Installs Python's venv where it can; elsewhere says that it is missing. Before `begin`.
need_python() {
  python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3 python3-venv \
    || fail "Python's venv is missing (on Debian, as root: apt-get install --no-install-recommends python3-venv)"
}

# A folder of its own, and whatever is in `pids` is ended, in that order, when the script ends.
begin() {
  folder="$(mktemp -d)"
  set -m
  pids=()
  trap stop EXIT
  trap 'exit 130' INT TERM
}

stop() {
  local status=$? pid
  trap '' INT TERM
  for pid in "${pids[@]}"; do
    end "$pid" || status=1
  done
  rm -rf "$folder"
  exit "$status"
}

# How long a program has to end, s. A script that waits for one that has programs of its own needs more.
end_within=30

# end PID: tells it to end, and kills it if it does not in time: that is a failure.
end() {
  local deadline=$((SECONDS + end_within))
  kill -TERM "$1" 2>/dev/null || true
  while kill -0 "$1" 2>/dev/null; do
    if (( SECONDS >= deadline )); then
      echo "test-stack: FAILED: this did not end within $end_within s: $(ps -o pid=,etimes=,stat=,args= -p "$1")" >&2
      kill -KILL "$1" 2>/dev/null || true
      wait "$1" 2>/dev/null || true
      return 1
    fi
    sleep 0.1
  done
  wait "$1" 2>/dev/null || true
}

# until_true SECONDS WHAT COMMAND…: runs the command until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1)) what="$2"
  shift 2
  until "$@"; do
    (( SECONDS < deadline )) || fail "$what"
    sleep 0.3
  done
}

# find_tillwatch: sets tillwatch to the program of STACK_PROGRAM, or builds it.
find_tillwatch() {
  tillwatch="${STACK_PROGRAM:-${CARGO_TARGET_DIR:-target}/debug/tillwatch}"
  [[ -n "${STACK_PROGRAM:-}" ]] || cargo build --locked --quiet --bin tillwatch
}

# start_tillwatch [LISTEN ADMIN_LISTEN]: on free ports, or there, with an admin listener that asks for a key. Sets tillwatch,
# tillwatch_pid, ingest, admin; makes keys/metrics.key, which Prometheus shows, and operator.key, which `ask` does.
start_tillwatch() {
  find_tillwatch
  mkdir -p "$folder/keys"
  "$tillwatch" key new --data-dir "$folder/data" --scope metrics --to "$folder/keys/metrics.key"
  "$tillwatch" key new --data-dir "$folder/data" --scope metrics --scope read --scope operate --to "$folder/operator.key"
  export TILLWATCH_ADMIN_KEY_FILE="$folder/operator.key"
  # Emptied before: what a program before it has written there must not be taken for its word.
  : >"$folder/serve.out"
  TILLWATCH_SEAL_INTERVAL=2s TILLWATCH_ADMIN_AUTH=required "$tillwatch" serve --data-dir "$folder/data" --listen "${1:-127.0.0.1:0}" --admin-listen "${2:-127.0.0.1:0}" \
    </dev/null >"$folder/serve.out" 2>"$folder/serve.log" &
  tillwatch_pid="$!"
  pids=("$tillwatch_pid" "${pids[@]}")
  until_true 60 "tillwatch was not ready" tillwatch_is_ready "$tillwatch_pid"
  local ready
  ready="$(grep -m 1 '^tillwatch ready ' "$folder/serve.out")"
  ingest="${ready#*ingest=}"
  ingest="${ingest%% *}"
  admin="${ready#*admin=}"
}

# ask PATH [OPTION…]: the admin listener, with a key.
ask() { local path="$1"; shift; curl -fsS -H "Authorization: Bearer $(cat "$folder/operator.key")" "$@" "$admin$path"; }

tillwatch_is_ready() { # PID
  kill -0 "$1" 2>/dev/null || { cat "$folder/serve.log" >&2; fail "tillwatch did not start"; }
  grep -q '^tillwatch ready ' "$folder/serve.out"
}

# start_in_background NAME COMMAND…: its output goes to NAME.out and NAME.log.
start_in_background() {
  local name="$1"
  shift
  "$@" </dev/null >"$folder/$name.out" 2>"$folder/$name.log" &
  pids=("$!" "${pids[@]}")
}

# start_on_a_port NAME COMMAND…: runs the command, in which PORT stands for a port as it does in NAME.yml.in, if there is
# one, until it is ready on one. Neither Prometheus nor Alertmanager can take a free port by itself and say which. Sets
# url and pid.
start_on_a_port() {
  local name="$1" port
  shift
  for _ in {1..10}; do
    port=$((20000 + RANDOM % 20000))
    [[ ! -f "$folder/$name.yml.in" ]] || sed "s/PORT/$port/g" "$folder/$name.yml.in" >"$folder/$name.yml"
    "${@//PORT/$port}" </dev/null >"$folder/$name.log" 2>&1 &
    pid=$!
    url="http://127.0.0.1:$port"
    for _ in {1..100}; do
      kill -0 "$pid" 2>/dev/null || break
      if curl -fs "$url/-/ready" >/dev/null && kill -0 "$pid" 2>/dev/null; then
        pids=("$pid" "${pids[@]}")
        return
      fi
      sleep 0.2
    done
    end "$pid"
  done
  tail -n 5 "$folder/$name.log" >&2
  fail "$name did not start"
}

# start_alertmanager SED: with the shipped configuration changed by SED, and a webhook that takes the notifications. Sets
# alertmanager_url.
start_alertmanager() {
  local hook
  touch "$folder/notifications"
  start_in_background webhook node tests/stack/webhook.mjs "$folder/notifications"
  until_true 20 "the webhook did not start" grep -q '^http' "$folder/webhook.out"
  hook="$(cat "$folder/webhook.out")"
  sed -E "s#http://(pager|chat|deadman)\.example\.com/[a-z]+#$hook/\1#; $1" alerts/alertmanager.yml >"$folder/alertmanager.yml"
  amtool check-config "$folder/alertmanager.yml" >/dev/null || fail "the test's own Alertmanager configuration is wrong"
  start_on_a_port alertmanager prometheus-alertmanager --config.file="$folder/alertmanager.yml" --storage.path="$folder/alertmanager" \
    --web.listen-address=127.0.0.1:PORT --cluster.listen-address=
  alertmanager_url="$url"
}

# notified PATH STATUS ALERT [STORE]: the notifications that came to /pager or /deadman, one a line.
notified() {
  jq -c --arg path "$1" --arg status "$2" --arg alert "$3" --arg store "${4:-}" 'select(.path == $path and .status == $status
    and any(.alerts[]; .labels.alertname == $alert and ($store == "" or .labels.store_id == $store)))' "$folder/notifications"
}
is_notified() { [[ -n "$(notified "$@")" ]]; }

# are_held ALERT COUNT: Alertmanager has that many and tells nobody.
are_held() {
  curl -fsS "$alertmanager_url/api/v2/alerts?filter=alertname=$1" | jq -e --argjson count "$2" '[.[] | select(.status.state == "suppressed")] | length == $count' >/dev/null
}

# start_prometheus: with $folder/prometheus.yml or prometheus.yml.in. Sets prometheus_url, prometheus_pid.
start_prometheus() {
  start_on_a_port prometheus prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/prometheus" \
    --web.listen-address=127.0.0.1:PORT
  prometheus_url="$url"
  prometheus_pid="$pid"
}

# value EXPRESSION: what Prometheus says, 0 when it has no such series.
value() { curl -fsS --get --data-urlencode "query=$1" "$prometheus_url/api/v1/query" | jq -r '.data.result[0].value[1] // "0"'; }
is_at_least() { awk -v value="$(value "$1")" -v least="$2" 'BEGIN { exit !(value >= least) }'; }
