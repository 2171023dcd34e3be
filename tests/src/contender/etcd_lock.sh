# Takes the lock, serves while it is held, and begins again.
# Arguments: the script that serves, the TTL in seconds, the address with its prefix, the interface.
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=http://127.0.0.1:2379
serve=$1 ttl=$2
export VIP=$3 INTERFACE=$4
ip address del "$VIP" dev "$INTERFACE" 2>/dev/null
while :; do
    etcdctl lock --ttl="$ttl" service /bin/sh "$serve"
    ip address del "$VIP" dev "$INTERFACE" 2>/dev/null
    sleep 0.2
done
