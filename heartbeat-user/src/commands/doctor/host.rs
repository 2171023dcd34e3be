//! The host: its clock, its time daemon, the drivers of its links, its neighbours.

use std::{collections::BTreeMap, fs, net::IpAddr};

use super::Finding;
use crate::{
    clock,
    commands::init::host::{driver, time_daemon},
    config::{Config, XdpMode},
};

/// Clock sources whose rate is far off or whose reading takes a microsecond and more.
const POOR_CLOCKS: [&str; 4] = ["jiffies", "acpi_pm", "hpet", "refined-jiffies"];

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let clock = clock::source().map_err(|error| format!("{error:#}"));
    let mut findings = of_clock(clock.as_deref().map_err(String::as_str));
    if time_daemon().is_none() {
        findings.push(Finding::warning(
            "no time daemon runs here",
            "install chrony or another: leases need none, but the logs of several nodes cannot be \
             compared without it",
        ));
    }
    for link in config.local_links() {
        findings.extend(of_driver(
            link.interface,
            link.mode,
            driver(link.interface).as_deref(),
        ));
    }
    findings
}

fn of_clock(source: Result<&str, &str>) -> Vec<Finding> {
    let finding = match source {
        Ok(source) if POOR_CLOCKS.contains(&source) => Finding::warning(
            format!("clock source is {source}, which is slow to read or wrong in its rate"),
            "see why the kernel does not use tsc (`dmesg | grep -i tsc`); under a hypervisor, use \
             its own clock (kvm-clock, hyperv_clocksource_tsc_page)",
        ),
        Ok(_) => return Vec::new(),
        Err(error) => Finding::warning(format!("clock source is not known: {error}"), ""),
    };
    vec![finding]
}

fn of_driver(interface: &str, mode: XdpMode, driver: Option<&str>) -> Option<Finding> {
    (driver == Some("veth") && mode != XdpMode::Skb).then(|| {
        Finding::warning(
            format!("interface {interface} is a veth device with native XDP"),
            "its other end must run an XDP program, too, or it drops the answers: attach one that \
             passes everything, or set mode = \"skb\" in [[link]]",
        )
    })
}

/// The neighbours that the kernel asked for by ARP, and whether they answered.
pub(super) fn neighbours() -> BTreeMap<IpAddr, bool> {
    parse_neighbours(&fs::read_to_string("/proc/net/arp").unwrap_or_default())
}

/// Reads the table of proc_net(5): an entry with the flag 2 is complete.
fn parse_neighbours(table: &str) -> BTreeMap<IpAddr, bool> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        let flags = words.nth(1)?.trim_start_matches("0x");
        let flags = u32::from_str_radix(flags, 16).ok()?;
        Some((address, flags & 2 != 0))
    };
    table.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poor_clock_is_a_warning_and_a_good_one_is_none() {
        assert!(of_clock(Ok("tsc")).is_empty());
        assert!(of_clock(Ok("kvm-clock")).is_empty());
        let [poor] = &of_clock(Ok("acpi_pm"))[..] else {
            panic!("no finding");
        };
        assert!(poor.what.contains("acpi_pm"), "{poor:?}");
        assert_eq!(of_clock(Err("no such file")).len(), 1);
    }

    #[test]
    fn veth_with_native_programs_needs_a_program_at_its_other_end() {
        let found = of_driver("eth0", XdpMode::Auto, Some("veth"));
        assert!(found.is_some_and(|found| found.remedy.contains("mode = \"skb\"")));
        assert!(of_driver("eth0", XdpMode::Skb, Some("veth")).is_none());
        assert!(of_driver("eth0", XdpMode::Auto, Some("virtio_net")).is_none());
        assert!(of_driver("eth0", XdpMode::Auto, None).is_none());
    }

    #[test]
    fn table_of_neighbours_says_which_answered() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
10.0.0.2         0x1         0x2         02:00:00:00:00:02     *        eth0
10.0.0.3         0x1         0x0         00:00:00:00:00:00     *        eth0
garbage
";
        let expected = BTreeMap::from([
            ("10.0.0.2".parse().unwrap(), true),
            ("10.0.0.3".parse().unwrap(), false),
        ]);
        assert_eq!(parse_neighbours(table), expected);
    }
}
