#!/usr/bin/env bash
# Installs the workspace's packages, unless those of package-lock.json are there already.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cmp -s package-lock.json node_modules/.installed-lock.json; then
  npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json node_modules/.installed-lock.json
fi
