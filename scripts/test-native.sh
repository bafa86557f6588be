#!/usr/bin/env bash
# Builds the reactor's core without Node and drives it with random events and commands (test/native/reactor_driver.cc)
# under the sanitizers. Usage: test-native.sh [steps per worker] [seed]
set -euo pipefail
cd "$(dirname "$0")/.."
steps=${1:-300000}
seed=${2:-$RANDOM}
mkdir -p build/native
core=(native/reactor/{reactor,reactor_sockets,slab,timers,inbox,socket_pools,original_destination}.cc native/netns/{netns_thread,tcp_socket}.cc)
build_and_run() {
  local name=$1 flags=$2
  local program=build/native/reactor_driver_$name
  if [ ! -x "$program" ] || [ -n "$(find native test/native -name '*.cc' -newer "$program" -o -name '*.h' -newer "$program")" ]; then
    echo "test-native: building with $name" >&2
    # shellcheck disable=SC2086
    g++ -std=c++20 -O1 -g -fno-exceptions -fno-rtti -Wall -Wextra -Werror $flags -I native -o "$program" "${core[@]}" test/native/reactor_driver.cc -lbpf -lpthread
  fi
  echo "test-native: $name, 3 workers, $steps steps each, seed $seed" >&2
  # Without address randomisation: gcc 12's thread sanitizer does not know the layout of newer kernels.
  setarch -R "$program" 3 "$steps" "$seed"
}
# One worker less to balance than threads would be no test of hand-over: always three.
build_and_run address '-fsanitize=address,undefined -fno-sanitize-recover=all'
build_and_run thread '-fsanitize=thread'
