import { hookMarker, shellStart, shellWord } from './shell-text.ts';

export interface HookSettings {
  /** Absolute path of the folder with the spool. */
  readonly home: string;
  /** Absolute path of the hook that was here before; it runs first, whether or not it is there by now. */
  readonly previous: string;
  readonly server: string;
}

/** Notes something down in the spool, has it sent, and waits 2 s at most for what the server says to it. */
const spoolFunctions = `# Lines on stdin become an entry. The number is taken by creating its file, so entries have an order and no two are one.
spool() {
  [ -d "$home/spool" ] && [ -w "$home/spool" ] || return 1
  number=0
  for name in "$home"/spool/[0-9]*; do
    [ -e "$name" ] && number=\${name##*/}
  done
  number=\${number%%-*}
  number=$(expr "$number" + 1)
  random=$(od -An -N6 -tx1 /dev/urandom | tr -d ' \\n')
  while :; do
    entry=$(printf '%09d' "$number")
    if (set -C; : >"$home/spool/$entry-0.new") 2>/dev/null; then
      # Somebody may have been through with the same number already.
      set -- "$home/spool/$entry"-*
      [ "$#" -gt 1 ] || break
      rm -f "$home/spool/$entry-0.new"
    fi
    number=$((number + 1))
    [ "$number" -lt 999999999 ] || return 1
  done
  cat >"$home/spool/$entry-0.new" && mv "$home/spool/$entry-0.new" "$home/spool/$entry-$random" || return 1
  entry=$entry-$random
}

send() {
  start=nohup
  command -v setsid >/dev/null 2>&1 && start=setsid
  fifo=$home/.wait.$$
  if ! mkfifo "$fifo" 2>/dev/null; then
    $start "$home/deliver" --keep-trying </dev/null >/dev/null 2>&1 &
    return
  fi
  exec 8<>"$fifo"
  rm -f "$fifo"
  $start "$home/deliver" --keep-trying --notify </dev/null >/dev/null 2>&1 &
  (sleep 2; echo late >&8) </dev/null >/dev/null 2>&1 &
  read -r outcome <&8
  exec 8>&-
  if [ -f "$home/answers/$entry" ]; then
    said=$(cat "$home/answers/$entry")
    printf '%s\\n' "$said" >&2
    rm -f "$home/answers/$entry"
  elif [ "$outcome" != done ]; then
    echo 'brickyard: kept, and sent by itself' >&2
  fi
}
`;

/** `post-receive` of a git repository (githooks(5)). Whatever happens here, the push is good. */
export function postReceiveScript({ home, previous, server }: HookSettings): string {
  return `#!/bin/sh
${hookMarker}: tells ${server} of every push. "brickyard hook uninstall" puts back what was here before.
home=${shellWord(home)}
previous=${shellWord(previous)}
lines=$(cat)
if [ -x "$previous" ]; then printf '%s\\n' "$lines" | "$previous" "$@"; fi
${shellStart}
${spoolFunctions}
entries() {
  count=0
  while [ "$count" -lt "\${GIT_PUSH_OPTION_COUNT:-0}" ]; do
    eval "option=\\$GIT_PUSH_OPTION_$count"
    [ "$option" != build.skip ] || echo 'option build.skip'
    count=$((count + 1))
  done
  printf '%s\\n' "$lines" | while read -r old new ref; do
    case $ref in refs/heads/* | refs/tags/*) printf 'ref %s %s %s\\n' "$old" "$new" "$ref" ;; esac
  done
}

case $lines in *refs/heads/* | *refs/tags/*) ;; *) exit 0 ;; esac
if entries >"$home/.push.$$" 2>/dev/null && spool <"$home/.push.$$"; then send; else
  echo "brickyard: this push could not be noted down in $home, so nothing is built of it" >&2
fi
rm -f "$home/.push.$$"
exit 0
`;
}

