#!/usr/bin/env bash
# Runs every test that needs only Rust, Node and npm. `make test` calls it, after npm ci.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || { echo "cargo is missing: install Rust (https://rustup.rs)." >&2; exit 1; }

if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --locked
  # nextest leaves out the examples in the documentation.
  cargo test --locked --doc
else
  cargo test --locked
fi
