//! The length of the run queue: the load of a kernel without pressure stall information.
//!
//! 1,000 per mille is two runnable tasks per processor: each task then gets half of what it could
//! use. 500 per mille is one per processor: all processors are busy and no task waits. The figure
//! excludes memory and disks.

use std::{fs, io};

const LOADAVG: &str = "/proc/loadavg";
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Returns the present length per mille.
pub(super) fn sample() -> io::Result<u16> {
    let unknown = |file: &str| {
        let message = format!("{file} is in an unknown format");
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    let runnable = runnable(&fs::read_to_string(LOADAVG)?).ok_or_else(|| unknown(LOADAVG))?;
    let processors = match fs::read_to_string(ONLINE) {
        Ok(list) => processors(&list).ok_or_else(|| unknown(ONLINE))?,
        // Without sysfs the processors that this process may use are counted.
        Err(_) => {
            let usable = std::thread::available_parallelism()?.get();
            u32::try_from(usable).unwrap_or(u32::MAX)
        }
    };
    // This thread is running itself, so it does not count.
    Ok(per_mille(runnable.saturating_sub(1), processors))
}

fn per_mille(runnable: u32, processors: u32) -> u16 {
    let full = 2 * u64::from(processors.max(1));
    let load = (u64::from(runnable) * 1_000 / full).min(1_000);
    u16::try_from(load).unwrap_or(1_000)
}

/// Parses `0.20 0.18 0.12 1/80 11206`: one of 80 tasks is runnable (proc_loadavg(5)).
fn runnable(text: &str) -> Option<u32> {
    let tasks = text.split_ascii_whitespace().nth(3)?;
    tasks.split_once('/')?.0.parse().ok()
}

/// Counts the processors of a list like `0-3,8`.
fn processors(list: &str) -> Option<u32> {
    let mut count = 0_u32;
    for range in list.trim_end().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runnable_tasks_are_in_the_fourth_field() {
        assert_eq!(runnable("2.21 2.22 1.80 3/107 9491\n"), Some(3));
        assert_eq!(runnable("0.00 0.01 0.05 0/1024 1\n"), Some(0));
        for text in ["", "1 2 3", "1 2 3 4 5", "1 2 3 x/4 5", "1 2 3 -1/4 5"] {
            assert_eq!(runnable(text), None, "{text}");
        }
    }

    #[test]
    fn lists_of_processors_are_counted() {
        for (list, count) in [("0\n", 1), ("0-1\n", 2), ("0-3,8,10-11\n", 7)] {
            assert_eq!(processors(list), Some(count), "{list}");
        }
        for list in ["", "\n", "a", "3-1", "0-", "0-4294967295"] {
            assert_eq!(processors(list), None, "{list}");
        }
    }

    #[test]
    fn load_is_full_at_two_tasks_per_processor() {
        for (runnable, processors, load) in [
            (0, 4, 0),
            (1, 4, 125),
            (4, 4, 500),
            (8, 4, 1_000),
            (9, 4, 1_000),
            (u32::MAX, 1, 1_000),
            (1, 0, 500),
        ] {
            assert_eq!(per_mille(runnable, processors), load);
        }
    }

    #[test]
    fn this_host_has_a_run_queue() {
        assert!(sample().unwrap() <= 1_000);
    }

    proptest! {
        #[test]
        fn load_grows_with_runnable_tasks(
            tasks in 0_u32..5_000,
            more in 0_u32..5_000,
            processors in 0_u32..600,
        ) {
            prop_assert!(per_mille(tasks, processors) <= per_mille(tasks + more, processors));
        }
    }
}