/** `pre-receive` of a git repository: an App.yaml with errors is refused with their places. Without an answer of the server the push goes on. */
export function preReceiveScript({ home, previous, server }: HookSettings): string {
  return `#!/bin/sh
${hookMarker}: asks ${server} about App.yaml. "brickyard hook uninstall" puts back what was here before.
home=${shellWord(home)}
previous=${shellWord(previous)}
server=${shellWord(server)}
lines=$(cat)
if [ -x "$previous" ]; then printf '%s\\n' "$lines" | "$previous" "$@" || exit; fi
${shellStart}
answer=$home/.lint.$$
trap 'rm -f "$answer" "$answer.files"' EXIT
tab=$(printf '\\t')

# lint PATH BLOB: 1 = it has errors, 2 = nobody can tell.
lint() {
  path=$(printf %s "$1" | sed 's/%/%25/g; s/ /%20/g; s/&/%26/g; s/#/%23/g; s/+/%2B/g; s/?/%3F/g')
  set -- "$2"
  [ ! -f "$home/curl" ] || set -- "$1" -K "$home/curl"
  blob=$1
  shift
  status=$(git cat-file blob "$blob" | curl "$@" -gsS --max-time 2 -o "$answer" -w '%{http_code}' -X POST \\
    -H 'Content-Type: application/octet-stream' -H 'Accept: text/plain' --data-binary @- "$server/api/v1/lint?file=$path" 2>/dev/null)
  case $status in
    200) [ ! -s "$answer" ] || cat "$answer" >&2 ;;
    422) cat "$answer" >&2; return 1 ;;
    *) return 2 ;;
  esac
}

refused= unknown= seen= looked=0
printf '%s\\n' "$lines" >"$answer.files"
while read -r old new ref; do
  case $ref in refs/heads/* | refs/tags/*) ;; *) continue ;; esac
  case $new in *[!0]*) ;; *) continue ;; esac
  # Many refs at once are a repository that moves here: nobody waits for all of them.
  case $seen in *" $new "*) continue ;; esac
  [ "$looked" -lt 20 ] || break
  seen="$seen $new " looked=$((looked + 1))
  found=$(git -c core.quotePath=false ls-tree -r --full-tree "$new" 2>/dev/null | grep -E "(/|$tab)[Aa]pp\\\\.ya?ml$" | head -n 20)
  [ -n "$found" ] || continue
  while read -r mode kind blob; do
    path=\${blob#*"$tab"} blob=\${blob%%"$tab"*}
    [ "$kind" = blob ] || continue
    # Whose push this is did not bring it.
    [ "$(git rev-parse -q --verify "$old:$path" 2>/dev/null)" != "$blob" ] || continue
    [ -z "$unknown" ] || break
    lint "$path" "$blob"
    case $? in 1) refused=1 ;; 2) unknown=1 ;; esac
  done <<EOF
$found
EOF
done <"$answer.files"
if [ -n "$refused" ]; then
  echo 'brickyard: the push is refused: App.yaml has the errors above' >&2
  exit 1
fi
[ -z "$unknown" ] || echo 'brickyard: App.yaml could not be checked now, so the push goes on' >&2
exit 0
`;
}

/** A folder of a Subversion repository, and the tag of its images; one `*` in each stands for a branch's name. */
export interface SvnMapping {
  readonly path: string;
  readonly tag: string;
}

/** `post-commit` of a Subversion repository: each mapped folder that a commit touched becomes an entry. */
export function postCommitScript(
  { home, previous, server }: HookSettings,
  mappings: readonly SvnMapping[],
): string {
  return `#!/bin/sh
${hookMarker}: tells ${server} of every commit. "brickyard hook uninstall" puts back what was here before.
home=${shellWord(home)}
previous=${shellWord(previous)}
if [ -x "$previous" ]; then "$previous" "$@"; fi
${shellStart}
repository=$1 revision=$2

${spoolFunctions}
# Folders that the commit touched, each with its tag.
trees() {
  svnlook changed -r "$revision" "$repository" | cut -c5- | while IFS= read -r path; do
    case $path in
${mappings.map(mappingCase).join('')}    esac
  done | sort -u
}

# From a branch's name to a tag's.
clean() { printf %s "$1" | tr -c 'A-Za-z0-9_.-' - | sed 's/^[.-]/_/' | cut -c1-100; }

found=$(trees)
[ -n "$found" ] || exit 0
printf 'rev %s\\n%s\\n' "$revision" "$found" >"$home/.push.$$" 2>/dev/null && spool <"$home/.push.$$"
noted=$?
rm -f "$home/.push.$$"
if [ "$noted" != 0 ]; then
  echo "brickyard: revision $revision could not be noted down in $home, so nothing is built of it" >&2
  exit 1
fi
said=
send
# Subversion shows what a hook says only when it fails; the commit stands in any case.
case $said in *': refused: '*) exit 1 ;; esac
exit 0
`;
}

function mappingCase({ path, tag }: SvnMapping): string {
  const star = path.indexOf('*');
  if (star < 0) {
    return `      ${path === '' ? '*' : `${shellWord(`${path}/`)}*`}) printf 'tree %s %s\\n' ${shellWord(tag)} ${shellWord(path)} ;;\n`;
  }
  const [before, after] = [path.slice(0, star), path.slice(star + 1)];
  const [tagBefore, tagAfter] = [tag.slice(0, tag.indexOf('*')), tag.slice(tag.indexOf('*') + 1)];
  // `branches/x/` itself counts, what merely lies beside it does not.
  return `      ${shellWord(before)}*${shellWord(`${after}/`)}*)
        name=\${path#${shellWord(before)}} name=\${name%%/*}
        case $path in
          ${shellWord(before)}"$name"${shellWord(`${after}/`)}*) printf 'tree %s %s\\n' ${shellWord(tagBefore)}"$(clean "$name")"${shellWord(tagAfter)} ${shellWord(before)}"$name"${shellWord(after)} ;;
        esac ;;
`;
}
