//! TC filters instead of links, for kernels without TCX.
//!
//! A filter stays until a process removes it, however its agent ended. Therefore a filter's name is
//! the path of the pin that a link would have. The next start and `heartbeat unload` recognise the
//! owner of a filter by this name, and filters are removed with the pins. Filters of other programs
//! stay, and so does the qdisc with all filters.

use std::{os::fd::AsFd as _, path::Path};

use anyhow::{Context as _, Error, Result, anyhow};
use aya::programs::SchedClassifier;
use heartbeat_common::maps::PIN_ROOT;

use super::lookup::check_interface;
use crate::object::kernel::has_tc_links;
use heartbeat_sys::net::{EgressFilter, Netlink};

/// "hb". Priority and handle together distinguish our filter from others: the kernel numbers
/// filters without a handle from 1 on.
const HANDLE: u32 = 0x6862;

/// The priority is before all others: a filter that ends with a verdict skips the filters behind
/// it.
fn priority(program: &str) -> u16 {
    match program {
        "guard_egress" => 1,
        _ => 2,
    }
}

/// The filter that runs the program `name` for the owner of `pin`.
pub(crate) fn of(name: &str, pin: &Path) -> EgressFilter {
    EgressFilter {
        priority: priority(name),
        handle: HANDLE,
        name: pin.display().to_string(),
    }
}

/// Attaches a filter on `interface` that runs `program`, called `name`, for the owner of `pin`.
pub(crate) fn put(
    program: &SchedClassifier,
    name: &str,
    interface: &str,
    pin: &Path,
) -> Result<()> {
    let ifindex = check_interface(interface)?;
    let filter = of(name, pin);
    let mut netlink = Netlink::open()?;
    let present = netlink.egress_filters(ifindex)?;
    let is_there = judge(&present, &filter, interface, pin)?;
    netlink
        .put_egress_filter(ifindex, &filter, program.fd()?.as_fd(), is_there)
        .context(
            "this kernel attaches TC programs by filters only; they need a qdisc `clsact`, not \
             `ingress`, and the priorities 1 and 2",
        )
}

/// Whether one of the `present` filters is to be replaced by ours. A filter of another owner is an
/// error.
fn judge(
    present: &[EgressFilter],
    ours: &EgressFilter,
    interface: &str,
    pin: &Path,
) -> Result<bool> {
    let place = |other: &&EgressFilter| other.priority == ours.priority && is_in_our_place(other);
    let present = present.iter().find(place);
    match present.filter(|other| is_anothers(&other.name, pin.parent())) {
        Some(other) => Err(refusal(interface, other)),
        None => Ok(present.is_some()),
    }
}

/// The filters of other owners on the interface with this index, in the places that the instance
/// with the pins in `dir` uses.
pub(crate) fn foreign(
    netlink: &mut Netlink,
    ifindex: u32,
    dir: &Path,
) -> Result<Vec<EgressFilter>> {
    let mut filters = netlink.egress_filters(ifindex)?;
    filters.retain(|filter| is_in_our_place(filter) && is_anothers(&filter.name, Some(dir)));
    Ok(filters)
}

/// Whether a filter has the place of our filter for the program `name`.
pub(crate) fn has_place_of(filter: &EgressFilter, name: &str) -> bool {
    filter.priority == priority(name) && is_in_our_place(filter)
}

const fn is_in_our_place(filter: &EgressFilter) -> bool {
    filter.handle == HANDLE
}

/// The error for a filter of another owner in the place of ours.
pub(crate) fn refusal(interface: &str, other: &EgressFilter) -> Error {
    anyhow!(
        "{interface}: the TC filter {} has the place of ours (priority {}, handle {HANDLE:#x}); \
        remove a killed instance with `heartbeat unload --instance`, and see other filters with \
        `tc filter show dev {interface} egress`",
        other.name,
        other.priority,
    )
}

/// Whether a filter belongs to another owner than the instance with the pins in `dir`. A filter of
/// an instance whose pins are gone belongs to no instance.
fn is_anothers(name: &str, dir: Option<&Path>) -> bool {
    let owner = Path::new(name).parent();
    owner != dir && !owner.is_some_and(|owner| owner.starts_with(PIN_ROOT) && !owner.exists())
}

/// Removes the filters of the instance with the pins in `dir`, except for those whose pin name
/// `keep` accepts. Only the interfaces of this network namespace are visible.
pub(crate) fn remove_all_but(dir: &Path, keep: impl Fn(&str) -> bool) -> Result<()> {
    if has_tc_links() {
        return Ok(());
    }
    let mut netlink = Netlink::open()?;
    for interface in netlink.interfaces()? {
        for filter in netlink.egress_filters(interface.index)? {
            let path = Path::new(&filter.name);
            let kept = path
                .file_name()
                .and_then(|pin| pin.to_str())
                .is_some_and(&keep);
            if path.parent() == Some(dir) && filter.handle == HANDLE && !kept {
                netlink.remove_egress_filter(interface.index, &filter)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_belongs_to_the_pins_that_its_name_lies_in() {
        let pin = Path::new("/sys/fs/bpf/heartbeat/web/link_tc_eth0");
        let anothers = |name| is_anothers(name, pin.parent());
        assert!(!anothers("/sys/fs/bpf/heartbeat/web/link_tc_eth0"));
        assert!(
            !anothers("/sys/fs/bpf/heartbeat/web/link_tc_old0"),
            "renamed"
        );
        assert!(!anothers(
            "/sys/fs/bpf/heartbeat/no-such-instance/link_tc_eth0"
        ));
        assert!(anothers("stamp_probe"));
        assert!(anothers(""));
        // An existing directory, like that of another instance's pins.
        assert!(anothers("/sys/link_tc_eth0"));
    }

    #[test]
    fn filter_in_our_place_gives_way_unless_it_is_anothers() {
        let pin = Path::new("/sys/fs/bpf/heartbeat/web/link_tc_eth0");
        let ours = of("stamp_probe", pin);
        let named = |name: &str| EgressFilter {
            name: name.to_owned(),
            ..of("stamp_probe", pin)
        };
        let elsewhere = EgressFilter {
            handle: 1,
            ..named("other")
        };
        let judge = |present: &[EgressFilter]| judge(present, &ours, "eth0", pin);
        assert!(!judge(&[]).unwrap());
        assert!(!judge(&[elsewhere]).unwrap());
        assert!(judge(&[named(&ours.name)]).unwrap());
        let refused = judge(&[named("other")]).unwrap_err().to_string();
        assert!(
            refused.contains(
                "eth0: the TC filter other has the place of ours (priority 2, handle 0x6862)"
            ),
            "{refused}"
        );
    }
}
