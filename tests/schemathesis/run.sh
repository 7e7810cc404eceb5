#!/usr/bin/env bash
# Schemathesis, from outside, over the document that the running server gives out: valid and
# invalid requests to every operation; no failure inside, no undocumented answer.
# Usage: run.sh BASE TOKEN CURSOR CONVERSATION MESSAGE [MAX_EXAMPLES]
#   TOKEN with all scopes; CURSOR, CONVERSATION and MESSAGE that exist in its tenant.
# Takes Schemathesis from $CONDORITO_TEST_TOOLS/venv where it is (make test-tools), or installs it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
base=${1:?usage: run.sh BASE TOKEN CURSOR CONVERSATION MESSAGE [MAX_EXAMPLES]}
export TOKEN=${2:?} CURSOR=${3:?} CONVERSATION=${4:?} MESSAGE=${5:?}
examples=${6:-20}

tools=${CONDORITO_TEST_TOOLS:-$here/../../target/test-tools}
schemathesis=$tools/venv/bin/schemathesis
if [ ! -x "$schemathesis" ]; then
  python3 -m venv "$tools/schemathesis"
  "$tools/schemathesis/bin/pip" install -q --disable-pip-version-check \
    "$(grep '^schemathesis' "$here/../tools/requirements.txt")"
  schemathesis=$tools/schemathesis/bin/schemathesis
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PYTHONPATH=$here # for the hooks
cd "$folder" # it leaves its database behind

# In two runs: values that exist must be accepted (`known.toml`); any value that the document
# allows must be understood, if only to be refused (`any.toml`). That one may erase what exists.
for config in known any; do
  echo "== schemathesis: $config"
  PYTHONDONTWRITEBYTECODE=1 "$schemathesis" --config-file "$here/$config.toml" run "$base/openapi.json" --url "$base" \
    --max-examples "$examples" --seed 1 --no-color --warnings off \
    --continue-on-failure --request-timeout 15
done
