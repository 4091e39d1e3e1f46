#!/usr/bin/env bash
# Runs the probe's scenarios once at the till of `make demo`, which must be running. `make probe` calls it.
#
# DEMO_PORT         where the till is served       (default 8090)
# TILLWATCH_LISTEN  where the collector listens    (default 127.0.0.1:8080)
# PROBE_DATA_DIR    where the probe keeps its data (default data/probe)
set -euo pipefail
cd "$(dirname "$0")/.."

url="http://localhost:${DEMO_PORT:-8090}"
command -v node >/dev/null || { echo "make probe: node is missing: install Node.js 20 or later." >&2; exit 1; }
node -e 'fetch(process.argv[1]).catch(() => process.exit(1))' "$url" ||
  { echo "make probe: no till answers at $url. Start one with make demo, or name its port with DEMO_PORT." >&2; exit 1; }
if [[ ! probe/node_modules/.package-lock.json -nt probe/package-lock.json ]]; then
  npm ci --prefix probe --ignore-scripts --no-audit --no-fund
fi
exec node probe/bin/tillwatch-probe.mjs run probe/scenarios/*.json --once --url "$url" \
  --collector "http://${TILLWATCH_LISTEN:-127.0.0.1:8080}" --store corner-shop --data-dir "${PROBE_DATA_DIR:-data/probe}"
