/** For the ways that speak HTTP themselves. */
const curlFunction = `# call URL OPTIONS…: sets status and leaves the body in answer.json; status 000 = not reached, and why in error.
call() {
  url=$1
  shift
  set -- -gsS --connect-timeout 5 --max-time 600 -o answer.json -w '%{http_code}' "$@"
  if [ -f curl ]; then set -- -K curl "$@"; fi
  : >answer.json
  status=$(curl "$@" "$url" 2>error </dev/null) || status=000
}

field() { sed -n "s/.*\\"$1\\": *\\"\\([^\\"]*\\)\\".*/\\1/p" answer.json | head -n 1; }

# What became of it, for statuses that say nothing about the content.
later() {
  if [ "$status" = 000 ]; then reason=$(head -n 1 error); else reason="the server answered $status: $(field message)"; fi
  note "$entry waits: $reason"
  answer "brickyard: kept, and sent again by itself ($reason)"
  return 1
}
`;

/**
 * Refs go to the server's own git host, as a developer's push would. An entry of the spool is `option TEXT` and `ref OLD NEW NAME`, one a line.
 */
export const pushWay = `# git's own variables would take the place of what is said here.
unset $(git rev-parse --local-env-vars 2>/dev/null)
GIT_TERMINAL_PROMPT=0; export GIT_TERMINAL_PROMPT

# git's "store" would forget a password that was refused once.
BRICKYARD_HOOK=$home; export BRICKYARD_HOOK
helper='!f() { test "$1" = get && cat "$BRICKYARD_HOOK/credentials" 2>/dev/null; }; f'

push() {
  git --git-dir="$repository" -c credential.helper= -c credential.helper="$helper" -c http.lowSpeedLimit=1 -c http.lowSpeedTime=60 \\
    push --porcelain --no-verify -o build.nowait $skip "$server/git/$app.git" "$@" >output 2>error </dev/null
  code=$?
  sed -n 's/^remote: *brickyard: build \\([0-9a-f-]*\\) is queued for \\([^ ]*\\).*/\\1 \\2/p' error | while read -r id name; do
    answer "brickyard: build of $name: $server/builds/$id"
  done
  sed -n '/ is queued for /d; s/^remote: *\\(brickyard: .*[^ ]\\) *$/\\1/p' error | while IFS= read -r line; do answer "$line"; done
  [ "$code" != 0 ] || return 0
  # What is not there need not be deleted.
  case $1 in :*) ! grep -q 'remote ref does not exist' error || return 0 ;; esac
  if ! grep -q "^!" output || grep -qE '^!.*(did not answer|disk is full|hook declined|unpacker error|failed to|remote failure)' output; then
    reason=$(grep -E '^(fatal|error|remote): ' error | head -n 1)
    note "$entry waits: $reason"
    answer "brickyard: kept, and sent again by itself ($reason)"
    return 1
  fi
  grep '^!' output | cut -f2- | while IFS= read -r line; do
    note "$entry: refused: $line"
    answer "brickyard: refused: $line"
  done
  return 0
}

deliver() {
  skip=
  grep -qx 'option build.skip' "spool/$1" && skip='-o build.skip'
  set -- "$1"
  while read -r kind old new ref; do
    [ "$kind" = ref ] || continue
    # Two pushes at once may come here in the other order: what the ref has by now, and was sent already, stays.
    now=$(git --git-dir="$repository" rev-parse -q --verify "$ref" 2>/dev/null)
    if [ "$now" != "$new" ] && [ -n "$now" ] && grep -qxF "$now $ref" sent 2>/dev/null; then continue; fi
    case $new in
      *[!0]*) ;;
      *)
        if [ "$#" -gt 1 ]; then send "$@" || return 1; set -- "$1"; fi
        push ":$ref" || return 1
        continue ;;
    esac
    if ! git --git-dir="$repository" cat-file -e "$new" 2>/dev/null; then
      note "$entry: $ref: $new is not in the repository any more"
      continue
    fi
    set -- "$@" "+$new:$ref"
    if [ "$#" -gt 400 ]; then send "$@" || return 1; set -- "$1"; fi
  done <"spool/$1"
  [ "$#" = 1 ] || send "$@"
}

# send ENTRY REFSPEC…
send() {
  shift
  push "$@" || return 1
  for spec in "$@"; do
    spec=\${spec#+}
    printf '%s %s\\n' "\${spec%%:*}" "\${spec#*:}"
  done >>sent
  if [ "$(wc -l <sent)" -gt 20000 ]; then tail -n 10000 sent >sent.new && mv -f sent.new sent; fi
}
`;

