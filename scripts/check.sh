#!/usr/bin/env bash
# Types, lint and format, C++ format, layer rule, generated documents, shell syntax. The C++ and BPF warnings are errors in build.sh, which ran before.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf 'check: %s\n' "$1" >&2; shift; "$@"; }
step 'types' tsc --noEmit -p tsconfig.json
step 'lint and format (TypeScript)' bash scripts/biome.sh check --error-on-warnings .
step 'format (C, C++)' bash scripts/clang-format.sh --dry-run --Werror
step 'layers' node --test --test-reporter=dot test/unit/layers.test.ts
step 'documents made from the code' node --test --test-reporter=dot test/unit/telemetry/metrics-doc.test.ts test/unit/docs/generated.test.ts
step 'shell' bash -c 'for f in scripts/*.sh bin/culvert .ci/run; do bash -n "$f"; done'
