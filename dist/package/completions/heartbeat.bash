# The binary completes by itself, with the names of the running cluster.
source <(COMPLETE=bash /usr/sbin/heartbeat)
