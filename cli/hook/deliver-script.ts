import { hookMarker, shellStart, shellWord } from './shell-text.ts';

/** How the server is told. */
export type HookWay = 'push' | 'webhook' | 'svn';

export interface DeliverSettings {
  /** Absolute path of the folder that holds this script, the spool and the secrets. */
  readonly home: string;
  /** Absolute path of the git or Subversion repository. */
  readonly repository: string;
  /** Origin of the server. */
  readonly server: string;
  /** `team/app`. */
  readonly app: string;
}

/**
 * What every way has in common: entries of the spool are sent in their order by one process at a time, and what cannot be sent now waits. A
 * way's own part defines `deliver ENTRY`: 0 = sent, 1 = later, 2 = the server will never take it; it says what there is to say by `answer`.
 *
 * POSIX sh with what dash and busybox have. A lock is flock's where there is one (the kernel lets go of it when its holder dies), else a folder with its
 * holder's process id.
 */
export function deliverScript(settings: DeliverSettings, way: string): string {
  return `#!/bin/sh
${hookMarker}
# Sends what waits in spool/ to the server; run it again (from cron, say) whenever something may wait. Options: --keep-trying: until
# nothing waits, for a day; --notify: says so on descriptor 8 after the first attempt.
${shellStart}
home=${shellWord(settings.home)}
repository=${shellWord(settings.repository)}
server=${shellWord(settings.server)}
app=${shellWord(settings.app)}
cd "$home" || exit 1
tab=$(printf '\\t')

note() {
  printf '%s %s\\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>log
  if [ "$(wc -c <log)" -gt 1000000 ]; then mv -f log log.old; fi
}

# For whoever pushed, if he still waits.
answer() { printf '%s\\n' "$*" >>"answers/$entry"; }

waiting() {
  for name in spool/[0-9]*; do
    case $name in *.new | 'spool/[0-9]*') ;; *) return 0 ;; esac
  done
  return 1
}

# lock NAME DESCRIPTOR: not taken = somebody else has it.
lock() {
  if command -v flock >/dev/null 2>&1; then
    eval "exec $2>.$1.lock" && flock -n "$2"
    return
  fi
  mkdir ".$1.held" 2>/dev/null && { echo $$ >".$1.held/pid"; return 0; }
  holder=$(cat ".$1.held/pid" 2>/dev/null)
  if [ -z "$holder" ]; then
    # Being made just now, unless it is old.
    [ -n "$(find ".$1.held" -prune -mmin +10 2>/dev/null)" ] || return 1
  elif kill -0 "$holder" 2>/dev/null; then
    return 1
  fi
  mv ".$1.held" ".$1.dead.$$" 2>/dev/null || return 1
  if [ "$(cat ".$1.dead.$$/pid" 2>/dev/null)" != "$holder" ]; then
    mv ".$1.dead.$$" ".$1.held"
    return 1
  fi
  rm -rf ".$1.dead.$$"
  mkdir ".$1.held" 2>/dev/null && echo $$ >".$1.held/pid"
}

unlock() {
  eval "exec $2>&-"
  rm -rf ".$1.held"
}

# 0: nothing waits, or another process is at it, which looks once more before it ends. 1: something has to wait.
drain() {
  while waiting; do
    lock deliver 9 || return 0
    later=
    for name in spool/[0-9]*; do
      case $name in *.new | 'spool/[0-9]*') continue ;; esac
      # Another process may have sent it before the lock was ours.
      [ -f "$name" ] || continue
      entry=\${name#spool/}
      rm -f "answers/$entry"
      deliver "$entry"
      case $? in
        0) note "$entry sent"; rm -f "$name" ;;
        2) note "$entry refused"; mv -f "$name" "refused/$entry" ;;
        *) later=1; break ;;
      esac
    done
    unlock deliver 9
    find answers refused -type f -mtime +30 -exec rm -f {} + 2>/dev/null
    [ -z "$later" ] || return 1
  done
  return 0
}

${way}
keep= notify=
for option in "$@"; do
  case $option in
    --keep-trying) keep=1 ;;
    --notify) notify=1 ;;
  esac
done
if [ -n "$notify" ]; then
  drain 8>&-
  result=$?
  if [ "$result" = 0 ]; then echo done >&8; else echo waits >&8; fi
  exec 8>&-
else
  drain
  result=$?
fi
[ -n "$keep" ] || exit "$result"
[ "$result" = 0 ] && exit 0
lock retry 7 || exit 0
delay=1 total=0
while [ "$total" -lt 86400 ]; do
  sleep "$delay" 7>&-
  total=$((total + delay)) delay=$((delay * 2))
  [ "$delay" -le 600 ] || delay=600
  drain && break
done
unlock retry 7
`;
}
