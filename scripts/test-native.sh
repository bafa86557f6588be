#!/usr/bin/env bash
# Builds the reactor's core without Node and drives it with random events and commands (test/native/reactor_driver.cc)
# under the sanitizers. Usage: test-native.sh [steps per worker] [seed]
# Its TLS is the distribution's OpenSSL, headers and library: Node's own is in Node's binary only.
set -euo pipefail
cd "$(dirname "$0")/.."
steps=${1:-300000}
seed=${2:-$RANDOM}
mkdir -p build/native
core=(native/reactor/{reactor,reactor_sockets,reactor_tls,slab,timers,inbox,socket_pools,original_destination,passage}.cc native/netns/{netns_thread,tcp_socket}.cc native/tls/tls_{context,session,failure}.cc)
flags_of() {
  case $1 in
    address) echo '-fsanitize=address,undefined -fno-sanitize-recover=all' ;;
    thread) echo '-fsanitize=thread' ;;
  esac
}
build() {
  local program=build/native/reactor_driver_$1
  if [ ! -x "$program" ] || [ -n "$(find native test/native -name '*.cc' -newer "$program" -o -name '*.h' -newer "$program")" ]; then
    echo "test-native: building with $1" >&2
    # shellcheck disable=SC2046
    g++ -std=c++20 -O1 -g -fno-exceptions -fno-rtti -Wall -Wextra -Werror $(flags_of "$1") -I native -o "$program" "${core[@]}" test/native/reactor_driver.cc -lbpf -lssl -lcrypto -lpthread
  fi
}
build address & first=$!
build thread & second=$!
wait $first
wait $second
for sanitizer in address thread; do
  # Three workers: with fewer, hand-over is hardly tested.
  echo "test-native: $sanitizer, 3 workers, $steps steps each, seed $seed" >&2
  # Without address randomisation: gcc 12's thread sanitizer does not know the layout of newer kernels.
  setarch -R "build/native/reactor_driver_$sanitizer" 3 "$steps" "$seed"
done
