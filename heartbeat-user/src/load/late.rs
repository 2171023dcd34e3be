//! Explains why this node was late: the kernel's figures for the last second before a local stall.

use std::{
    fmt, fs, io,
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;

use super::{pressure, samples::Samples};

const STAT: &str = "/proc/stat";
/// Time from one sample to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// The kernel's unit of times for programs: 1/USER_HZ, which is 100 on all our platforms
/// (asm-generic/param.h).
const TICK: Duration = Duration::from_millis(10);

/// Steal below this delays nothing: two ticks, since one may be rounding.
const LITTLE_STEAL: Duration = Duration::from_millis(20);
/// Pressure per mille below this is no crowd: tasks waited in less than a tenth of the time.
const LITTLE_PRESSURE: u16 = 100;
/// Time that a busy kernel may take to wake a thread.
const LITTLE_LATE: Duration = Duration::from_millis(1);

/// The host's figures between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The time between the two.
    pub over: Duration,
    /// Time in which the hypervisor ran others while a processor of ours wanted to run: the sum of
    /// all processors, in steps of 10 ms.
    pub steal: Duration,
    /// Share of the time in which some task waited for a processor, per mille. `None` if the kernel
    /// has no pressure stall information.
    pub cpu: Option<u16>,
}

/// Lateness of the pulse since the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Greatest delay of its timer.
    pub worst: Duration,
    /// Number of missed ticks.
    pub missed: u64,
}

/// The probable reason of a stall, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    host: Host,
    pulse: Pulse,
}

/// Explains a local stall by the figures of the last second.
pub const fn explain(host: Host, pulse: Pulse) -> Explanation {
    Explanation { host, pulse }
}

impl Explanation {
    /// Whether no figure explains the stall.
    pub fn is_unknown(&self) -> bool {
        self.causes().is_empty()
    }

    /// Returns the causes: first those beyond this host's control, last the mere symptoms.
    fn causes(&self) -> Vec<String> {
        let Self { host, pulse } = self;
        let mut causes = Vec::new();
        if host.steal >= LITTLE_STEAL {
            let stolen = host.steal.as_millis();
            let over = match host.over.as_millis() {
                // The usual interval.
                900..1_100 => "second".to_owned(),
                over => format!("{over} ms"),
            };
            causes.push(format!(
                "the hypervisor took {stolen} ms of the last {over} (steal)"
            ));
        }
        if let Some(cpu) = host.cpu.filter(|cpu| *cpu >= LITTLE_PRESSURE) {
            causes.push(format!("CPU pressure {} %", cpu / 10));
        }
        if pulse.worst >= LITTLE_LATE {
            let late = pulse.worst.as_millis();
            causes.push(format!("the timer fired {late} ms late"));
        }
        match pulse.missed {
            0 => {}
            1 => causes.push("one tick was missed".to_owned()),
            missed => causes.push(format!("{missed} ticks were missed")),
        }
        causes
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes = self.causes();
        if causes.is_empty() {
            f.write_str("unknown")
        } else {
            f.write_str(&causes.join(", "))
        }
    }
}

/// Samples the host once a second.
#[derive(Debug)]
pub struct Watch {
    samples: Samples<io::Result<Counters>>,
    last: Option<Counters>,
}

impl Watch {
    /// Must be called inside a tokio runtime.
    pub fn new() -> Self {
        Self {
            samples: Samples::each(INTERVAL),
            last: None,
        }
    }

