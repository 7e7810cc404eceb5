#!/usr/bin/env bash
# All tests of the workspace. Usage: test.sh SERVER-BINARY
set -euo pipefail
export E2E_SERVER_BINARY=${1:?usage: test.sh SERVER-BINARY}
cd "$(dirname "$0")/.."

tools/install.sh
npm run --silent format:check
npm run --silent generate:check
npm test --silent
npm run --silent e2e
npm run --silent e2e:fresh-app
