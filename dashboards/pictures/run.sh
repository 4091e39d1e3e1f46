#!/usr/bin/env bash
# Installs what drawing the dashboards needs, and draws them. `make pictures` calls it; arguments go to make.mjs.
set -euo pipefail
cd "$(dirname "$0")"

for program in prometheus prometheus-alertmanager; do
  command -v "$program" >/dev/null || { echo "make pictures: $program is missing; make test-stack installs it" >&2; exit 1; }
done
if ! command -v "${CHROMIUM:-chromium}" >/dev/null; then
  if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends chromium fonts-inter
  else
    echo "make pictures: chromium is missing (on Debian, as root: apt-get install chromium fonts-inter)" >&2
    exit 1
  fi
fi
[[ -d node_modules/sharp ]] || npm ci --ignore-scripts --no-audit --no-fund
exec node make.mjs "$@"
