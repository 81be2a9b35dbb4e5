#!/usr/bin/env bash
# OCI's own conformance suites, in Go, against `brickyard serve` (`npm run test:go`; Go 1.24 or newer).
#
# The legacy suite runs with all four workflows. The newer one runs at OCI_VERSION stable and dev, sparse manifests included.
# Both run twice: against an open server, and against one with accounts, signed in.
# The newer suite's server has registry.allowMissingBlobs on: with OCI_DATA_SPARSE the suite asks for 201 for an image with a
# missing layer, which the specification leaves to the registry and which Brickyard refuses otherwise.
#
# Go's module client fetches the suites, as the versions below, or a folder is named. A suite that cannot be had is a failure
# that says so: what did not run has not passed. Nothing is left behind but Go's own caches.
#
#   OCI_CONFORMANCE_SOURCE         folder with the newer suite's Go package (`conformance/` of a checkout of
#                                  github.com/opencontainers/distribution-spec), where it cannot be fetched
#   BRICKYARD_CONFORMANCE_LEGACY   version of the legacy suite's module; the first that can be fetched of several
#   BRICKYARD_CONFORMANCE          version of the newer suite's module; default main
#   BRICKYARD_CONFORMANCE_ONLY     legacy | new | minio: run only this one
#   BRICKYARD_CONFORMANCE_STORE    files (default) | replicas: the same against three replicas over Ceph, each request at any of them
#
# `minio` is the object-store suite over MinIO, which Go builds (minutes, the first time), and what else needs a Go program.
set -euo pipefail
cd "$(dirname "$0")/../.."

module=github.com/opencontainers/distribution-spec/conformance
# The commit that release v1.1.1 tags, then older ones of the same suite that proxies are known to hold.
legacy_versions=${BRICKYARD_CONFORMANCE_LEGACY:-v0.0.0-20250123160558-a139cc423184 v0.0.0-20231101194043-f2182352d4cc v0.0.0-20230516164017-7fcdf80f3c8b}
new_versions=${BRICKYARD_CONFORMANCE:-main}
only=${BRICKYARD_CONFORMANCE_ONLY:-}
store=${BRICKYARD_CONFORMANCE_STORE:-files}
source_folder=${OCI_CONFORMANCE_SOURCE:-}
# For the suites alone: what the environment says of accounts and sparse images must not decide what is tested.
unset OCI_USERNAME OCI_PASSWORD OCI_CONFORMANCE_SOURCE
password=conformance

say() { printf '%s\n' "$*"; }

command -v go >/dev/null || { say 'test:go needs Go 1.24 or newer, which is not on this machine'; exit 1; }
go_version=$(go env GOVERSION)
minor=$(sed -E 's/^go1\.([0-9]+).*/\1/' <<<"$go_version")
[ "$minor" -ge 24 ] || { say "test:go needs Go 1.24 or newer; here is $go_version"; exit 1; }

work=$(mktemp -d /tmp/by-conformance-XXXXXX)
server=
cleanup() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; }
  rm -rf "$work"
}
trap cleanup EXIT
failures=()

# fetch <name> <version…>: the suite's source in $work/<name>, from the first version that the proxy has. Prints that version.
fetch() {
  local name=$1 version directory
  shift
  for version in "$@"; do
    directory=$(cd "$work" && go mod download -json "$module@$version" 2>/dev/null | sed -nE 's/^\t"Dir": "(.*)",?$/\1/p') || true
    [ -n "$directory" ] || continue
    cp -r "$directory" "$work/$name"
    chmod -R u+w "$work/$name"
    say "$version"
    return 0
  done
  return 1
}

# start_server <data> <open|accounts>: an empty registry on a free port, as $url; further arguments are its settings.
start_server() {
  local port data=$1 mode=$2
  shift 2
  port=$(node -e "const s=require('net').createServer().listen(0,'127.0.0.1',()=>{console.log(s.address().port);s.close()})")
  url=http://127.0.0.1:$port
  credentials=()
  if [ "$mode" = accounts ]; then
    set -- "BRICKYARD_AUTH_HTPASSWD=$work/users.htpasswd" "$@"
    credentials=(OCI_USERNAME=conformance "OCI_PASSWORD=$password")
  fi
  if [ "$store" = replicas ]; then
    start_replicas "$@"
    return
  fi
  env "BRICKYARD_LISTEN=127.0.0.1:$port" "BRICKYARD_DATA=$data" "$@" node bin/brickyard.js serve registry >"$work/serve.log" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return 0; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  say 'the server did not start:'
  cat "$work/serve.log"
  exit 1
}
start_replicas() {
  : >"$work/replicas.out"
  env "$@" node test/go/serve-replicas.ts >"$work/replicas.out" 2>"$work/serve.log" &
  server=$!
  for _ in $(seq 1200); do
    if [ -s "$work/replicas.out" ]; then
      url=$(cut -d' ' -f1 "$work/replicas.out")
      say "-- replicas: $(cat "$work/replicas.out")"
      return 0
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  say 'the replicas did not start:'
  cat "$work/serve.log"
  exit 1
}
stop_server() {
  kill "$server"
  wait "$server" 2>/dev/null || true
  server=
}

