//! The network namespace of this thread.

use std::{io, path::Path};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::option;

/// A file that only the initial network namespace has (`net_core_table` in the kernel's
/// net/core/sysctl_net_core.c): a process sees the settings of its own namespace.
const ONLY_IN_THE_INITIAL_ONE: &str = "/proc/sys/net/core/netdev_budget";

/// The kernel's number of the namespace: never 0, and never used twice until the next boot.
pub fn cookie() -> io::Result<u64> {
    let any = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    option::get(&any, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE)
}

/// Whether this is the namespace that exists since the boot of the host.
pub fn is_initial() -> bool {
    Path::new(ONLY_IN_THE_INITIAL_ONE).exists()
}

#[cfg(test)]
mod tests {
    #[test]
    fn namespace_has_a_cookie_that_stays() {
        let cookie = super::cookie().unwrap();
        assert_ne!(cookie, 0);
        assert_eq!(super::cookie().unwrap(), cookie);
    }
}
