# shellcheck shell=bash
# What the tests and the bench need of the machine: program, Debian package, how it is asked whether it works.
# One line each, so that `setup.sh` can say exactly what is missing and why it is wanted.
programs() {
  cat <<'TABLE'
git;git;git --version;git push builds images
git-http-backend;git;test -x "$(git --exec-path)/git-http-backend";serves git over HTTP
ssh;openssh-client;ssh -V;git over ssh
sshd;openssh-server;test -x /usr/sbin/sshd;a git server over ssh
dpkg-deb;dpkg;dpkg-deb --version;base images are made of Debian packages
update-ca-certificates;ca-certificates;test -s /etc/ssl/certs/ca-certificates.crt;downloads over TLS
libatomic.so.1;libatomic1;/sbin/ldconfig -p | grep -q libatomic.so.1;Node 26 links it
ip;iproute2;ip -V;a network bridge for the tests' own Docker engine
setpriv;util-linux;setpriv --version;no engine outlives its test
nsenter;util-linux;nsenter --version;machines of a pool as network namespaces
tc;iproute2;tc -V;their slow link
dockerd;docker.io;dockerd --version;the container engine
docker;docker.io;docker --version;real client
docker-compose;docker-compose;docker-compose version;deploy/ is read and started by it
systemd-analyze;systemd;systemd-analyze --version;reads the units of deploy/
podman;podman;podman --version;real client and second container engine
containerd;containerd;containerd --version && ctr --version;real client, as Kubernetes has it
buildah;buildah;buildah --version;real client
skopeo;skopeo;skopeo --version;real client
busybox;busybox-static;busybox true && ! ldd "$(command -v busybox)";the tests' smallest base image
ceph;ceph-common;ceph --version;commands of the tests' own S3 store
ceph-mon;ceph-mon;ceph-mon --version;S3 store: its monitor
ceph-osd;ceph-osd;ceph-osd --version;S3 store: where the bytes are
radosgw;radosgw;radosgw --version && radosgw-admin --version;S3 store: its gateway
nginx;nginx;nginx -v;the web server in front of replicas
redis-server;redis-server;redis-server --version;what machines tell each other through
redis-cli;redis-tools;redis-cli --version;asks it in the tests
svn;subversion;svn --version && svnadmin --version;hooks of Subversion repositories
curl;curl;curl --version;real client over TLS and HTTP/2
openssl;openssl;openssl version;certificates of the tests
docker-registry;docker-registry;docker-registry --version;the peer that the bench measures against
wrk;wrk;wrk -v 2>&1 | grep -q Copyright;load for the bench
TABLE
}

# Answers with the lines of the table whose program does not work here.
missing_programs() {
  local program package question reason
  while IFS=';' read -r program package question reason; do
    answers "$question" || printf '%s;%s;%s\n' "$program" "$package" "$reason"
  done < <(programs)
}

answers() {
  bash -c "$1" >/dev/null 2>&1 </dev/null
}
