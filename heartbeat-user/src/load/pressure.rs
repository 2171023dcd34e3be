//! Pressure stall information: the share of time in which tasks wait for resources
//! (Documentation/accounting/psi.rst; for a control group, `cpu.pressure` and its siblings in
//! Documentation/admin-guide/cgroup-v2.rst).

use std::{fs, io, path::Path, time::Duration};

/// The directory of the host's files.
pub(super) const HOST: &str = "/proc/pressure";

/// The content of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pressure {
    /// Share of the last 10 s in which some task waited, per mille.
    pub(super) some: u16,
    /// Share of the last 10 s in which all tasks waited, per mille. 0 if the kernel does not report
    /// it: older ones lack it for processors.
    pub(super) full: u16,
    /// Time in which some task waited, since the start of the host or the control group.
    pub(super) total: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pressures {
    pub(super) cpu: Pressure,
    pub(super) memory: Pressure,
    pub(super) io: Pressure,
}

impl Pressures {
    /// Reads the host's pressures.
    pub(super) fn of_host() -> io::Result<Self> {
        Self::read(|what| fs::read_to_string(Path::new(HOST).join(what)))
    }

    /// Reads the pressures of the control group with this directory.
    pub(super) fn of_cgroup(directory: &Path) -> io::Result<Self> {
        Self::read(|what| fs::read_to_string(directory.join(format!("{what}.pressure"))))
    }

    fn read(text: impl Fn(&str) -> io::Result<String>) -> io::Result<Self> {
        let one = |what| {
            let text = text(what)?;
            parse(&text).ok_or_else(|| {
                let message = format!("pressure of {what} in an unknown format");
                io::Error::new(io::ErrorKind::InvalidData, message)
            })
        };
        Ok(Self {
            cpu: one("cpu")?,
            memory: one("memory")?,
            io: one("io")?,
        })
    }

    /// Returns the highest `some`: if one resource is short, the others do not help.
    pub(super) fn highest(&self) -> u16 {
        self.cpu.some.max(self.memory.some).max(self.io.some)
    }
}

/// Reads the pressure of the host's processors.
pub(super) fn of_processors() -> io::Result<Pressure> {
    let text = fs::read_to_string(Path::new(HOST).join("cpu"))?;
    parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Parses `some avg10=0.12 avg60=0.05 avg300=0.00 total=83211`, with the total in microseconds, and
/// the same for `full`. Further fields, which future kernels may add, are ignored.
pub(super) fn parse(text: &str) -> Option<Pressure> {
    let mut pressure = None;
    let mut full = 0;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("some") => pressure = Some(values(words)?),
            Some("full") => full = values(words)?.0,
            _ => {}
        }
    }
    let (some, total) = pressure?;
    Some(Pressure { some, full, total })
}

/// Returns the average of 10 s and the total.
fn values<'a>(words: impl Iterator<Item = &'a str>) -> Option<(u16, Duration)> {
    let (mut average, mut total) = (None, None);
    for word in words {
        match word.split_once('=') {
            Some(("avg10", percent)) => average = Some(per_mille(percent)?),
            Some(("total", micros)) => total = Some(Duration::from_micros(micros.parse().ok()?)),
            _ => {}
        }
    }
    Some((average?, total?))
}

/// Parses a percentage with two decimals.
fn per_mille(percent: &str) -> Option<u16> {
    let percent: f64 = percent.parse().ok()?;
    // `as` saturates, and turns NaN into 0.
    Some((percent * 10.0).round().clamp(0.0, 1_000.0) as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Content from a host with Linux 6.18, and from one with 5.10, which has no `full` for
    /// processors.
    const BUSY: &str = "some avg10=12.95 avg60=15.79 avg300=17.73 total=5522440165\n\
                        full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    const MEMORY: &str = "some avg10=0.38 avg60=0.60 avg300=0.97 total=151755629\n\
                          full avg10=0.24 avg60=0.24 avg300=0.37 total=60842914\n";
    const OLD: &str = "some avg10=100.00 avg60=7.01 avg300=2.00 total=99\n";

    #[test]
    fn pressure_files_of_kernels_are_parsed() {
        let is = |some, full, micros| Pressure {
            some,
            full,
            total: Duration::from_micros(micros),
        };
        assert_eq!(parse(BUSY), Some(is(130, 0, 5_522_440_165)));
        assert_eq!(parse(MEMORY), Some(is(4, 2, 151_755_629)));
        assert_eq!(parse(OLD), Some(is(1_000, 0, 99)));
        let later = format!("{OLD}most avg10=1.00 total=9\n").replace("avg60", "avg30=1.0 avg60");
        assert_eq!(parse(&later), parse(OLD));
    }

    #[test]
    fn foreign_text_is_no_pressure() {
        for text in [
            "",
            "some\n",
            "full avg10=1.00 total=1\n",
            "some avg10=1.00\n",
            "some total=1\n",
            "some avg10=x total=1\n",
            "some avg10=1.00 total=-1\n",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn highest_pressure_counts() {
        let is = |some| Pressure {
            some,
            full: 900,
            ..Pressure::default()
        };
        for (cpu, memory, io) in [(7, 1, 2), (1, 7, 2), (2, 1, 7)] {
            let [cpu, memory, io] = [cpu, memory, io].map(is);
            assert_eq!(Pressures { cpu, memory, io }.highest(), 7);
        }
    }

    #[test]
    fn cgroup_pressure_is_read_from_three_files() {
        let directory = std::env::temp_dir().join(format!("heartbeat-psi-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        for (name, text) in [("cpu", OLD), ("memory", MEMORY)] {
            fs::write(directory.join(format!("{name}.pressure")), text).unwrap();
        }
        assert!(Pressures::of_cgroup(&directory).is_err());
        fs::write(directory.join("io.pressure"), BUSY).unwrap();
        let seen = Pressures::of_cgroup(&directory).unwrap();
        fs::write(directory.join("io.pressure"), "nonsense").unwrap();
        let unknown = Pressures::of_cgroup(&directory).unwrap_err().to_string();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(
            (seen.cpu.some, seen.memory.some, seen.io.some),
            (1_000, 4, 130)
        );
        assert_eq!(unknown, "pressure of io in an unknown format");
    }

    proptest! {
        #[test]
        fn parsed_pressure_stays_within_the_scale(text in "(some|full) avg10=[0-9.e-]{1,9} \
            total=[0-9]{1,20}") {
            if let Some(pressure) = parse(&text) {
                prop_assert!(pressure.some <= 1_000 && pressure.full <= 1_000);
            }
        }

        #[test]
        fn no_text_panics(text in "(?s).{0,100}") {
            parse(&text);
        }
    }
}
