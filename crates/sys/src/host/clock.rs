//! The clock of the agent, and the wall clock.

use std::{
    fs,
    io::ErrorKind,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use nix::time::{ClockId, clock_gettime};

/// The offsets of a time namespace's clocks from the kernel's, time_namespaces(7).
const OFFSETS: &str = "/proc/self/timens_offsets";

/// The file with the name of the kernel's clock source.
const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// `CLOCK_BOOTTIME`, which the kernel programs use for their stamps.
pub fn now() -> Boottime {
    match clock_gettime(ClockId::CLOCK_BOOTTIME) {
        Ok(time) => {
            let nanos = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
            Boottime::from_nanos(nanos)
        }
        // The clock exists since Linux 2.6.39, and the kernel programs need a far later version.
        Err(error) => unreachable!("CLOCK_BOOTTIME cannot be read: {error}"),
    }
}

/// Nanoseconds since 1970 by the wall clock, which may be set at any time, forwards and back. Use
/// this only for people to read, and as the start of numbers that must grow. A caller with such a
/// number also keeps its last value.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where everybody else has it from"
)]
pub fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Returns the name of the kernel's clock source: `tsc`, `kvm-clock`, `hpet`, ...
pub fn source() -> Result<String> {
    let text = fs::read_to_string(SOURCE).context(SOURCE)?;
    Ok(text.trim().to_owned())
}

/// Fails where [`now`] differs from the clock of the kernel programs: in a time namespace with an
/// offset.
pub fn must_have_no_offset() -> Result<()> {
    let offsets = match fs::read_to_string(OFFSETS) {
        Ok(offsets) => offsets,
        // The kernel has no time namespaces.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("could not read {OFFSETS}")),
    };
    let offset = boottime_offset(&offsets)
        .with_context(|| format!("{OFFSETS} is not understood: {offsets}"))?;
    ensure!(
        offset == (0, 0),
        "this process is in a time namespace whose CLOCK_BOOTTIME is {} s off that of the kernel, \
        which counts leases by its own ({OFFSETS}): run it outside, or in one without an offset",
        offset.0
    );
    Ok(())
}

/// Seconds and nanoseconds of the offset.
fn boottime_offset(offsets: &str) -> Option<(i64, i64)> {
    offsets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let clock = words.next()?;
        let number = |word: Option<&str>| word?.parse().ok();
        let offset = (number(words.next())?, number(words.next())?);
        (clock == "boottime").then_some(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_of_the_one_clock_counts() {
        let of = |boottime: &str| format!("monotonic           5         6\n{boottime}\n");
        assert_eq!(
            boottime_offset(&of("boottime            0         0")),
            Some((0, 0))
        );
        assert_eq!(
            boottime_offset(&of("boottime       -86400        17")),
            Some((-86_400, 17))
        );
        assert_eq!(boottime_offset(&of("boottime")), None);
        assert_eq!(boottime_offset(""), None);
    }

    #[test]
    fn this_process_has_the_kernel_s_clock() {
        must_have_no_offset().unwrap();
    }
}
