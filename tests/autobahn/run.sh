#!/usr/bin/env bash
# Autobahn's fuzzing client against examples/ws_echo.rs, which is an echo on the listener,
# handshake, reader and socket that the server itself uses.
#
#   run.sh short   what fits into a minute: all but the large messages and most of compression
#   run.sh full    all 517 cases
#
# Fails on any case that is not OK and not in expected.txt, where each has its reason. The suite is
# a Python 2.7 program: PYTHON2 names an interpreter, else pyenv's or the system's is taken; without
# one the answer is 77.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
form=${1:-full}
tools=${CONDORITO_TEST_TOOLS:-$root/target/test-tools}/autobahn
work=$(mktemp -d)
echo_server=
trap '[ -z "$echo_server" ] || kill "$echo_server" 2>/dev/null || true; rm -rf "$work"' EXIT

python2() {
  local candidate
  for candidate in "${PYTHON2:-}" "$(command -v python2.7 || true)" \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' \
      >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  echo "Autobahn's test suite needs Python 2.7: install it (pyenv install 2.7.18) or set PYTHON2" >&2
  return 1
}

install_suite() {
  cmp -s "$here/requirements.txt" "$tools/requirements.txt" && return
  echo "installing Autobahn's test suite"
  rm -rf "$tools"
  mkdir -p "$tools"
  "$python" -m pip install -q --disable-pip-version-check --no-warn-script-location \
    --target "$tools" -r "$here/requirements.txt" >"$tools.log" 2>&1 ||
    { tail -20 "$tools.log" >&2; exit 1; }
  # A namespace package, which Python 2 finds outside of site-packages only with this.
  touch "$tools/zope/__init__.py"
  cp "$here/requirements.txt" "$tools/requirements.txt"
}

case $form in
  short) cases='"1.*","2.*","3.*","4.*","5.*","6.*","7.*","9.1.1","9.2.1","9.3.1","9.5.1","9.7.1","10.*","12.1.1","12.1.11","12.2.5","12.3.3","12.5.7","13.1.1","13.2.1","13.3.1","13.4.1","13.5.1","13.6.1","13.7.1"' ;;
  full) cases='"*"' ;;
  *) echo "usage: run.sh short|full" >&2; exit 2 ;;
esac

python=$(python2) || exit 77
install_suite
(cd "$root" && cargo build --locked --quiet --example ws_echo)
target=${CARGO_TARGET_DIR:-$root/target}
"$target/debug/examples/ws_echo" 127.0.0.1:0 >"$work/echo.log" 2>&1 &
echo_server=$!
url=
for _ in $(seq 100); do
  url=$(sed -n 's/^listening on /ws:\/\//p' "$work/echo.log")
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "$url" ] || { cat "$work/echo.log" >&2; exit 1; }

cat >"$work/spec.json" <<SPEC
{"outdir": "$work/report", "servers": [{"agent": "condorito", "url": "$url"}],
 "cases": [$cases], "exclude-cases": [], "exclude-agent-cases": {}}
SPEC
PYTHONPATH=$tools "$python" "$tools/bin/wstest" -m fuzzingclient -s "$work/spec.json" \
  >"$work/client.log" 2>&1 || { tail -20 "$work/client.log" >&2; exit 1; }
kill -0 "$echo_server" || { echo "the echo server has died" >&2; cat "$work/echo.log" >&2; exit 1; }
[ -z "${AUTOBAHN_REPORT:-}" ] || { mkdir -p "$AUTOBAHN_REPORT" && cp -r "$work/report/." "$AUTOBAHN_REPORT"; }
python3 "$here/judge.py" "$work/report/index.json" "$here/expected.txt"
