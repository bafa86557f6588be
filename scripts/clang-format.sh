#!/usr/bin/env bash
# clang-format over all C and C++ of the project. Usage: clang-format.sh -i | --dry-run --Werror
set -euo pipefail
cd "$(dirname "$0")/.."
find bpf native bench -path native/build -prune -o \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) -print0 | xargs -0 clang-format "$@"
