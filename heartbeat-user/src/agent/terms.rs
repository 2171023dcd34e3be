//! The longest lease that this node's acceptor may have granted. A shorter `max_lease` must respect
//! such leases.
//!
//! An acceptor that has lost its votes abstains for `max_lease`, after which all granted leases
//! have ended. This fails if `max_lease` was longer before: a lease for a restart has the old
//! length. The length is therefore on disk, and a shorter one is refused until no longer lease can
//! be alive.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use heartbeat_common::time::Boottime;
use heartbeat_sys::files::atomic_file;
use serde::{Deserialize, Serialize};

use crate::{
    clock,
    config::Config,
    dataplane::{Pins, longest_grant},
};

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Leases of this length may have been granted.
    longest_ns: u64,
    /// The host's boot id to which `until_ns` belongs.
    boot: String,
    /// The end of the last such lease, by the host's boot time; absent while such leases are
    /// granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ns: Option<u64>,
}

/// The present time, and the host's boot id.
#[derive(Clone, Debug)]
struct BootInstant {
    now: Boottime,
    boot: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// Longer leases may be alive until then.
    RefusedUntil(Boottime),
}

/// Refuses a `max_lease` that is shorter than leases which this node's acceptor granted and which
/// may still be alive. Records the length that may be granted from now on.
pub(super) fn check(config: &Config) -> Result<()> {
    let path = config.state_dir().join("max_lease.json");
    let kept = read(&path)?;
    let present = BootInstant {
        now: clock::now(),
        boot: boot()?,
    };
    let pinned = longest_grant(&Pins::of(&config.instance));
    let (new, verdict) = judge(kept.clone(), config.max_lease, pinned, &present);
    if kept.as_ref() != Some(&new)
        && let Err(error) = write(&path, &new)
    {
        log::warn!("{error:#}: a shorter max_lease must not follow before this is mended");
    }
    match verdict {
        Verdict::Accepted => Ok(()),
        Verdict::RefusedUntil(until) => {
            let left = until.since(present.now);
            let at = Duration::from_nanos(clock::wall()) + left;
            let at = std::time::UNIX_EPOCH + at;
            bail!(
                "max_lease {} ms is shorter than before, and leases of {} ms that this node \
                 granted may still live\n  it is accepted in {} ms, from {} on: start the agent \
                 then",
                config.max_lease.as_millis(),
                Duration::from_nanos(new.longest_ns).as_millis(),
                left.as_millis().max(1),
                humantime::format_rfc3339_millis(at)
            )
        }
    }
}

/// Returns the new contents of the file, and the verdict on `wanted`.
///
/// `pinned` is the end of the last lease in the pinned slots of an earlier agent, if there are any.
fn judge(
    kept: Option<Kept>,
    wanted: Duration,
    pinned: Option<Boottime>,
    present: &BootInstant,
) -> (Kept, Verdict) {
    let BootInstant { now, boot } = present;
    let wanted_ns = u64::try_from(wanted.as_nanos()).unwrap_or(u64::MAX);
    let fresh = Kept {
        longest_ns: wanted_ns,
        boot: boot.clone(),
        until_ns: None,
    };
    let Some(kept) = kept.filter(|kept| kept.longest_ns > wanted_ns) else {
        return (fresh, Verdict::Accepted);
    };
    let longest = Duration::from_nanos(kept.longest_ns);
    let until = match kept.until_ns {
        // All leases of an earlier boot were granted before the present boot began.
        _ if kept.boot != *boot => Boottime::default().after(longest),
        Some(until) => Boottime::from_nanos(until),
        // The agent that granted them has ended by now, or the present one does not start.
        None => now.after(longest),
    };
    if until <= *now {
        return (fresh, Verdict::Accepted);
    }
    let verdict = match pinned {
        // The acceptor still has these leases. If it loses them, it abstains for longer than they
        // last.
        Some(end) if end <= now.after(wanted) => Verdict::Accepted,
        Some(end) => Verdict::RefusedUntil(end),
        None => Verdict::RefusedUntil(until),
    };
    let kept = Kept {
        boot: boot.clone(),
        until_ns: Some(until.as_nanos()),
        ..kept
    };
    (kept, verdict)
}

