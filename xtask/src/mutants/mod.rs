//! `cargo xtask mutants`: changes the pure crates in small ways, one after the other, and shows
//! which changes no test notices. cargo-mutants makes the changes, in a copy of the tree.
//!
//! The results are kept below the target directory, so that a run may end at any time and go on
//! later. A result holds while the source and the tests are the same.

mod accepted;
mod copy;
mod crates;
mod mutant;
mod report;
mod store;
mod tool;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

pub(crate) use self::mutant::Shard;
use self::{
    accepted::{AcceptedList, line_of},
    crates::{CRATES, Crate, Stage},
    mutant::Mutant,
    store::{Digest, Outcome, Record, Results, Run, Store},
    tool::Tool,
};
use crate::{cli::MutantsOptions, process, workspace::Workspace};

/// One source file, and its mutants of the shard.
#[derive(Debug)]
struct Subject {
    owner: &'static Crate,
    /// The path from the root of the tree.
    file: PathBuf,
    text: String,
    source: Digest,
    tests: Digest,
    mutants: Vec<Mutant>,
}

pub(crate) fn run(workspace: &Workspace, options: &MutantsOptions) -> Result<ExitCode> {
    let accepted = fs::read_to_string(workspace.root.join(accepted::FILE))
        .with_context(|| format!("could not read {}", accepted::FILE))?;
    let accepted = AcceptedList::read(&accepted)?;
    let files = Files::read(workspace, &options.paths)?;
    let tool = Tool::install(workspace)?;
    let store = Store(workspace.mutants().join("results"));
    Run::end(&workspace.mutants().join("run"), &store)?;
    let mut subjects = Vec::new();
    let mut stale = Vec::new();
    for one in &CRATES {
        let mutants = tool.list(one)?;
        stale.extend(files.stale(one, &mutants, &accepted));
        subjects.extend(files.subjects(one, mutants, options.shard)?);
    }
    if !options.report {
        let copy = workspace.mutants().join("tree");
        copy::update(&workspace.root, &copy)?;
        let runner = Runner {
            workspace,
            options,
            tool,
            store: &store,
            accepted: &accepted,
        };
        for (index, subject) in subjects.iter().enumerate() {
            runner.run(subject, &format!("{} of {}", index + 1, subjects.len()))?;
        }
    }
    tell(&subjects, &store, &accepted, &stale)
}

/// The sources of the pure crates, and those that are asked for.
struct Files {
    root: PathBuf,
    /// The text of each source, by its path from the root of the tree.
    texts: BTreeMap<PathBuf, String>,
    /// The paths that are asked for, from the root of the tree; none means all.
    asked: Vec<PathBuf>,
}

impl Files {
    fn read(workspace: &Workspace, asked: &[PathBuf]) -> Result<Self> {
        let root = &workspace.root;
        let mut texts = BTreeMap::new();
        for one in &CRATES {
            for path in copy::sources(&root.join(one.folder))? {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("could not read {}", path.display()))?;
                texts.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), text);
            }
        }
        let asked = asked
            .iter()
            .map(|path| path.strip_prefix(root).unwrap_or(path).to_owned())
            .collect::<Vec<_>>();
        for path in &asked {
            if !texts.keys().any(|file| file.starts_with(path)) {
                let crates = CRATES.map(|one| one.folder).join(", ");
                bail!("{} has no source of {crates}", path.display());
            }
        }
        let root = root.clone();
        Ok(Self { root, texts, asked })
    }

    fn is_asked(&self, file: &Path) -> bool {
        self.asked.is_empty() || self.asked.iter().any(|path| file.starts_with(path))
    }

    fn text(&self, file: &Path) -> &str {
        self.texts.get(file).map_or("", String::as_str)
    }

    /// The digest of the test programs of `one`.
    fn tests(&self, one: &Crate) -> Digest {
        let folder = Path::new(one.folder).join("tests");
        let tests = self
            .texts
            .iter()
            .filter(|(path, _)| path.starts_with(&folder));
        Digest::of(tests.map(|(_, text)| text.as_bytes()))
    }

    /// The files of `one` with mutants of the shard.
    fn subjects(
        &self,
        one: &'static Crate,
        mutants: Vec<Mutant>,
        shard: Option<Shard>,
    ) -> Result<Vec<Subject>> {
        let mut by_file: BTreeMap<PathBuf, Vec<Mutant>> = BTreeMap::new();
        for (index, mutant) in mutants.into_iter().enumerate() {
            let in_shard = shard.is_none_or(|shard| shard.has(index));
            if in_shard && self.is_asked(&mutant.file) {
                by_file.entry(mutant.file.clone()).or_default().push(mutant);
            }
        }
        let tests = self.tests(one);
        let subject = |(file, mutants): (PathBuf, Vec<Mutant>)| {
            let text = self.texts.get(&file).with_context(|| {
                format!("{} is not below {}", file.display(), self.root.display())
            })?;
            Ok(Subject {
                owner: one,
                source: Digest::of([text.as_bytes()]),
                text: text.clone(),
                tests,
                mutants,
                file,
            })
        };
        by_file.into_iter().map(subject).collect()
    }

    /// The accepted survivors of `one` that are no longer among its mutants.
    fn stale(&self, one: &Crate, mutants: &[Mutant], accepted: &AcceptedList) -> Vec<String> {
        let own = accepted.0.iter().filter(|entry| {
            let owner = Crate::of(&entry.file);
            owner.map_or(one == &CRATES[0], |owner| owner == one)
        });
        let gone = own.filter(|entry| {
            !mutants
                .iter()
                .any(|mutant| entry.is_for(mutant, line_of(self.text(&mutant.file), mutant.line)))
        });
        gone.map(|entry| {
            format!(
                "{}: {} ({})",
                entry.file.display(),
                entry.change,
                entry.line
            )
        })
        .collect()
    }
}

