#!/bin/sh
# A resource agent that does as the test tells it, and writes down each of its calls. What it "runs" is
# a file, one for each node. Scripts of the test may take an action over: they end by `finish CODE`, or
# let it go on.
node=${OCF_RESKEY_CRM_meta_on_node:-none}
name=$OCF_RESOURCE_INSTANCE
action=$1
runs=$OCF_ROOT/running/$node.$name

case $action in
meta-data)
    cat "$OCF_ROOT/actor.xml"
    exit 0
    ;;
monitor)
    [ "$OCF_RESKEY_CRM_meta_interval" = 0 ] && action=probe
    ;;
esac

say() {
    read -r uptime idle </proc/uptime
    echo "$node $name $action $$ $1 $uptime" >>"$OCF_ROOT/calls"
}
finish() {
    say "$1"
    exit "$1"
}
because() {
    echo "ocf-exit-reason:$1" >&2
}

say begins
script=$OCF_ROOT/scripts/$node.$name.$action
if [ -e "$script" ]; then
    . "$script"
fi
case $action in
start)
    : >"$runs"
    finish 0
    ;;
stop)
    rm -f "$runs"
    finish 0
    ;;
monitor | probe)
    [ -e "$runs" ] && finish 0
    because "$name is not there"
    finish 7
    ;;
*)
    finish 3
    ;;
esac
