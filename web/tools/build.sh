#!/usr/bin/env bash
# Builds the client library and the console, and puts the console where the server's build takes it
# from. Does nothing while web/embed is newer than what it is made of.
set -euo pipefail
cd "$(dirname "$0")/.."

sources=(projects tools angular.json package.json package-lock.json tsconfig.json)
if [ -e embed/index.html ] && [ -z "$(find "${sources[@]}" -newer embed/index.html -print -quit)" ]; then
  exit 0
fi
tools/install.sh
npm run --silent build
npm run --silent embed
