#!/usr/bin/env bash
# Installs what the tests talk to, into the folder given; does nothing where it is there already.
# Debian packages: Chromium, Prometheus (with promtool), nginx. The rest goes below the folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: install.sh FOLDER}
mkdir -p "$folder"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
command -v chromium >/dev/null || packages+=(chromium)
command -v promtool >/dev/null || packages+=(prometheus)
command -v curl >/dev/null || packages+=(curl)
command -v nginx >/dev/null || packages+=(nginx-light)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  echo "installing: ${packages[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >"$folder/apt.log" 2>&1 ||
    { tail -20 "$folder/apt.log" >&2; exit 1; }
fi

# Autobahn's suite is a Python 2.7 program. A machine that can't have it any more tests the rest:
# the test says that it was skipped.
has_python2() {
  local candidate
  for candidate in "${PYTHON2:-}" "$(command -v python2.7 || true)" \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python; do
    [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' \
      >/dev/null 2>&1 && return 0
  done
  return 1
}
# Tried once per folder: building an interpreter takes minutes, also where it fails.
if ! has_python2 && [ ! -e "$folder/python2.log" ]; then
  echo "looking for a Python 2.7, for Autobahn's test suite"
  if apt-cache show python2.7 >/dev/null 2>&1; then
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends python2.7 python-pip-whl \
      >"$folder/python2.log" 2>&1 || true
  elif command -v pyenv >/dev/null; then
    pyenv install --skip-existing 2.7.18 >"$folder/python2.log" 2>&1 || true
  else
    echo "no package of it, and no pyenv" >"$folder/python2.log"
  fi
  has_python2 ||
    echo "there is none: the Autobahn test will be SKIPPED (see $folder/python2.log)" >&2
fi

"$here/node.sh" "$folder"
export PATH="$folder/bin:$PATH"

# The stamps hold the list that was installed, so that a changed list installs again.
if ! cmp -s "$here/requirements.txt" "$folder/venv/requirements.txt"; then
  echo "installing the Python peers"
  rm -rf "$folder/venv"
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$folder/venv/requirements.txt"
fi
if ! cmp -s "$here/package.json" "$folder/node/package.json"; then
  echo "installing the Node peers"
  mkdir -p "$folder/node"
  cp "$here/package.json" "$folder/node/package.json.new"
  (cd "$folder/node" && mv package.json.new package.json &&
    npm install --no-audit --no-fund --loglevel=error) ||
    { rm -f "$folder/node/package.json"; exit 1; }
fi
