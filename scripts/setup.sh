#!/usr/bin/env bash
# Makes a fresh Debian 12 ready: apt packages that are missing, `npm ci` under the pinned Node, the addon, the BPF
# objects. Idempotent and silent when nothing is to do; one line per step otherwise. Usage: setup.sh [demo|test|kernels|check|bench]
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-build}

say() { printf 'culvert setup: %s\n' "$*" >&2; }
fail() { printf 'culvert setup: %s\n' "$*" >&2; exit 1; }
# Runs a command quietly; shows its output only when it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then tail -n 40 "$log" >&2; rm -f "$log"; return 1; fi
  rm -f "$log"
}

packages=(clang llvm libbpf-dev libssl-dev g++ make python3 iproute2 util-linux)
case $purpose in
  check) packages+=(clang-format) ;;
  demo)
    packages+=(nginx-light redis-server redis-tools curl procps)
    packages+=(openssh-server openssh-client exim4-daemon-light postgresql-15 postgresql-client-15)
    ;;
  test)
    packages+=(nginx-light libnginx-mod-stream haproxy redis-server redis-tools curl procps openssl)
    packages+=(openssh-server openssh-client exim4-daemon-light nghttp2-server)
    packages+=(postgresql-15 postgresql-client-15 mariadb-server-core mariadb-client-core)
    packages+=(qemu-system-x86 busybox e2fsprogs zsh)
    # Any Go will do, and the distribution's is large.
    command -v go /usr/local/go/bin/go >/dev/null || packages+=(golang-go)
    ;;
  kernels) packages+=(nginx-light curl qemu-system-x86 busybox e2fsprogs) ;;
  bench)
    packages+=(nginx-light libnginx-mod-stream haproxy procps linux-perf)
    packages+=(openssh-server exim4-daemon-light postgresql-15 mariadb-server-core)
    ;;
esac

install_packages() {
  local missing=() name
  for name in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" -eq 0 ] || fail "install ${missing[*]}: not root; run 'apt-get install ${missing[*]}' as root, or run this as root"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get update || fail "apt-get update failed (above); check this machine's package sources and network"
  # RUNLEVEL=1: the packages' services are not started.
  RUNLEVEL=1 quietly apt-get install -y --no-install-recommends "${missing[@]}" ||
    fail "apt-get install ${missing[*]} failed (above); mend it and run this again"
}

# The machine's Node may be out of support: the one that package-lock.json pins runs everything, npm included.
install_node_modules() {
  local arch version lock
  arch=$(uname -m); case $arch in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) fail "architecture $arch is not supported; x86_64 and aarch64 are" ;; esac
  version=$(sed -n "s/.*\"node-linux-$arch\": \"\(.*\)\".*/\1/p" package.json)
  pinned=$PWD/node_modules/node-linux-$arch
  lock=$(sha256sum package-lock.json | cut -d' ' -f1)
  if [ "$(cat node_modules/.culvert-lock 2>/dev/null)" != "$lock" ]; then
    command -v npm >/dev/null || fail "npm is missing; install Node.js 20 or newer with npm ('apt-get install nodejs npm')"
    bootstrap=$(mktemp -d)
    trap 'rm -rf "$bootstrap"' EXIT
    if [ "$("$pinned/bin/node" --version 2>/dev/null)" = "v$version" ]; then
      mkdir -p "$bootstrap/bin" && cp "$pinned/bin/node" "$bootstrap/bin/node"
    else
      say "fetching Node $version"
      (cd "$bootstrap" && echo '{}' >package.json && quietly npm install --no-save --no-audit --no-fund "node-linux-$arch@$version") ||
        fail "npm could not fetch node-linux-$arch@$version (above); check that the npm registry of 'npm config get registry' can be reached"
      mkdir -p "$bootstrap/bin" && ln "$bootstrap/node_modules/node-linux-$arch/bin/node" "$bootstrap/bin/node"
    fi
    say "installing npm packages"
    PATH="$bootstrap/bin:$PATH" quietly npm ci || fail "npm ci failed (above); check that the npm registry can be reached, then run this again"
    rm -rf "$bootstrap"
    echo "$lock" >node_modules/.culvert-lock
  fi
  [ "$("$pinned/bin/node" --version)" = "v$version" ] || fail "$pinned/bin/node is not v$version; remove node_modules and run this again"
  export PATH="$PWD/node_modules/.bin:$PATH"
}

# Of its package this one program: installed, it would bring a server that runs at every boot.
fetch_promtool() {
  [ -x build/tools/promtool ] && return
  local directory
  say "fetching promtool"
  directory=$(mktemp -d)
  (
    cd "$directory" && chmod 755 .
    quietly apt-get download prometheus 2>/dev/null || { quietly apt-get update && quietly apt-get download prometheus; }
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar x ./usr/bin/promtool
  ) || fail "apt-get download prometheus failed (above); check this machine's package sources and network"
  mkdir -p build/tools
  mv "$directory/usr/bin/promtool" build/tools/promtool
  rm -rf "$directory"
}

check_machine() {
  [ "$(id -u)" -eq 0 ] || fail "needs root (network namespaces, cgroups, BPF); run it as root"
  local release major minor
  release=$(uname -r); major=${release%%.*}; minor=${release#*.}; minor=${minor%%[!0-9]*}
  [ "$major" -gt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -ge 10 ]; } || fail "kernel $release is too old; needs 5.10 or newer"
  findmnt -t cgroup2 >/dev/null || fail "no cgroup v2 is mounted; mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
}

[ "$(uname -s)" = Linux ] || fail "runs on Linux only"
case $purpose in demo | test | bench) check_machine ;; esac
install_packages
install_node_modules
[ "$purpose" != test ] || fetch_promtool
bash scripts/build.sh all
