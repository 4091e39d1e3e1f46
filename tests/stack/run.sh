#!/usr/bin/env bash
# tillwatch under a real Prometheus and Alertmanager. `make test-stack` calls it; everything it starts is gone when it ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

need_prometheus
need_chromium
need_python
begin
# Its parts have to wait for their own.
end_within=240
find_tillwatch
export STACK_PROGRAM="$tillwatch"

# From a batch to the page takes minutes of waiting for rules and intervals; the other parts run meanwhile. Each part has
# a folder and ports of its own.
start_in_background pages tests/stack/pages.sh
pages_pid="${pids[0]}"
tests/stack/alerts.sh
tests/stack/compose.sh
tests/stack/scrapes.sh
node dashboards/check_types.mjs
node dashboards/check_live.mjs
pages_passed=yes
wait "$pages_pid" || pages_passed=
cat "$folder/pages.out" "$folder/pages.log"
[[ -n "$pages_passed" ]] || fail "from a batch to the page"
# Not beside the others: a dozen browsers would make the minutes of alerts longer.
tests/stack/sdk.sh
tests/stack/console.sh
tests/stack/probe.sh
tests/stack/faro.sh
tests/stack/otlp.sh
echo "test-stack: all passed"
