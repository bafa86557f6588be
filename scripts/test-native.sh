#!/usr/bin/env bash
# Builds the reactor's core without Node and drives it with random events and commands (test/native/reactor_driver.cc)
# under the sanitizers; then runs the addon's tests in Node with an addon that was built with ASan.
# The driver's TLS is the distribution's OpenSSL, headers and library: Node's own is in Node's binary only.
# Usage: test-native.sh [steps of all workers together] [seed]
set -euo pipefail
cd "$(dirname "$0")/.."
steps=${1:-10000000}
seed=${2:-$RANDOM}
out=$PWD/build/native
pinned=$(dirname "$(dirname "$(readlink -f node_modules/.bin/node)")")
common=(g++ -std=c++20 -O1 -g1 -fPIC -fno-exceptions -fno-rtti -Wall -Wextra -Werror -I native -I test/native)
address=(-fsanitize=address,undefined -fno-sanitize-recover=all)
thread=(-fsanitize=thread)
node=(-fvisibility=hidden -DNAPI_VERSION=9 -DNODE_ADDON_API_DISABLE_DEPRECATED -DNAPI_DISABLE_CPP_EXCEPTIONS
  -DNODE_GYP_MODULE_NAME=culvert -isystem node_modules/node-addon-api -isystem "$pinned/include/node")

# compile DIRECTORY SOURCE FLAG…: an object when the source, or any header, is newer.
compile() {
  local object; object=$1/$(tr / _ <<<"$2").o
  local source=$2; shift 2
  [ ! -e "$object" ] || [ "$source" -nt "$object" ] ||
    [ -n "$(find native test/native -path native/build -prune -o -name '*.h' -newer "$object" -print -quit)" ] || return 0
  "$@" -c "$source" -o "$object"
}
export -f compile
# build NAME SOURCES FLAG…: all objects of a directory, two at a time.
build() {
  local directory=$out/$1 sources=$2; shift 2
  echo "test-native: building $(basename "$directory")" >&2
  mkdir -p "$directory"
  xargs -d '\n' -P 2 -I{} bash -c 'compile "$@"' bash "$directory" {} "${common[@]}" "$@" <<<"$sources"
}

core=$(find native/reactor native/netns -name '*.cc' ! -name '*_napi.cc' | sort)
# Whatever is compiled against OpenSSL's headers: once for the driver, once for Node.
tls=$(find native/tls -name '*.cc' ! -name '*_napi.cc' ! -name tls_library.cc | sort)
driver=$(find test/native -name '*.cc' | sort)
rest=$(comm -23 <(find native -path native/build -prune -o -name '*.cc' -print | sort) <(sort <<<"$core"))
all_of_driver=$core$'\n'$tls$'\n'$driver
build address "$all_of_driver" "${address[@]}"
build thread "$all_of_driver" "${thread[@]}"
build addon "$rest" "${address[@]}" "${node[@]}"
objects() { sed "s|/|_|g; s|.*|$out/$1/&.o|" <<<"$2"; }
# shellcheck disable=SC2046
g++ "${address[@]}" -o "$out/reactor_driver_address" $(objects address "$all_of_driver") -lbpf -lssl -lcrypto -lpthread
# shellcheck disable=SC2046
g++ "${thread[@]}" -o "$out/reactor_driver_thread" $(objects thread "$all_of_driver") -lbpf -lssl -lcrypto -lpthread
# shellcheck disable=SC2046
g++ -shared "${address[@]}" -o "$out/culvert.node" $(objects address "$core") $(objects addon "$rest") -lbpf

for sanitizer in address thread; do
  # Three workers: with fewer, hand-over is hardly tested.
  echo "test-native: $sanitizer, 3 workers, $steps steps, seed $seed" >&2
  # Without address randomisation: gcc 12's thread sanitizer does not know the layout of newer kernels.
  TSAN_OPTIONS=suppressions=$PWD/test/native/no-races.txt \
    setarch -R "$out/reactor_driver_$sanitizer" 3 "$steps" "$seed"
done

echo 'test-native: the addon in Node, address' >&2
LD_PRELOAD=$(g++ -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=1 \
  LSAN_OPTIONS=suppressions=$PWD/test/native/leaks-of-node.txt:print_suppressions=0 \
  CULVERT_ASAN_ADDON=$out/culvert.node NODE_ENV=test \
  NODE_OPTIONS="--disable-warning=ExperimentalWarning --import=$PWD/test/native/asan-addon.ts" \
  "$pinned/bin/node" --test --test-isolation=none --test-reporter=dot test/unit/runtime/{reactor,worker-traps}.test.ts test/kernel/native-bpf.test.ts
echo 'test-native: the addon in Node: ok'
