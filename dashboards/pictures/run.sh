#!/usr/bin/env bash
# Installs what drawing the dashboards needs, and draws them. `make pictures` calls it; arguments go to make.mjs.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
for program in prometheus prometheus-alertmanager chromium; do
  command -v "$program" >/dev/null || missing+=("$program")
done
if (( ${#missing[@]} > 0 )); then
  if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${missing[@]}" fonts-inter
  else
    echo "make pictures: missing: ${missing[*]} (on Debian, as root: apt-get install ${missing[*]} fonts-inter)" >&2
    exit 1
  fi
fi
[[ -d node_modules/sharp ]] || npm ci --ignore-scripts --no-audit --no-fund
exec node make.mjs "$@"
