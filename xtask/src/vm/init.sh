#!/bin/busybox sh
# What the kernel starts in QEMU: makes a system of what is there, runs the tests, and switches the machine off.
/bin/busybox --install -s /bin
# Before busybox's own `tc`.
export PATH=/sbin:/bin
mkdir -p /proc /sys /dev /tmp /run /var/lib
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
ip link set lo up
for module in llc stp bridge veth sch_ingress cls_bpf garp mrp 8021q virtio_ring virtio virtio_pci_modern_dev \
    virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net; do
    file=/modules/$(uname -r)/$module.ko
    # What is not there is built in.
    [ ! -e "$file" ] || insmod "$file" || echo "could not load the module $module"
done
export HEARTBEAT_BIN=/heartbeat/heartbeat
export HEARTBEAT_BPF_OBJECT=/heartbeat/heartbeat.bpf
export HEARTBEAT_RIG_OBJECT=/heartbeat/rig.bpf
# An emulated machine is slow, so all that has a time gets more of it, and what is long is shortened.
export HEARTBEAT_TEST_SLOWNESS=20
export HEARTBEAT_FUZZ_FRAMES=2000
while read -r program filter; do
    echo "heartbeat-tests on Linux $(uname -r): $program"
    # shellcheck disable=SC2086 -- no filter is no argument.
    "/heartbeat/$program" --test-threads=1 $filter </dev/null
    status=$?
    # 101 is a failed test, which has counted itself.
    if [ $status != 0 ] && [ $status != 101 ]; then
        echo "test result: FAILED. 0 passed; 1 failed; $program ended with status $status"
    fi
done </heartbeat/programs
echo "heartbeat-vm: all programs have run"
poweroff -f
