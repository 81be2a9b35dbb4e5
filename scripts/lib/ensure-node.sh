#!/usr/bin/env bash
# Runs after `npm ci` in a checkout (npm's `prepare`): makes sure that the Node that npm installed starts.
# Node's own builds link libatomic.so.1, which a small Debian does not have. It is then fetched with apt into node_modules, which
# needs no root and leaves the system as it is, and `node_modules/.bin/node` becomes a script that finds it there. It never fails an
# installation: without the network it says what to install.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
node="$root/node_modules/node/bin/node"
link="$root/node_modules/.bin/node"
cache="$root/node_modules/.cache/brickyard/libatomic"

main() {
  # Installed without development dependencies, or without scripts: then the machine's own Node is used.
  if [[ ! -e "$node" ]] || starts; then return 0; fi
  echo "Node needs libatomic.so.1, which this machine lacks; fetching Debian's libatomic1 into node_modules" >&2
  mkdir -p "$(dirname "$cache")"
  local folder=''
  if fetch >"$cache.log" 2>&1; then folder="$(dirname "$(find "$cache/root" -name libatomic.so.1 | head -n 1)")"; fi
  if [[ -n "$folder" ]] && LD_LIBRARY_PATH="$folder" starts; then
    rm -f "$link"
    # shellcheck disable=SC2016 # expanded when the script runs
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "%s" "$@"\n' "$folder" "$node" >"$link"
    chmod +x "$link"
    return 0
  fi
  echo 'that did not work; please run: sudo apt-get update && sudo apt-get install libatomic1' >&2
  return 0
}

starts() {
  "$node" --version >/dev/null 2>&1
}

fetch() {
  rm -rf "$cache"
  mkdir -p "$cache/lists/partial" "$cache/archives/partial" "$cache/root"
  local -a apt=(apt-get -o "Dir::State::lists=$cache/lists" -o "Dir::Cache=$cache" -o Debug::NoLocking=1)
  "${apt[@]}" update
  (cd "$cache" && "${apt[@]}" download libatomic1)
  dpkg-deb -x "$cache"/libatomic1_*.deb "$cache/root"
  rm -rf "$cache/lists" "$cache/archives"
}

main
