#!/bin/sh
# Runs once, when the level is made.
set -eu
apt-get install -y $PACKAGES
# Makes Java's own store of the certificates of base, by the hook that ca-certificates-java has just brought.
update-ca-certificates --fresh
# One path on all architectures; Debian's own name of the folder ends in the architecture.
ln -s "java-17-openjdk-$ARCH" /usr/lib/jvm/java-17-openjdk
