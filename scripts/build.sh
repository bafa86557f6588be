#!/usr/bin/env bash
# Builds the BPF objects (build/bpf) and the addon (native/build), only what changed, warnings as errors.
# Usage: build.sh all|bpf|native|prebuild. Run by setup.sh, which provides the compilers and the pinned Node.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-all}
export PATH="$PWD/node_modules/.bin:$PATH"
pinned=$(dirname "$(dirname "$(readlink -f node_modules/.bin/node)")")

# stale STAMP FILES…: true when a file is newer than the stamp, or one came or went.
stale() {
  local stamp=$1; shift
  [ "$(cat "$stamp" 2>/dev/null)" != "$(sha256sum "$@" scripts/build.sh | sha256sum)" ]
}
mark() { local stamp=$1; shift; sha256sum "$@" scripts/build.sh | sha256sum >"$stamp"; }

build_bpf() {
  local sources stamp=build/bpf/.stamp source
  mapfile -t sources < <(find bpf -name '*.[ch]' | sort)
  mkdir -p build/bpf
  stale "$stamp" "${sources[@]}" || return 0
  echo 'culvert build: BPF objects' >&2
  rm -f build/bpf/*
  for source in bpf/*.bpf.c; do
    clang -O2 -g -target bpf -mcpu=v2 -Wall -Wextra -Werror -I "/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "build/bpf/$(basename "${source%.c}").o"
    llvm-strip -g "build/bpf/$(basename "${source%.c}").o"
  done
  mark "$stamp" "${sources[@]}"
}

build_native() {
  local sources stamp=native/build/.stamp
  mapfile -t sources < <(find native -path native/build -prune -o -type f -print | sort)
  stale "$stamp" "${sources[@]}" || return 0
  echo 'culvert build: native addon' >&2
  local log
  log=$(mktemp)
  if ! (cd native && npm_config_nodedir="$pinned" JOBS=max node-gyp configure build --silent) >"$log" 2>&1; then
    cat "$log" >&2; rm -f "$log"; return 1
  fi
  rm -f "$log"
  mark "$stamp" "${sources[@]}"
}

case $target in
  all) build_bpf; build_native ;;
  bpf) build_bpf ;;
  native) build_native ;;
  prebuild) npm_config_nodedir="$pinned" prebuildify --cwd native --out "$PWD/native" --napi --strip -t "$(node -p process.versions.node)" ;;
  *) echo "build.sh: unknown target '$target'; one of all, bpf, native, prebuild" >&2; exit 1 ;;
esac
