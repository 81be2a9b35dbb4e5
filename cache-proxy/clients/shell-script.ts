import type { ClientFile, ClientPool } from './client-setup.ts';
import { containerdSetup } from './containerd.ts';
import { dockerSetup } from './docker.ts';
import { podmanSetup } from './podman.ts';

/** Ends the text of a file in the script; alone on a line it stands in none of ours. */
const endMark = 'BRICKYARD_END_OF_FILE';

/**
 * A script for nodes without Brickyard (POSIX sh, and nothing but mkdir, mv, cp, rm, rmdir, cat, cksum, grep, sleep): `install` writes the files of the clients that are on the
 * machine and keeps what it replaces beside them, `remove` takes exactly that back, `run` does the one and, when it is told to end, the other.
 * ROOT is the node's root where that is mounted somewhere. daemon.json of Docker is not touched: shell cannot merge JSON.
 */
export function shellScript(pool: ClientPool): string {
  const clients: readonly (readonly [string, readonly ClientFile[]])[] = [
    ['/etc/containerd', containerdSetup(pool).files],
    ['/etc/containers', podmanSetup(pool).files],
    ['/etc/docker', dockerSetup(pool).files],
  ];
  return [
    '#!/bin/sh',
    `# brickyard pool ${pool.name}: makes this machine's container engines pull through ${pool.endpoint}.`,
    `# Made by "brickyard pool clients ${pool.name} --for shell". Usage: [ROOT=DIR] sh FILE install|remove|run`,
    'set -eu',
    'umask 022',
    'ROOT=${ROOT:-}',
    `kept=.before-brickyard-pool-${pool.name}`,
    `pool='${pool.endpoint}'`,
    '',
    ...functions,
    '',
    'each() {',
    ...clients
      .filter(([, files]) => files.length > 0)
      .flatMap(([folder, files]) => [`  if [ -d "$ROOT${folder}" ]; then`, ...files.flatMap(callOf), '  fi']),
    '}',
    '',
    ...commands,
    '',
  ].join('\n');
}

/** Paths are made of checked names, so they need no quotes of their own within double ones. */
function callOf({ path, content }: ClientFile): string[] {
  const text = content.endsWith('\n') ? content.slice(0, -1) : content;
  return [`"$1" "$ROOT${path}" <<'${endMark}'`, text, endMark];
}

const functions = [
  '# Writes stdin to the file, beside it first: who reads it meanwhile has the old one or the new one.',
  'put() {',
  '  mkdir -p "${1%/*}"',
  '  cat >"$1.brickyard-new"',
  '  sum=$(cksum <"$1.brickyard-new")',
  '  last=$(cat "$1$kept.sum" 2>/dev/null || :)',
  '  if [ -e "$1" ]; then',
  '    now=$(cksum <"$1")',
  '    # Others may have put their own around ours: Spegel does.',
  '    if [ "$now" = "$sum" ] || { [ "$last" = "$sum" ] && grep -qF "$pool" "$1"; }; then',
  '      rm -f "$1.brickyard-new"; echo "$sum" >"$1$kept.sum"; return 0',
  '    fi',
  '    # What was there before comes back with remove; what this script wrote earlier does not.',
  '    if [ "$now" != "$last" ] && [ ! -e "$1$kept" ]; then cp -p "$1" "$1$kept"; fi',
  '  fi',
  '  echo "$sum" >"$1$kept.sum"',
  '  mv -f "$1.brickyard-new" "$1"',
  '  echo "written: $1"',
  '}',
  '',
  'take() {',
  '  cat >/dev/null',
  '  [ -e "$1$kept.sum" ] || return 0',
  '  if [ -e "$1" ] && [ "$(cksum <"$1")" != "$(cat "$1$kept.sum")" ]; then',
  '    echo "left alone, as somebody changed it: $1" >&2; return 0',
  '  fi',
  '  if [ -e "$1$kept" ]; then mv -f "$1$kept" "$1"; echo "put back: $1"; else rm -f "$1"; echo "removed: $1"; fi',
  '  rm -f "$1$kept.sum"',
  '  rmdir "${1%/*}" 2>/dev/null || :',
  '}',
];

const commands = [
  'case ${1:-} in',
  '  install) each put ;;',
  '  remove) each take ;;',
  '  run)',
  '    trap \'each take; [ -z "${!:-}" ] || kill "$!" 2>/dev/null || :; exit 0\' TERM INT',
  '    # Again every minute: others may write there, and a node may be set up anew beneath us.',
  '    while :; do each put; sleep 60 & wait $!; done ;;',
  '  *) echo "usage: [ROOT=DIR] sh $0 install|remove|run" >&2; exit 2 ;;',
  'esac',
];
