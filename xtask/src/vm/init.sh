#!/bin/busybox sh
# The first process in QEMU: sets the system up, runs the tests, and switches the machine off.
/bin/busybox --install -s /bin
# /sbin has the real `tc`, which must come before busybox's own.
export PATH=/sbin:/bin
mkdir -p /proc /sys /dev /tmp /run /var/lib
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
ip link set lo up
for module in llc stp bridge veth sch_ingress cls_bpf garp mrp 8021q virtio_ring virtio virtio_pci_modern_dev \
    virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net; do
    file=/modules/$(uname -r)/$module.ko
    # A missing module is built into the kernel.
    [ ! -e "$file" ] || insmod "$file" || echo "could not load the module $module"
done
export HEARTBEAT_BIN=/heartbeat/heartbeat
export HEARTBEAT_BPF_OBJECT=/heartbeat/heartbeat.bpf
export HEARTBEAT_RIG_OBJECT=/heartbeat/rig.bpf
# An emulated machine is slow, so deadlines are extended, and long tests are shortened.
export HEARTBEAT_TEST_SLOWNESS=20
export HEARTBEAT_FUZZ_FRAMES=2000
while read -r program filter; do
    echo "heartbeat-tests on Linux $(uname -r): $program"
    # shellcheck disable=SC2086 -- an empty filter must be no argument.
    "/heartbeat/$program" --test-threads=1 $filter </dev/null
    status=$?
    # 101 means a failed test, which is in the program's own count.
    if [ $status != 0 ] && [ $status != 101 ]; then
        echo "test result: FAILED. 0 passed; 1 failed; $program ended with status $status"
    fi
done </heartbeat/programs
echo "heartbeat-vm: all programs have run"
poweroff -f
