#!/usr/bin/env bash
# Brings what the terminal's library or the console (`sdk` or `console`) is built and tested with, and says whether its
# dist/ is what its sources make.
set -euo pipefail
cd "$(dirname "$0")/../$1"

# `make test` and `make test-stack` may both be at it; where there is no flock, one after the other.
if command -v flock >/dev/null; then
  exec 9>node_modules.lock
  flock 9
fi
# What is installed is what the lock file says if the lock file is not newer.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  npm ci --ignore-scripts --no-audit --no-fund
fi
node build.mjs --check
