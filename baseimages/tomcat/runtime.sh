#!/bin/sh
# Where Tomcat writes; the image itself may be read-only. Roles that do not start Tomcat do not need it, so it only warns.
dir=${CATALINA_BASE:-/tmp/tomcat}
mkdir -p "$dir" 2>/dev/null || printf 'tomcat: cannot write to %s: give the container a writable /tmp\n' "$dir" >&2