fn read(path: &PathBuf) -> Result<Option<Kept>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text)
            .inspect_err(|error| {
                log::warn!(
                    "{} is damaged ({error}) and is written anew: do not shorten max_lease now",
                    path.display()
                );
            })
            .ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
    }
}

fn write(path: &Path, kept: &Kept) -> Result<()> {
    let mut text = serde_json::to_vec(kept)?;
    text.push(b'\n');
    atomic_file::replace(path, &text).with_context(|| format!("could not write {}", path.display()))
}

/// Returns the host's boot id.
fn boot() -> Result<String> {
    const BOOT: &str = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(BOOT).with_context(|| format!("could not read {BOOT}"))?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64, boot: &str) -> BootInstant {
        BootInstant {
            now: Boottime::default().after(SECOND * seconds as u32),
            boot: boot.to_owned(),
        }
    }

    fn seconds(seconds: u64) -> Boottime {
        at(seconds, "").now
    }

    fn kept(longest: u32, until: Option<u64>) -> Kept {
        Kept {
            longest_ns: (SECOND * longest).as_nanos() as u64,
            boot: "one".to_owned(),
            until_ns: until.map(|until| seconds(until).as_nanos()),
        }
    }

    #[test]
    fn longer_and_equal_max_lease_is_accepted_at_once() {
        for before in [None, Some(kept(3, None)), Some(kept(3, Some(900)))] {
            for wanted in [3, 5] {
                let (new, verdict) = judge(before.clone(), SECOND * wanted, None, &at(100, "one"));
                assert_eq!((new, verdict), (kept(wanted, None), Verdict::Accepted));
            }
        }
    }

    #[test]
    fn shorter_max_lease_is_refused_until_the_longest_lease_has_ended() {
        // The acceptor ended at an unknown time before the first attempt.
        let (first, verdict) = judge(Some(kept(3, None)), SECOND, None, &at(100, "one"));
        assert_eq!(verdict, Verdict::RefusedUntil(seconds(103)));
        assert_eq!(first, kept(3, Some(103)));
        // A second attempt does not restart the wait.
        let (second, verdict) = judge(Some(first), SECOND, None, &at(102, "one"));
        assert_eq!(verdict, Verdict::RefusedUntil(seconds(103)));
        let last = judge(Some(second), SECOND, None, &at(103, "one"));
        assert_eq!(last, (kept(1, None), Verdict::Accepted));
    }

    #[test]
    fn wait_of_an_earlier_boot_counts_from_the_start_of_this_one() {
        for before in [kept(3, None), kept(3, Some(9_000))] {
            let (waits, verdict) = judge(Some(before.clone()), SECOND, None, &at(2, "two"));
            assert_eq!(verdict, Verdict::RefusedUntil(seconds(3)));
            assert_eq!(waits.boot, "two");
            let (_, verdict) = judge(Some(before), SECOND, None, &at(3, "two"));
            assert_eq!(verdict, Verdict::Accepted);
        }
    }

    #[test]
    fn acceptor_that_kept_its_votes_is_asked_how_long_they_last() {
        let judged = |end| {
            judge(
                Some(kept(3, None)),
                SECOND,
                Some(seconds(end)),
                &at(100, "one"),
            )
        };
        for short in [0, 100, 101] {
            // A lease that is granted at this very time is not forgotten.
            assert_eq!(judged(short), (kept(3, Some(103)), Verdict::Accepted));
        }
        let (_, verdict) = judged(102);
        assert_eq!(verdict, Verdict::RefusedUntil(seconds(102)));
    }

    #[test]
    fn file_outlives_the_agent_and_a_damaged_one_is_written_anew() {
        let dir = std::env::temp_dir().join(format!("heartbeat-terms-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("max_lease.json");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, &kept(3, Some(5))).unwrap();
        assert_eq!(read(&path).unwrap(), Some(kept(3, Some(5))));
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path).unwrap(), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
