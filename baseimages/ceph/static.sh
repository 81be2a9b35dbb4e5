#!/bin/sh
# Runs once, when the level is made.
set -eu
apt-get install -y $PACKAGES
# cron is there because of log rotation, which nobody needs in here; its installation gives crontab away.
chmod g-s /usr/bin/crontab
rm -rf /var/log/ceph
# Names of this one machine, made at random by a package that the OSD's asks for: every build would be another image.
rm -f /etc/nvme/hostid /etc/nvme/hostnqn
# New volumes take over the owner of the folder that they are mounted on.
install -d -o 10001 -g 10001 -m 0700 /var/lib/ceph-s3