struct Runner<'a> {
    workspace: &'a Workspace,
    options: &'a MutantsOptions,
    tool: Tool<'a>,
    store: &'a Store,
    accepted: &'a AcceptedList,
}

impl Runner<'_> {
    /// Runs the mutants of `subject` that have no valid result.
    fn run(&self, subject: &Subject, number: &str) -> Result<()> {
        let results = self.store.read(&subject.file, subject.source)?;
        let old = |mutant: &&Mutant| {
            let record = results.records.get(&mutant.name);
            if self.options.survivors {
                record.is_some_and(|record| is_survivor(record) && record.tests != subject.tests)
            } else {
                record.is_none_or(|record| record.tests != subject.tests)
            }
        };
        self.stage(
            subject,
            Stage::Fast,
            number,
            subject.mutants.iter().filter(old).collect(),
        )?;
        if !self.options.thorough || !subject.owner.has_more_tests() {
            return Ok(());
        }
        let results = self.store.read(&subject.file, subject.source)?;
        let survivor = |mutant: &&Mutant| {
            let record = results.records.get(&mutant.name);
            record.is_some_and(|record| is_survivor(record) && record.stage == Stage::Fast)
                && !self
                    .accepted
                    .has(mutant, line_of(&subject.text, mutant.line))
        };
        let survivors = subject.mutants.iter().filter(survivor).collect();
        self.stage(subject, Stage::Thorough, number, survivors)
    }

    fn stage(
        &self,
        subject: &Subject,
        stage: Stage,
        number: &str,
        mutants: Vec<&Mutant>,
    ) -> Result<()> {
        if mutants.is_empty() {
            return Ok(());
        }
        if process::watched() {
            let (file, count) = (subject.file.display(), mutants.len());
            eprintln!("mutants: {file} ({number}): {count} mutants");
        }
        let output = self.workspace.mutants().join("run");
        let run = Run {
            file: subject.file.clone(),
            source: subject.source,
            tests: subject.tests,
            stage,
        };
        run.begin(&output)?;
        let tree = self.workspace.mutants().join("tree");
        let done = self
            .tool
            .run(subject.owner, stage, &mutants, &tree, &output);
        Run::end(&output, self.store)?;
        done.with_context(|| format!("could not run the mutants of {}", subject.file.display()))
    }
}

fn is_survivor(record: &Record) -> bool {
    record.outcome == Outcome::Missed
}

/// Prints the results. They are good if no survivor is without acceptance, and if each acceptance
/// is needed.
fn tell(
    subjects: &[Subject],
    store: &Store,
    accepted: &AcceptedList,
    stale: &[String],
) -> Result<ExitCode> {
    let (mut rows, mut survivors, mut needless) = (Vec::new(), Vec::new(), Vec::new());
    for subject in subjects {
        let results: Results = store.read(&subject.file, subject.source)?;
        let line = |number| line_of(&subject.text, number);
        let judged = report::judge(&subject.mutants, &results, accepted, line);
        rows.push((subject.file.display().to_string(), judged.counts));
        survivors.extend(judged.survivors);
        needless.extend(judged.needless);
    }
    print!("{}", report::table(&rows));
    let mut is_good = true;
    for (title, lines) in [
        ("no test catches", &survivors[..]),
        (
            "accepted, but a test catches it: remove it from the list",
            &needless,
        ),
        (
            "accepted, but there is no such mutant: remove it from the list",
            stale,
        ),
    ] {
        for line in lines {
            println!("{title}: {line}");
            is_good = false;
        }
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
