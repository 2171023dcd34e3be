//! The results so far, below the target directory: a file for each mutated source.
//!
//! A result holds while the source is the same. A change of the tests makes it old: the mutant is
//! run again, unless only the survivors are asked for.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs,
    hash::{DefaultHasher, Hasher as _},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::crates::Stage;

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A test failed.
    Caught,
    /// The tests did not end.
    Timeout,
    /// All tests passed.
    Missed,
    /// The mutant does not compile.
    Unviable,
}

impl Outcome {
    /// Each outcome, and the file of cargo-mutants that lists its mutants.
    pub(super) const FILES: [(Self, &'static str); 4] = [
        (Self::Caught, "caught.txt"),
        (Self::Timeout, "timeout.txt"),
        (Self::Missed, "missed.txt"),
        (Self::Unviable, "unviable.txt"),
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Timeout => "timeout",
            Self::Missed => "missed",
            Self::Unviable => "unviable",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let mut all = Self::FILES.into_iter().map(|(outcome, _)| outcome);
        all.find(|outcome| outcome.word() == word)
    }
}

/// The digest of a text. Equal texts have equal digests in one build of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn of<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = DefaultHasher::new();
        for text in texts {
            hasher.write_usize(text.len());
            hasher.write(text);
        }
        Self(hasher.finish())
    }

    fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The result of one mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub outcome: Outcome,
    pub stage: Stage,
    /// The digest of the tests that judged it.
    pub tests: Digest,
}

/// The results of the mutants of one source, by their names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Results {
    /// The digest of the source.
    pub source: Digest,
    pub records: BTreeMap<String, Record>,
}

impl Results {
    pub(super) fn new(source: Digest) -> Self {
        let records = BTreeMap::new();
        Self { source, records }
    }

    /// Adds the result of a mutant, in the place of an older one.
    pub(super) fn add(&mut self, name: String, record: Record) {
        self.records.insert(name, record);
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n')?;
        let mut results = Self::new(Digest::parse(first.strip_prefix("source ")?)?);
        for line in rest.lines() {
            let mut words = line.splitn(4, ' ');
            let record = Record {
                outcome: Outcome::parse(words.next()?)?,
                stage: stage_of(words.next()?)?,
                tests: Digest::parse(words.next()?)?,
            };
            results.add(words.next()?.to_owned(), record);
        }
        Some(results)
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "source {}", self.source)?;
        for (name, record) in &self.records {
            let (outcome, stage) = (record.outcome.word(), word_of(record.stage));
            writeln!(f, "{outcome} {stage} {} {name}", record.tests)?;
        }
        Ok(())
    }
}

fn word_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Fast => "fast",
        Stage::Thorough => "thorough",
    }
}

fn stage_of(word: &str) -> Option<Stage> {
    let mut all = [Stage::Fast, Stage::Thorough].into_iter();
    all.find(|stage| word_of(*stage) == word)
}

/// The directory of the results.
#[derive(Debug)]
pub(super) struct Store(pub PathBuf);

impl Store {
    /// The results of `file`, whose text has the digest `source`: none if they are of another text.
    pub(super) fn read(&self, file: &Path, source: Digest) -> Result<Results> {
        let path = self.path(file);
        let old = match fs::read_to_string(&path) {
            Ok(text) => Results::parse(&text).filter(|old| old.source == source),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| format!("could not read {}", path.display()));
            }
        };
        Ok(old.unwrap_or_else(|| Results::new(source)))
    }

    pub(super) fn write(&self, file: &Path, results: &Results) -> Result<()> {
        let path = self.path(file);
        write_whole(&path, &results.to_string())
    }

    fn path(&self, file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".txt");
        self.0.join(name)
    }
}

/// Writes a file, which is whole or as before if this process ends meanwhile.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let written = || format!("could not write {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(written)?;
    let new = path.with_extension("new");
    fs::write(&new, text).with_context(written)?;
    fs::rename(&new, path).with_context(written)
}

/// A run of cargo-mutants on one source, as noted before it begins. If this process ends meanwhile,
/// the next one finds the note, and takes over the results that cargo-mutants wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub file: PathBuf,
    pub source: Digest,
    pub tests: Digest,
    pub stage: Stage,
}

impl Run {
    /// The name of the note in the directory of the run.
    const NOTE: &str = "run.txt";

    /// Notes the run in `directory`, where earlier output of cargo-mutants is removed.
    pub(super) fn begin(&self, directory: &Path) -> Result<()> {
        let old = directory.join(OUTPUT);
        if old.exists() {
            fs::remove_dir_all(&old)
                .with_context(|| format!("could not remove {}", old.display()))?;
        }
        let mut note = String::new();
        let (source, tests) = (self.source, self.tests);
        let stage = word_of(self.stage);
        write!(note, "{source} {tests} {stage} {}", self.file.display())?;
        write_whole(&directory.join(Self::NOTE), &note)
    }

