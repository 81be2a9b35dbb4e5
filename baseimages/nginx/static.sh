#!/bin/sh
# Runs once, when the level is made.
set -eu
apt-get install -y $PACKAGES
rm -rf /etc/nginx/sites-enabled /etc/nginx/sites-available /var/log/nginx
# New volumes take over the owner of the folders that they are mounted on.
install -d -o 10001 -g 10001 /var/lib/brickyard-front /var/cache/brickyard-front
