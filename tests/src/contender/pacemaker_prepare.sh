# Arguments: the file for corosync.conf, the file for the cluster's configuration.
echo 'haclient:x:64111:' >> /etc/group
echo 'hacluster:x:64111:64111::/var/lib/pacemaker:/usr/sbin/nologin' >> /etc/passwd
mkdir -p /etc/corosync /var/lib/corosync /var/log/corosync /var/log/pacemaker
cp "$1" /etc/corosync/corosync.conf
for directory in cib pengine cores blackbox; do
    mkdir -p "/var/lib/pacemaker/$directory"
done
cp "$2" /var/lib/pacemaker/cib/cib.xml
chown -R hacluster:haclient /var/lib/pacemaker /var/log/pacemaker
chmod 0600 /var/lib/pacemaker/cib/cib.xml
