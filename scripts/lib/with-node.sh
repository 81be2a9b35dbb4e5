#!/usr/bin/env bash
# Runs a script on the project's own Node: `bash scripts/lib/with-node.sh scripts/demo.ts …`.
# Node's own builds link libatomic.so.1, which a small Debian does not have. It is then fetched with apt into node_modules, which
# needs no root and leaves the system as it is.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
node="$root/node_modules/.bin/node"
cache="$root/node_modules/.cache/brickyard/libatomic"

main() {
  if [[ ! -e "$node" ]]; then
    echo 'the dependencies are not installed: run `npm ci`' >&2
    return 1
  fi
  if starts; then return 0; fi
  use_fetched
  if starts; then return 0; fi
  echo 'Node needs libatomic.so.1, which this machine lacks; fetching Debian'"'"'s libatomic1 into node_modules' >&2
  if fetch >"$cache.log" 2>&1; then use_fetched; fi
  if starts; then return 0; fi
  echo 'that did not work; please run: sudo apt-get update && sudo apt-get install libatomic1' >&2
  "$node" --version >&2 || true
  return 1
}

starts() {
  "$node" --version >/dev/null 2>&1
}

use_fetched() {
  local folder
  for folder in "$cache"/root/usr/lib/*; do
    [[ -d "$folder" ]] && export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  done
  return 0
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

mkdir -p "$(dirname "$cache")" 2>/dev/null || true
main
exec "$node" "$@"
