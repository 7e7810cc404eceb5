#!/usr/bin/env python3
"""Reads Autobahn's index.json; fails on what is neither OK nor expected with a reason."""

import collections
import json
import sys

index_path, expected_path = sys.argv[1:]
with open(index_path) as file:
    (results,) = json.load(file).values()

# `case behaviour reason`, one a line.
expected = {}
with open(expected_path) as file:
    for line in file:
        if line.strip() and not line.startswith("#"):
            case, behaviour, _reason = line.split(maxsplit=2)
            expected[case] = behaviour

counts = collections.Counter()
wrong = []
for case, result in results.items():
    for behaviour in {result["behavior"], result["behaviorClose"]}:
        if behaviour != "OK" and expected.get(case) != behaviour:
            wrong.append(f"{case}: {result['behavior']}, closing {result['behaviorClose']}")
    counts[result["behavior"]] += 1

print(f"Autobahn: {len(results)} cases, " + ", ".join(f"{n} {b}" for b, n in sorted(counts.items())))
if not results or wrong:
    print("\n".join(sorted(set(wrong))) or "no case ran", file=sys.stderr)
    sys.exit(1)