    fn parse(note: &str) -> Option<Self> {
        let mut words = note.splitn(4, ' ');
        Some(Self {
            source: Digest::parse(words.next()?)?,
            tests: Digest::parse(words.next()?)?,
            stage: stage_of(words.next()?)?,
            file: words.next()?.into(),
        })
    }

    /// Takes the results of the run in `directory` over into the store, if there was one.
    pub(super) fn end(directory: &Path, store: &Store) -> Result<()> {
        let path = directory.join(Self::NOTE);
        let Ok(note) = fs::read_to_string(&path) else {
            return Ok(());
        };
        if let Some(run) = Self::parse(&note) {
            let mut results = store.read(&run.file, run.source)?;
            for (name, outcome) in finished(&directory.join(OUTPUT))? {
                let (stage, tests) = (run.stage, run.tests);
                let record = Record {
                    outcome,
                    stage,
                    tests,
                };
                results.add(name, record);
            }
            store.write(&run.file, &results)?;
        }
        fs::remove_file(&path).with_context(|| format!("could not remove {}", path.display()))
    }
}

/// The directory that cargo-mutants makes in its output directory.
const OUTPUT: &str = "mutants.out";

/// The mutants that cargo-mutants has finished.
fn finished(output: &Path) -> Result<Vec<(String, Outcome)>> {
    let mut all = Vec::new();
    for (outcome, file) in Outcome::FILES {
        let path = output.join(file);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("could not read {}", path.display()));
            }
        };
        // A line without its end is not written to its end.
        let lines = text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'));
        all.extend(lines.map(|line| (line.to_owned(), outcome)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: Digest = Digest(7);

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn results(source: u64) -> Results {
        let mut results = Results::new(Digest(source));
        for (name, outcome, stage) in [
            ("a.rs:1:2: replace a with b", Outcome::Caught, Stage::Fast),
            ("a.rs:3:4: delete !", Outcome::Missed, Stage::Thorough),
        ] {
            let tests = TESTS;
            results.add(
                name.into(),
                Record {
                    outcome,
                    stage,
                    tests,
                },
            );
        }
        results
    }

    #[test]
    fn results_are_read_as_written() {
        let store = Store(directory("store-read"));
        let file = Path::new("crates/a/src/a.rs");
        store.write(file, &results(5)).unwrap();
        assert_eq!(store.read(file, Digest(5)).unwrap(), results(5));
        fs::remove_dir_all(store.0).unwrap();
    }

    #[test]
    fn results_of_another_text_are_none() {
        let store = Store(directory("store-other"));
        let file = Path::new("a.rs");
        store.write(file, &results(5)).unwrap();
        let none = Results::new(Digest(6));
        assert_eq!(store.read(file, Digest(6)).unwrap(), none);
        assert_eq!(store.read(Path::new("b.rs"), Digest(6)).unwrap(), none);
        fs::write(store.path(file), "source 6\nno result\n").unwrap();
        assert_eq!(store.read(file, Digest(6)).unwrap(), none);
        fs::remove_dir_all(store.0).unwrap();
    }

    #[test]
    fn interrupted_run_leaves_its_finished_mutants() {
        let folder = directory("store-run");
        let store = Store(folder.join("results"));
        let run = Run {
            file: "a.rs".into(),
            source: Digest(5),
            tests: TESTS,
            stage: Stage::Fast,
        };
        let output = folder.join(OUTPUT);
        fs::create_dir_all(&output).unwrap();
        fs::write(output.join("missed.txt"), "of an earlier run\n").unwrap();
        run.begin(&folder).unwrap();
        fs::create_dir_all(&output).unwrap();
        fs::write(output.join("caught.txt"), "one\ntwo\nthr").unwrap();
        fs::write(output.join("timeout.txt"), "four\n").unwrap();
        Run::end(&folder, &store).unwrap();
        let found = store.read(&run.file, run.source).unwrap();
        let found: Vec<_> = found
            .records
            .iter()
            .map(|(name, record)| (name.as_str(), record.outcome))
            .collect();
        let expected = [
            ("four", Outcome::Timeout),
            ("one", Outcome::Caught),
            ("two", Outcome::Caught),
        ];
        assert_eq!(found, expected);
        // The second time there is nothing to take over.
        fs::write(output.join("caught.txt"), "five\n").unwrap();
        Run::end(&folder, &store).unwrap();
        assert_eq!(store.read(&run.file, run.source).unwrap().records.len(), 3);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn digest_tells_texts_and_their_borders_apart() {
        let digest = |texts: &[&str]| Digest::of(texts.iter().map(|text| text.as_bytes()));
        assert_eq!(digest(&["a", "b"]), digest(&["a", "b"]));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["a"]), digest(&["b"]));
    }
}
