#!/bin/busybox sh
# The first process of a node of `cargo xtask test --vm-cluster`. The kernel's command line is this
# script's environment: node, address, management.
/bin/busybox --install -s /bin
umask 022
export PATH=/heartbeat:/sbin:/bin
export HEARTBEAT_CONFIG=/state/heartbeat.toml
mkdir -p /proc /sys /dev /tmp /run /var/lib /state /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
while read -r module; do
    insmod "/modules/$module.ko" || echo "could not load the module $module"
done </modules/list
hostname "$node"
# A disk without a file system is an error of the test, which then gets no answer.
mount -t ext4 /dev/vda /state
# The rig's configuration files name the first link hb0. The name card0 is for a card below it.
ip link set eth0 name hb0
ip link set eth1 name manage
ip link set eth2 name card1
ip link set lo up
ip addr add "$management" dev manage
ip link set manage up
ip addr add "$address" dev hb0
ip link set hb0 up
echo "heartbeat-vm: node $node runs Linux $(uname -r)"
while true; do
    vm-node node "$node"
    echo "heartbeat-vm: the node's helper ended with status $?"
    sleep 1
done
