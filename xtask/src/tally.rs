//! The results of test programs: numbers of passed and failed tests, and the skipped tests.
//!
//! libtest has no way to skip a test at run time. A test that cannot run here prints a line of its
//! own to standard error, `SKIP test name: reason`, and returns. It uses
//! `writeln!(std::io::stderr(), …)`, since libtest holds back the output of `println!` and
//! `eprintln!` in a passing test.

use std::ops::AddAssign;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub passed: u64,
    pub failed: u64,
    /// The skipped tests among the passed ones; each with its reason.
    pub skipped: Vec<String>,
}

impl Tally {
    /// Counts one line of output.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some((passed, failed)) = parse_result(line) {
            self.passed += passed;
            self.failed += failed;
        } else if let Some(reason) = parse_skip(line) {
            self.skipped.push(reason.to_owned());
        }
    }

    /// Counts skipped tests as failed.
    pub(crate) fn fail_skipped(&mut self) {
        let skipped = self.skipped.len() as u64;
        self.passed = self.passed.saturating_sub(skipped);
        self.failed += skipped;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
    }
}

/// The numbers of passed and failed tests in `test result: ok. 3 passed; 0 failed; …`.
fn parse_result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    let count = |name: &str| {
        let part = counts
            .split("; ")
            .find_map(|part| part.strip_suffix(name))?;
        part.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

fn parse_skip(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("SKIP")?;
    // The line only begins with the same letters.
    if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    Some(rest.trim_start_matches([':', ' ']).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn results_of_several_programs_add_up() {
        let output = "\nrunning 3 tests\ntest a ... ok\ntest b ... FAILED\n\n\
            test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; \
            finished in 0.01s\n\n\
            test result: ok. 40 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
            finished in 1.00s\n";
        assert_eq!(
            tally(output),
            Tally {
                passed: 42,
                failed: 1,
                skipped: vec![]
            }
        );
    }

    #[test]
    fn skips_are_lines_that_begin_so() {
        let output = "SKIP vlan: this kernel has no 802.1Q\nSKIP\n  SKIP inside\nSKIPPED it\n\
            the word SKIP\nSKIP: no scapy \n";
        let skipped = ["vlan: this kernel has no 802.1Q", "", "no scapy"];
        assert_eq!(tally(output).skipped, skipped);
    }

    #[test]
    fn failing_skips_moves_them() {
        let mut tally = Tally {
            passed: 5,
            failed: 1,
            skipped: vec!["a".into(), "b".into()],
        };
        tally.fail_skipped();
        assert_eq!((tally.passed, tally.failed), (3, 3));
    }

    #[test]
    fn other_lines_count_for_nothing() {
        let output = "test result: who knows\ntest result: ok. many passed; 0 failed\n3 passed\n";
        assert_eq!(tally(output), Tally::default());
    }
}
