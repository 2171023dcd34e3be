//! libFuzzer's report of a run.

use std::{collections::VecDeque, fmt, process::ExitStatus};

/// Number of a target's last lines that are kept.
const LINES: usize = 60;

#[derive(Debug, Default)]
pub(super) struct FuzzReport {
    /// Edges and features that the first inputs reached, those of earlier runs among them.
    first: Option<Coverage>,
    /// Edges and features that all inputs reached.
    all: Option<Coverage>,
    executed: u64,
    seconds: u64,
    /// The input that made the target fail.
    pub(super) artifact: Option<String>,
    status: Option<ExitStatus>,
    said: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Coverage {
    edges: u64,
    inputs: u64,
}

impl FuzzReport {
    /// Reads a line.
    pub(super) fn read(&mut self, line: &str) {
        if let Some((word, coverage)) = coverage(line) {
            if word == "INITED" {
                self.first = Some(coverage);
            }
            self.all = Some(coverage);
        } else if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.artifact = Some(path.to_owned());
        } else if let Some(executed) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executed = executed.trim().parse().unwrap_or(0);
        } else if let Some(seconds) = line
            .strip_prefix("Done ")
            .and_then(|rest| rest.split_once(" runs in ")?.1.split(' ').next())
        {
            self.seconds = seconds.parse().unwrap_or(0);
        }
        if self.said.len() == LINES {
            self.said.pop_front();
        }
        self.said.push_back(line.to_owned());
    }

    pub(super) fn end(&mut self, status: ExitStatus) {
        self.status = Some(status);
    }

    pub(super) fn failed(&self) -> bool {
        !self.status.is_some_and(|status| status.success())
    }

    pub(super) fn last_words(&self) -> String {
        Vec::from_iter(self.said.iter().map(String::as_str)).join("\n")
    }
}

impl fmt::Display for FuzzReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failed() {
            write!(f, "FAILED")?;
            if let Some(status) = self.status {
                write!(f, " ({status})")?;
            }
            return match &self.artifact {
                Some(artifact) => write!(f, " by the input {artifact}"),
                None => write!(f, ", and left no input"),
            };
        }
        let rate = self.executed / self.seconds.max(1);
        write!(
            f,
            "nothing found by {} inputs, {rate} a second",
            self.executed
        )?;
        if let (Some(first), Some(all)) = (self.first, self.all) {
            write!(
                f,
                "; {} edges covered, {} of them by what was there before; {} inputs kept",
                all.edges, first.edges, all.inputs
            )?;
        }
        Ok(())
    }
}

/// The word and the coverage in a line like `#42 NEW cov: 51 ft: 81 corp: 21/2574b …`.
fn coverage(line: &str) -> Option<(&str, Coverage)> {
    let mut words = line.strip_prefix('#')?.split_whitespace();
    let word = words.nth(1)?;
    let mut number = |name: &str| {
        words.find(|word| *word == name)?;
        words.next()?.split('/').next()?.parse().ok()
    };
    let (edges, inputs) = (number("cov:")?, number("corp:")?);
    Some((word, Coverage { edges, inputs }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn report(lines: &[&str], status: i32) -> FuzzReport {
        let mut report = FuzzReport::default();
        for line in lines {
            report.read(line);
        }
        report.end(ExitStatus::from_raw(status));
        report
    }

    #[test]
    fn good_run_is_told_by_its_figures() {
        let said = report(
            &[
                "INFO: seed corpus: files: 8",
                "#9\tINITED cov: 2100 ft: 2300 corp: 8/12Kb exec/s: 0 rss: 50Mb",
                "#4096\tNEW    cov: 2101 ft: 2302 corp: 9/12Kb lim: 4096 exec/s: 2000 rss: 61Mb L: \
                 4/9 MS: 1",
                "#40000\tDONE   cov: 2101 ft: 2302 corp: 9/12Kb lim: 4096 exec/s: 2000 rss: 61Mb",
                "Done 40000 runs in 20 second(s)",
                "stat::number_of_executed_units: 40000",
            ],
            0,
        );
        assert_eq!(
            said.to_string(),
            "nothing found by 40000 inputs, 2000 a second; 2101 edges covered, 2100 of them by \
             what was there before; 9 inputs kept"
        );
    }

    #[test]
    fn find_names_its_input() {
        let said = report(
            &["artifact_prefix='/t/'; Test unit written to /t/crash-0a"],
            77 << 8,
        );
        assert!(said.failed());
        assert_eq!(
            said.to_string(),
            "FAILED (exit status: 77) by the input /t/crash-0a"
        );
        let killed = report(&["#9\tINITED cov: 1 ft: 1 corp: 1/1b"], 9);
        assert!(killed.to_string().ends_with("left no input"), "{killed}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let lines: Vec<String> = (0..1_000).map(|line| line.to_string()).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let words = report(&lines, 1 << 8).last_words();
        assert_eq!(words.lines().count(), LINES);
        assert!(words.ends_with("999"), "{words}");
    }
}
