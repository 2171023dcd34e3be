//! The results as a table, and the survivors.

use std::fmt::Write as _;

use super::{
    accepted::AcceptedList,
    mutant::Mutant,
    store::{Outcome, Results},
};

/// The counts of one file, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Mutants that a test catches. A mutant whose tests do not end counts, too.
    pub caught: usize,
    /// Mutants that were run and compile.
    pub viable: usize,
    /// Survivors in the list of accepted ones.
    pub accepted: usize,
    /// Mutants without a result.
    pub left: usize,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.caught += other.caught;
        self.viable += other.viable;
        self.accepted += other.accepted;
        self.left += other.left;
    }

    /// The caught share of the viable mutants, in tenths of a percent, rounded down.
    fn score(self) -> Option<usize> {
        (self.caught * 1000).checked_div(self.viable)
    }
}

/// The judgement of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub counts: Counts,
    /// The names of the survivors that are not accepted.
    pub survivors: Vec<String>,
    /// The names of the accepted mutants that a test catches.
    pub needless: Vec<String>,
}

/// Judges the mutants of one file by its results. `line` returns the text of a line of the file.
pub(super) fn judge<'a>(
    mutants: impl IntoIterator<Item = &'a Mutant>,
    results: &Results,
    accepted: &AcceptedList,
    line: impl Fn(usize) -> &'a str,
) -> Judged {
    let mut judged = Judged::default();
    for mutant in mutants {
        let is_accepted = accepted.has(mutant, line(mutant.line));
        let counts = &mut judged.counts;
        match results
            .records
            .get(&mutant.name)
            .map(|record| record.outcome)
        {
            None => counts.left += 1,
            Some(Outcome::Unviable) => {}
            Some(Outcome::Caught | Outcome::Timeout) => {
                counts.caught += 1;
                counts.viable += 1;
                if is_accepted {
                    judged.needless.push(mutant.name.clone());
                }
            }
            Some(Outcome::Missed) if is_accepted => {
                counts.accepted += 1;
                counts.viable += 1;
            }
            Some(Outcome::Missed) => {
                counts.viable += 1;
                judged.survivors.push(mutant.name.clone());
            }
        }
    }
    judged
}

/// The table of all files, with their sum.
pub(super) fn table(files: &[(String, Counts)]) -> String {
    let mut sum = Counts::default();
    for (_, counts) in files {
        sum.add(*counts);
    }
    let names = files.iter().map(|(name, _)| name.len());
    let width = names.max().unwrap_or_default().max("file".len());
    let mut table = format!(
        "{:width$}  caught  viable   score  accepted  not run\n",
        "file"
    );
    let all = ("all".to_owned(), sum);
    for (name, counts) in files.iter().chain([&all]) {
        let score = counts.score().map_or_else(
            || "-".to_owned(),
            |score| format!("{}.{} %", score / 10, score % 10),
        );
        let Counts {
            caught,
            viable,
            accepted,
            left,
        } = counts;
        let _ = writeln!(
            table,
            "{name:width$}  {caught:6}  {viable:6}  {score:>7} {accepted:9}  {left:7}"
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::{
        crates::Stage,
        store::{Digest, Record},
    };

    fn mutant(line: usize) -> Mutant {
        Mutant {
            name: format!("a.rs:{line}:1: delete !"),
            file: "a.rs".into(),
            line,
            change: "delete !".into(),
        }
    }

    fn accepted() -> AcceptedList {
        let text = r#"
            [[accepted]]
            file = "a.rs"
            change = "delete !"
            line = "same"
            reason = "it is the same"
        "#;
        AcceptedList::read(text).unwrap()
    }

    #[test]
    fn each_result_is_counted_once() {
        let tests = Digest::of([]);
        let mut results = Results::new(tests);
        for (line, outcome) in [
            (1, Outcome::Caught),
            (2, Outcome::Timeout),
            (3, Outcome::Unviable),
            (4, Outcome::Missed),
            (5, Outcome::Missed),
            (6, Outcome::Caught),
        ] {
            let record = Record {
                outcome,
                stage: Stage::Fast,
                tests,
            };
            results.add(mutant(line).name, record);
        }
        let mutants: Vec<Mutant> = (1..=7).map(mutant).collect();
        let line = |line| {
            if line == 5 || line == 6 {
                " same"
            } else {
                "other"
            }
        };
        let judged = judge(&mutants, &results, &accepted(), line);
        let expected = Judged {
            counts: Counts {
                caught: 3,
                viable: 5,
                accepted: 1,
                left: 1,
            },
            survivors: vec![mutant(4).name],
            needless: vec![mutant(6).name],
        };
        assert_eq!(judged, expected);
    }

    #[test]
    fn table_has_a_row_for_each_file_and_their_sum() {
        let counts = Counts {
            caught: 2,
            viable: 3,
            accepted: 1,
            left: 0,
        };
        let none = Counts {
            left: 4,
            ..Counts::default()
        };
        let table = table(&[("a/b.rs".into(), counts), ("c.rs".into(), none)]);
        let expected = [
            "file    caught  viable   score  accepted  not run",
            "a/b.rs       2       3   66.6 %         1        0",
            "c.rs         0       0        -         0        4",
            "all          2       3   66.6 %         1        4",
        ];
        assert_eq!(table.lines().collect::<Vec<_>>(), expected);
    }
}
