#!/usr/bin/env bash
# OpenTelemetry's own exporters, in JavaScript and Python, against a real collector. `make test-clients` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

need_python
find_tillwatch
STACK_PROGRAM="$(realpath "$tillwatch")"
export STACK_PROGRAM
# What starts the collector for tests in Node lies beside the library's own tests.
scripts/built.sh sdk
if [[ ! tests/otlp/node_modules/.package-lock.json -nt tests/otlp/package-lock.json ]]; then
  npm ci --prefix tests/otlp --ignore-scripts --no-audit --no-fund
fi
begin
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check --requirement tests/otlp/requirements.txt
export OTLP_PYTHON="$folder/python/bin/python"
node --test tests/otlp/*.test.mjs
pass "exporters of OpenTelemetry"
