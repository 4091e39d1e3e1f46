#!/usr/bin/env bash
# docker-compose.yml as Compose itself reads it, without an engine, and the files that it mounts as their programs read
# them. The images are not run here. `tests/stack/run.sh` calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/stack/support.sh

need_prometheus
if docker compose version >/dev/null 2>&1; then
  compose() { docker compose -f - config; }
else
  command -v docker-compose >/dev/null || install_packages docker-compose \
    || fail "missing: docker compose. Install it (on Debian, as root: apt-get install --no-install-recommends docker-compose)"
  # Compose 1 does not know the project's name.
  compose() { sed '/^name:/d' | docker-compose -f - config; }
fi
begin

passwords=(TILLWATCH_CLICKHOUSE_PASSWORD GRAFANA_CLICKHOUSE_PASSWORD GRAFANA_ADMIN_PASSWORD)
if (unset "${passwords[@]}"; compose) <docker-compose.yml >"$folder/log" 2>&1; then
  fail "docker-compose.yml starts without passwords"
fi
grep -q 'set it first' "$folder/log" || { cat "$folder/log" >&2; fail "docker-compose.yml does not say which passwords to set"; }
(export "${passwords[@]/%/=secret}"; compose) <docker-compose.yml >"$folder/compose.yml" 2>"$folder/log" \
  || { cat "$folder/log" >&2; fail "docker compose config"; }
services="$(sed -n '/^services:/,/^[^ ]/p' "$folder/compose.yml" | grep -cE '^  [a-z-]+:$')"
(( services == 7 )) || fail "docker-compose.yml has $services services, not 7"
pass "docker compose config: $services services"

mounted="$(grep -oE "$PWD/[^:]+" "$folder/compose.yml" | sort -u)"
for path in $mounted; do
  [[ -e "$path" ]] || fail "docker-compose.yml mounts $path, which does not exist"
done
(( $(wc -l <<<"$mounted") >= 6 )) || fail "the mounts of docker-compose.yml were not found"
promtool check config "$PWD/alerts/prometheus.yml" >"$folder/log" || { cat "$folder/log" >&2; fail "promtool check config"; }
amtool check-config "$PWD/alerts/alertmanager.yml" >"$folder/log" || { cat "$folder/log" >&2; fail "amtool check-config"; }
pass "the $(wc -l <<<"$mounted") mounted files and folders exist; promtool and amtool accept theirs"
