#!/usr/bin/env bash
# Counts the instructions that a batch of forty samples costs, from its first byte to the aggregate, and fails when
# that is over five per cent more than the figure in figures.json. A count does not move with the load of a machine.
# `make instructions` calls it.
#
#   benches/instructions/run.sh [--runs N] [--functions] [--connections N] [--no-check] [json|messagepack|faro|otlp_json|otlp_protobuf|legacy…]
#
# --functions     also says which functions the instructions are in
# --connections   posts over several connections, which then share groups in the journal
# --no-check      only counts
# --refused NAME  counts requests that are refused: address, no_credential, forged or content_encoding
# TILLWATCH       the program (default: that of the dev profile, built if need be; the figures are of that)
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v valgrind >/dev/null; then
  if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -q -y --no-install-recommends valgrind || true
  fi
  command -v valgrind >/dev/null || {
    echo "instructions: FAILED: valgrind is missing. Install it (on Debian, as root: apt-get install valgrind)." >&2
    exit 1
  }
fi

program="${TILLWATCH:-}"
if [[ -z "$program" ]]; then
  cargo build --locked --quiet --bin tillwatch
  program="${CARGO_TARGET_DIR:-target}/debug/tillwatch"
fi
exec node benches/instructions/main.mjs "$program" "$@"
