#!/bin/sh
# Removes all that a mesh made, once its standard input ends: when the mesh is disposed of, when the test fails, when the
# runner is killed with -9. Every process of a mesh lives in one cgroup; its namespaces, links and BPF objects live as
# long as a process or a pin holds them. So: kill the cgroup, remove it, remove the directories.
# Usage: reaper.sh CGROUP DIRECTORY PINS
trap '' INT TERM HUP
cgroup=$1 directory=$2 pins=$3
while read -r _; do :; done

kill_all() {
  [ ! -e "$cgroup/cgroup.kill" ] || { echo 1 >"$cgroup/cgroup.kill" && return; } 2>/dev/null
  # Before Linux 5.14.
  find "$cgroup" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r pid; do kill -9 "$pid" 2>/dev/null; done
}

tries=0
while [ -d "$cgroup" ]; do
  kill_all
  find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null
  tries=$((tries + 1))
  if [ "$tries" -gt 1000 ]; then
    echo "reaper: $cgroup is still busy after 10 s: $(find "$cgroup" -name cgroup.procs -exec cat {} + | tr '\n' ' ')" >&2
    break
  fi
  [ ! -d "$cgroup" ] || sleep 0.01
done
rm -rf "$directory" "$pins"
[ ! -d "$cgroup" ]
