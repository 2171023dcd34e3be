# Serves the address while the lock is held: etcd confirms it each half second, by a majority.
ip address add "$VIP" dev "$INTERFACE" 2>/dev/null
echo serves
arping -q -U -c 1 -w 1 -I "$INTERFACE" "${VIP%/*}" &
while etcdctl get --command-timeout=1s "$ETCD_LOCK_KEY" | grep -q .; do
    sleep 0.5
done
ip address del "$VIP" dev "$INTERFACE"
echo released
