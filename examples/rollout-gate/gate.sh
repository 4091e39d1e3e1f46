#!/bin/sh
# Lets a deployment go on only if the verdict about a release is pass.
#
#   gate.sh --release 2.5.0 --step 10 [--against 2.4.1] [--wait 27h] [--json] [--admin-url http://127.0.0.1:9090] …
#
# The options are those of `tillwatch rollout verdict`. Without --wait the gate waits for 27 hours at most, which is the look
# after a day, the two hours before a step counts, and what comes late for it. Exit codes: 0 pass, 10 fail, 11 hold, 12 not judged, anything else: no answer.
#
# From the environment, beside what tillwatch reads itself (TILLWATCH_ADMIN_URL, TILLWATCH_ADMIN_KEY_FILE, TILLWATCH_CA_FILE):
#   TILLWATCH_ADMIN_KEY   the key itself, where a file is awkward; of the scope read
#   TILLWATCH_PROGRAM     the program, if it is not on the PATH

# Whoever traces this script must not see the key.
{ set +x; } 2>/dev/null
set -u
umask 077

program=${TILLWATCH_PROGRAM:-tillwatch}
key_file=
child=

# shellcheck disable=SC2329 # Called by trap.
leave() {
  [ -z "$key_file" ] || rm -f -- "$key_file"
}
# A deployment that is cancelled does not wait for a day.
# shellcheck disable=SC2329 # Called by trap.
stopped() {
  [ -z "$child" ] || kill "$child" 2>/dev/null
  exit "$1"
}
trap leave EXIT
trap 'stopped 129' HUP
trap 'stopped 130' INT
trap 'stopped 143' TERM

say() {
  printf 'rollout-gate: %s\n' "$1" >&2
}

# An empty variable means that it was not set, as inputs of a workflow are.
[ -n "${TILLWATCH_ADMIN_URL:-}" ] || unset TILLWATCH_ADMIN_URL
[ -n "${TILLWATCH_ADMIN_KEY_FILE:-}" ] || unset TILLWATCH_ADMIN_KEY_FILE
[ -n "${TILLWATCH_CA_FILE:-}" ] || unset TILLWATCH_CA_FILE

release=
has_wait=
previous=
for argument in "$@"; do
  case $argument in
    --release=*) release=${argument#--release=} ;;
    --wait | --wait=*) has_wait=yes ;;
  esac
  [ "$previous" != --release ] || release=$argument
  previous=$argument
done
if [ -z "$release" ]; then
  say 'error: no release was named. Call it with --release and the name that the terminals report.'
  exit 2
fi
[ -n "$has_wait" ] || set -- "$@" --wait 27h

# tillwatch reads a key from a file, so that it stands in no list of processes.
if [ -n "${TILLWATCH_ADMIN_KEY:-}" ]; then
  key_file=$(mktemp) || { say 'error: no temporary file could be made for the key.'; exit 1; }
  printf '%s\n' "$TILLWATCH_ADMIN_KEY" >"$key_file" || { say 'error: the key could not be written to a temporary file.'; exit 1; }
  TILLWATCH_ADMIN_KEY_FILE=$key_file
  export TILLWATCH_ADMIN_KEY_FILE
fi
unset TILLWATCH_ADMIN_KEY

"$program" rollout verdict "$@" &
child=$!
wait "$child"
code=$?
child=

case $code in
  0) word=pass ;;
  10) word=fail ;;
  11) word=hold ;;
  12) word=not_judged ;;
  *) word=error ;;
esac
[ -z "${GITHUB_OUTPUT:-}" ] || printf 'verdict=%s\n' "$word" >>"$GITHUB_OUTPUT"

case $word in
  pass) say "pass: release $release may go to its next step." ;;
  fail) say "FAIL: stop the deployment, and move the stores of release $release back." ;;
  hold) say "hold: leave release $release in the stores it is in, and ask again after the next look. Do not go on." ;;
  not_judged) say "not judged: nothing is known of release $release. See whether terminals report this name, and whether the plan asks anything. Do not go on." ;;
  error)
    if [ "$code" -eq 126 ] || [ "$code" -eq 127 ]; then
      say "error: $program could not be run. Install it, or name it in TILLWATCH_PROGRAM. Do not go on."
    else
      say "error: there is no verdict about release $release (exit code $code). See the message above; is the collector running, and are its address and the key right? Do not go on."
    fi
    ;;
esac
exit "$code"