/** A signed note says what changed (docs/triggers.md, "The generic format"), and the server fetches it. Entries are as those of `pushWay`. */
export const webhookWay = `${curlFunction}
sha256() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi | cut -c1-64
}

# HMAC-SHA256 of stdin (RFC 2104). The key's two padded forms lie in files: a key that is an argument is seen by everybody.
hmac() {
  inner=$({ cat inner; cat; } | sha256)
  set -- $(printf %s "$inner" | sed 's/../0x& /g')
  { cat outer; printf "$(printf '\\\\%03o' "$@")"; } | sha256
}

deliver() {
  part=0 count=0
  options=
  grep -qx 'option build.skip' "spool/$1" && options=', "options": ["build.skip"]'
  rm -f updates
  while read -r kind old new ref; do
    [ "$kind" = ref ] || continue
    [ "$count" = 0 ] || printf ', ' >>updates
    # Of what JSON has to escape a ref's name may only have the quotation mark.
    printf '{"ref": "%s", "old": "%s", "new": "%s"}' "$(printf %s "$ref" | sed 's/"/\\\\"/g')" "$old" "$new" >>updates
    count=$((count + 1))
    if [ "$count" = 500 ]; then
      send "$1" || return
      count=0
    fi
  done <"spool/$1"
  [ "$count" = 0 ] || send "$1"
}

send() {
  part=$((part + 1))
  { printf '{"repository": "%s", "updates": [' "$app"; cat updates; printf ']%s}' "$options"; } >body
  rm -f updates
  time=$(date +%s)
  nonce=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')
  signature=$({ printf '%s.%s.' "$time" "$nonce"; cat body; } | hmac)
  call "$server/hooks/generic" -H 'Content-Type: application/json' -H "X-Brickyard-Timestamp: $time" -H "X-Brickyard-Nonce: $nonce" \\
    -H "X-Brickyard-Delivery: $(printf %s "$1-$part" | tr -c 'A-Za-z0-9_-' -)" -H "X-Brickyard-Signature: sha256=$signature" --data-binary @body
  case $status in
    200 | 202) answer "brickyard: $(field url)" ;;
    400 | 404 | 405 | 413 | 415)
      answer "brickyard: refused: $(field message)"
      note "$entry: $status $(field message)"
      return 2 ;;
    *) later ;;
  esac
}
`;

/** The changed folders of a Subversion repository go to the server as packages: `rev NUMBER`, then `tree TAG PATH`, one a line. */
export const svnWay = `${curlFunction}
deliver() {
  revision=
  while read -r kind first rest; do
    case $kind in
      rev) revision=$first ;;
      tree) send "$first" "$rest" || return ;;
    esac
  done <"spool/$1"
}

send() {
  rm -rf work
  mkdir -p work/export/config
  if ! svnlook tree -N --full-paths -r "$revision" "$repository" "/$2" >/dev/null 2>error; then
    # Deleted in this revision, or moved away.
    if grep -q E160013 error; then return 0; fi
    status=000
    later
    return
  fi
  place=$(printf %s "$repository/$2" | sed 's/%/%25/g')
  if ! svn export -q --non-interactive --config-dir work/export/config --ignore-externals --force \\
    -r "$revision" "file://$place@$revision" "work/\${app##*/}" >/dev/null 2>error </dev/null ||
    ! tar czf work/package.tgz -C work "\${app##*/}" 2>error; then
    status=000
    later
    return
  fi
  call "$server/api/v1/packages/$app?name=\${app##*/}.tgz&tag=$1" -X POST -T work/package.tgz
  rm -rf work
  case $status in
    202) answer "brickyard: build of $2@$revision: $server/builds/$(field id)" ;;
    400 | 404 | 405 | 413 | 422)
      answer "brickyard: $2@$revision: refused: $(field message)"
      note "$entry: $status $(field message)"
      return 2 ;;
    *) later ;;
  esac
}
`;