run_legacy() {
  local version mode
  # shellcheck disable=SC2086
  version=$(fetch legacy $legacy_versions) || { failures+=("legacy: the Go module proxy has no version of $module that was asked for"); return; }
  say "== legacy suite $version"
  (cd "$work/legacy" && go test -c -o "$work/legacy.test" .)
  for mode in open accounts; do
    start_server "$work/legacy-data-$mode" "$mode"
    local log=$work/legacy-$mode.log status=0
    (
      cd "$work" && env ${credentials[@]+"${credentials[@]}"} OCI_ROOT_URL="$url" OCI_NAMESPACE=conformance/one OCI_CROSSMOUNT_NAMESPACE=conformance/two \
        OCI_TEST_PULL=1 OCI_TEST_PUSH=1 OCI_TEST_CONTENT_DISCOVERY=1 OCI_TEST_CONTENT_MANAGEMENT=1 \
        OCI_AUTOMATIC_CROSSMOUNT=1 OCI_DELETE_MANIFEST_BEFORE_BLOBS=1 OCI_HIDE_SKIPPED_WORKFLOWS=1 ACK_GINKGO_DEPRECATIONS=1.16.5 \
        ./legacy.test -test.v -ginkgo.noColor >"$log" 2>&1
    ) || status=$?
    stop_server
    say "-- $mode"
    grep -E '^(Ran [0-9]+ of|SUCCESS!|FAIL!|\[Fail\])' "$log" || true
    [ "$status" = 0 ] || { failures+=("legacy, $mode: exit code $status"); tail -100 "$log"; }
  done
}

run_new() {
  local version oci_version mode
  if [ -n "$source_folder" ]; then
    [ -f "$source_folder/go.mod" ] || { failures+=("new: $source_folder (OCI_CONFORMANCE_SOURCE) holds no Go module"); return; }
    version='from the folder that was named'
    cp -r "$source_folder" "$work/new"
  else
    # shellcheck disable=SC2086
    version=$(fetch new $new_versions) || {
      failures+=("new: the Go module proxy has no $module@$new_versions; name a folder with its source: OCI_CONFORMANCE_SOURCE")
      return
    }
  fi
  say "== new suite $version"
  (cd "$work/new" && go build -o "$work/conformance" .) || { failures+=('new: does not compile'); return; }
  for oci_version in stable dev; do
    for mode in open accounts; do
      start_server "$work/new-data-$oci_version-$mode" "$mode" BRICKYARD_REGISTRY_ALLOW_MISSING_BLOBS=true
      local log=$work/new-$oci_version-$mode.log results=$work/results-$oci_version-$mode status=0
      mkdir -p "$results"
      env ${credentials[@]+"${credentials[@]}"} OCI_REGISTRY="${url#http://}" OCI_TLS=disabled OCI_REPO1=conformance/one OCI_REPO2=conformance/two \
        OCI_VERSION="$oci_version" OCI_DATA_SPARSE=true OCI_RESULTS_DIR="$results" OCI_LOG=warn \
        "$work/conformance" >"$log" 2>&1 || status=$?
      stop_server
      say "-- OCI_VERSION=$oci_version, $mode"
      sed -n '/OCI Conformance Result/,/Total/p' "$log"
      # What a registry does not support counts as skipped there; here it counts as failed.
      # It ends with 0 as well when it could not even begin, so its verdict is looked for.
      if [ "$status" != 0 ] || ! grep -q 'OCI Conformance Result: Pass' "$log" || grep -Eq '^ +(Skip|FAIL|Error)\.*: +[1-9]' "$log"; then
        failures+=("new, $oci_version, $mode: exit code $status")
        tail -150 "$log"
      fi
    done
  done
}

printf 'module conformance\n\ngo 1.24\n' >"$work/go.mod"
printf '%s\n' "$password" | node bin/brickyard.js user add conformance --password-stdin --file "$work/users.htpasswd" >"$work/user.log" 2>&1 || { cat "$work/user.log"; exit 1; }
if [ -z "$only" ] || [ "$only" = legacy ]; then run_legacy; fi
if [ -z "$only" ] || [ "$only" = new ]; then run_new; fi
if { [ -z "$only" ] && [ "$store" = files ]; } || [ "$only" = minio ]; then
  say '== object-store suite over MinIO, and how Compose v2 reads deploy/'
  node_modules/.bin/vitest run --config test/go/vitest.config.ts || failures+=('the object-store suite over MinIO, or how Compose v2 reads deploy/')
fi

say '== summary'
if [ ${#failures[@]} -gt 0 ]; then
  printf 'FAILED %s\n' "${failures[@]}"
  exit 1
fi
say 'all passed'
