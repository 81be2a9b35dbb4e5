#!/bin/sh
# Runs once, when the level is made.
set -eu
apt-get install -y $PACKAGES
# Debian's sites and its log files: the server has a configuration of its own and writes none.
rm -rf /etc/nginx/sites-enabled /etc/nginx/sites-available /var/log/nginx
