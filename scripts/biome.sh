#!/usr/bin/env bash
# Biome's own binary for this machine. Its npm wrapper lists one package per platform, and `npm ci` fails where a registry lacks one of them.
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
exec "$(dirname "$0")/../node_modules/@biomejs/cli-linux-$arch/biome" "$@"
