#!/bin/sh
# Where Resin writes; the image itself may be read-only. Roles that do not start Resin do not need it, so it only warns.
dir=${RESIN_ROOT:-/tmp/resin}
mkdir -p "$dir" 2>/dev/null || printf 'resin: cannot write to %s: give the container a writable /tmp\n' "$dir" >&2
