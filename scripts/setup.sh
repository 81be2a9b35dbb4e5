#!/usr/bin/env bash
# `npm run setup`: installs the Debian packages that the tests need, and nothing when all of them are there.
# Says what it does. Without root, or elsewhere than on Debian, it prints the commands and fails.
set -euo pipefail
# Programs of /usr/sbin (dockerd, ip) are not on every user's path.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source-path=SCRIPTDIR source=lib/programs.sh
source scripts/lib/programs.sh

main() {
  local missing
  missing="$(missing_programs)"
  if [[ -z "$missing" ]]; then
    echo "setup: everything the tests need is here ($(programs | wc -l) programs); nothing to do"
    return 0
  fi
  echo 'setup: missing here:'
  local program package reason
  while IFS=';' read -r program package reason; do
    printf '  %-24s from %-16s %s\n' "$program" "$package" "$reason"
  done <<<"$missing"

  local -a packages
  mapfile -t packages < <(cut -d';' -f2 <<<"$missing" | sort -u)
  if ! is_debian; then
    echo 'setup: this is not Debian: install these programs with your own package manager; on Debian that is' >&2
    print_commands "${packages[@]}" >&2
    return 1
  fi
  if [[ "$(id -u)" -ne 0 ]]; then
    echo 'setup: needs root for this; please run' >&2
    print_commands "${packages[@]}" >&2
    return 1
  fi
  install_packages "${packages[@]}"

  missing="$(missing_programs)"
  if [[ -n "$missing" ]]; then
    echo 'setup: installed, but these still do not answer:' >&2
    cut -d';' -f1 <<<"$missing" | sed 's/^/  /' >&2
    return 1
  fi
  echo "setup: done; all $(programs | wc -l) programs answer"
}

is_debian() {
  command -v apt-get >/dev/null && grep -qE '^(ID|ID_LIKE)=.*debian' /etc/os-release 2>/dev/null
}

print_commands() {
  printf '  sudo apt-get update\n  sudo apt-get install --no-install-recommends %s\n' "$*"
}

install_packages() {
  local -a wanted=("$@") before=()
  local -a apt=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -q)
  echo 'setup: apt-get update'
  "${apt[@]}" update
  # Since Debian 13 the client is a package of its own.
  if [[ " ${wanted[*]} " == *' docker.io '* ]] && apt-cache show docker-cli >/dev/null 2>&1; then
    wanted+=(docker-cli)
  fi
  local service
  for service in docker-registry redis-server openssh-server; do
    dpkg -s "$service" >/dev/null 2>&1 && before+=("$service")
  done
  echo "setup: apt-get install ${wanted[*]}"
  without_services env DEBIAN_FRONTEND=noninteractive \
    "${apt[@]}" install --yes --no-install-recommends "${wanted[@]}"
  # They would take ports 5000, 6379 and 22 at the next boot; tests and bench start them on ports of their own.
  [[ -d /run/systemd/system ]] || return 0
  for service in docker-registry redis-server openssh-server; do
    [[ " ${before[*]} " == *" $service "* ]] || systemctl disable --quiet "${service/openssh-server/ssh}" 2>/dev/null || true
  done
}

# Runs a command while freshly installed packages may not start their services: the tests start what they need themselves.
without_services() {
  local policy=/usr/sbin/policy-rc.d
  if [[ -e "$policy" ]]; then
    "$@"
    return
  fi
  trap "rm -f '$policy'" EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 0755 "$policy"
  "$@"
  rm -f "$policy"
  trap - EXIT
}

main "$@"
