#!/bin/sh
# Runs once, when the level is made.
set -eu
apt-get install -y $PACKAGES
# Debian's settings are for a service of the machine: they listen on loopback, write a log file and keep snapshots.
rm -rf /etc/redis /var/log/redis
