#!/bin/sh
# Runs the guest's own Docker engine on the build host, so that the agent image is loaded at native speed. The caller has put it into
# mount, pid and network namespaces of its own: all of it is gone with this process.
#   engine.sh ROOT DATA SOCKETS    the guest's root, the future /var/lib/docker, and a folder for docker.sock
set -eu
root=$1 data=$2 sockets=$3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/run/host" "$root/run/old" "$root/run/bin"
# dockerd does not start without a `runc`, whatever its runtime is.
ln -s /usr/bin/crun "$root/run/bin/runc"
mount --bind "$sockets" "$root/run/host"
mount --bind "$data" "$root/var/lib/docker"
mount -o remount,bind,ro "$root"
# Docker unpacks layers in a root of its own, which the kernel refuses to a process in a mere chroot.
cd "$root"
pivot_root . run/old
export PATH=/run/bin:/usr/sbin:/usr/bin
exec /usr/sbin/dockerd --host unix:///run/host/docker.sock --data-root /var/lib/docker --exec-root /run/docker \
  --pidfile /run/dockerd.pid --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
  --userland-proxy=false --storage-driver overlay2