    /// Returns the host's figures since the last sample, one second later. The first sample has no
    /// predecessor and gives no figures, and neither does one that fails.
    ///
    /// Cancel-safe: a sample under way continues, and the next call returns it.
    pub async fn next(&mut self) -> Host {
        let counters = self.samples.next(|| spawn_blocking(Counters::read)).await;
        let Ok(Ok(counters)) = counters else {
            self.last = None;
            return Host::default();
        };
        let last = self.last.replace(counters);
        last.map_or_else(Host::default, |last| counters.since(&last))
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

/// The kernel's counters since boot.
#[derive(Clone, Copy, Debug)]
struct Counters {
    at: Instant,
    steal: Duration,
    /// Time in which some task waited for a processor.
    waited: Option<Duration>,
}

impl Counters {
    fn read() -> io::Result<Self> {
        let stat = fs::read_to_string(STAT)?;
        Ok(Self {
            at: Instant::now(),
            steal: steal(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?,
            waited: pressure::of_processors().ok().map(|cpu| cpu.total),
        })
    }

    fn since(&self, last: &Self) -> Host {
        let over = self.at.saturating_duration_since(last.at);
        let waited = self.waited.zip(last.waited);
        Host {
            over,
            // The counter may go back, for example when a guest moves to another host.
            steal: self.steal.saturating_sub(last.steal),
            cpu: waited.map(|(now, then)| per_mille(now.saturating_sub(then), over)),
        }
    }
}

fn per_mille(part: Duration, whole: Duration) -> u16 {
    let per_mille = part.as_micros() * 1_000 / whole.as_micros().max(1);
    u16::try_from(per_mille.min(1_000)).unwrap_or(1_000)
}

/// Parses the eighth time of all processors: `cpu  user nice system idle iowait irq softirq steal
/// …` (proc_stat(5)).
fn steal(stat: &str) -> Option<Duration> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: u64 = all.split_ascii_whitespace().nth(7)?.parse().ok()?;
    Some(Duration::from_millis(
        ticks.saturating_mul(TICK.as_millis() as u64),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn said(steal: u32, cpu: Option<u16>, late: u32, missed: u64) -> String {
        let host = Host {
            over: SECOND,
            steal: steal * MS,
            cpu,
        };
        let pulse = Pulse {
            worst: late * MS,
            missed,
        };
        let explanation = explain(host, pulse);
        assert_eq!(
            explanation.is_unknown(),
            explanation.to_string() == "unknown"
        );
        explanation.to_string()
    }

    #[test]
    fn unusual_figures_explain_a_stall() {
        assert_eq!(
            said(80, Some(9), 0, 0),
            "the hypervisor took 80 ms of the last second (steal)"
        );
        assert_eq!(said(0, Some(725), 0, 0), "CPU pressure 72 %");
        assert_eq!(said(0, None, 41, 0), "the timer fired 41 ms late");
        assert_eq!(said(0, None, 0, 1), "one tick was missed");
        assert_eq!(
            said(80, Some(725), 41, 4),
            "the hypervisor took 80 ms of the last second (steal), CPU pressure 72 %, the timer \
             fired 41 ms late, 4 ticks were missed"
        );
    }

    #[test]
    fn ordinary_figures_explain_nothing() {
        for said in [
            said(0, None, 0, 0),
            said(10, Some(99), 0, 0),
            explain(Host::default(), Pulse::default()).to_string(),
        ] {
            assert_eq!(said, "unknown");
        }
    }

    #[test]
    fn late_sample_has_its_real_duration() {
        let host = Host {
            over: 2_500 * MS,
            steal: 2_400 * MS,
            cpu: None,
        };
        assert_eq!(
            explain(host, Pulse::default()).to_string(),
            "the hypervisor took 2400 ms of the last 2500 ms (steal)"
        );
    }

    #[test]
    fn steal_is_the_eighth_time_of_all_processors() {
        let stat = "cpu  976890 593202 340438 2345342 9109 0 12189 11207 0 0\n\
                    cpu0 1 2 3 4 5 6 7 8 9 10\nintr 1 2\n";
        assert_eq!(steal(stat), Some(112_070 * MS));
        // Before 2.6.11 there was no steal.
        for text in [
            "",
            "cpu  1 2 3 4 5 6 7\n",
            "cpu0 1 2 3 4 5 6 7 8\n",
            "cpu  a b c d e f g h\n",
        ] {
            assert_eq!(steal(text), None, "{text}");
        }
    }

    #[test]
    fn host_figures_are_the_difference_of_two_samples() {
        let at = Instant::now();
        let last = Counters {
            at,
            steal: 500 * MS,
            waited: Some(SECOND),
        };
        let now = Counters {
            at: at + SECOND,
            steal: 580 * MS,
            waited: Some(1_250 * MS),
        };
        let host = Host {
            over: SECOND,
            steal: 80 * MS,
            cpu: Some(250),
        };
        assert_eq!(now.since(&last), host);
        // A counter that goes back gives no figure.
        let back = last.since(&now);
        assert_eq!((back.steal, back.cpu), (Duration::ZERO, Some(0)));
    }

    #[tokio::test]
    async fn this_host_can_be_watched() {
        let mut watch = Watch::new();
        watch.samples = Samples::each(50 * MS);
        assert_eq!(watch.next().await, Host::default());
        // A dropped sample continues.
        assert!(tokio::time::timeout(MS, watch.next()).await.is_err());
        let host = watch.next().await;
        assert!(host.cpu.is_none_or(|cpu| cpu <= 1_000), "{host:?}");
        assert!(!host.over.is_zero());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(cpu )?(?s).{0,100}") {
            steal(&text);
        }

        #[test]
        fn differences_stay_within_the_scale(part in any::<u32>(), whole in any::<u32>()) {
            let micros = |count: u32| count * Duration::from_micros(1);
            prop_assert!(per_mille(micros(part), micros(whole)) <= 1_000);
        }
    }
}
