//! The modules of a test program, each of which runs in a process of its own.
//!
//! A program holds all tests of a subject, since each program costs the time of a link. Processes
//! isolate the modules from each other, and let them run in parallel.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{cargo::Program, process};

/// Flags of libtest that select tests and take no value.
const SELECT: [&str; 3] = ["--exact", "--ignored", "--include-ignored"];
/// Flags of libtest whose value is a word of its own.
const TAKE_A_VALUE: [&str; 6] = [
    "--test-threads",
    "--format",
    "--color",
    "--logfile",
    "--shuffle-seed",
    "-Z",
];

/// The tests of one module of a program.
#[derive(Debug)]
pub(crate) struct Module<'a> {
    pub program: &'a Program,
    /// The program and the module: `takeover::detection`. For tests at the root, only the program.
    pub name: String,
    /// The tests' full names within the program.
    tests: Vec<String>,
}

impl Module<'_> {
    /// The arguments that run only these tests; `args` are the user's.
    pub(crate) fn args(&self, args: &[OsString]) -> Vec<OsString> {
        let names = self.tests.iter().map(OsString::from);
        let ignored = args.iter().filter(|arg| is_about_ignored(arg)).cloned();
        let exact = std::iter::once(OsString::from("--exact"));
        exact
            .chain(names)
            .chain(ignored)
            .chain(split(args).1)
            .collect()
    }
}

fn is_about_ignored(arg: &OsString) -> bool {
    arg == "--ignored" || arg == "--include-ignored"
}

/// The modules of `program` with the tests that `args` select.
pub(crate) fn list<'a>(program: &'a Program, args: &[OsString]) -> Result<Vec<Module<'a>>> {
    let mut list = Command::new(&program.path);
    list.current_dir(program.directory());
    list.arg("--list").args(split(args).0);
    Ok(group(program, &process::output(&mut list)?))
}

/// Groups the lines `module::test: test` by their modules.
fn group<'a>(program: &'a Program, listed: &str) -> Vec<Module<'a>> {
    let mut modules: Vec<Module<'_>> = Vec::new();
    for test in listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
    {
        let name = match test.split_once("::") {
            Some((module, _)) => format!("{}::{module}", program.name),
            None => program.name.clone(),
        };
        match modules.iter_mut().find(|module| module.name == name) {
            Some(module) => module.tests.push(test.to_owned()),
            None => modules.push(Module {
                program,
                name,
                tests: vec![test.to_owned()],
            }),
        }
    }
    modules
}

/// Splits arguments of libtest into those that select tests and all others.
fn split(args: &[OsString]) -> (Vec<OsString>, Vec<OsString>) {
    let (mut selecting, mut others) = (Vec::new(), Vec::new());
    let mut args = args.iter().cloned();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        let is = |flags: &[&str]| flags.contains(&text.as_str());
        let selects = is(&SELECT) || text.starts_with("--skip") || !text.starts_with('-');
        let side = match selects {
            true => &mut selecting,
            false => &mut others,
        };
        side.push(arg);
        if text == "--skip" || is(&TAKE_A_VALUE) {
            side.extend(args.next());
        }
    }
    (selecting, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            name: "takeover".into(),
            path: "/w/takeover".into(),
            is_test: true,
            manifest: "/w/tests/Cargo.toml".into(),
        }
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn list_of_a_program_is_grouped_by_its_modules() {
        let program = program();
        let listed = "detection::one: test\nmoves::two: test\ndetection::deep::three: test\n\
                      root: test\n\n4 tests, 0 benchmarks\n";
        let modules = group(&program, listed);
        let names: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(
            names,
            ["takeover::detection", "takeover::moves", "takeover"]
        );
        assert_eq!(
            modules[0].args(&words("one --skip two --nocapture --ignored")),
            words("--exact detection::one detection::deep::three --ignored --nocapture")
        );
    }

    #[test]
    fn arguments_that_select_are_told_from_the_others() {
        let (selecting, others) = split(&words(
            "a --skip b --test-threads 1 --skip=c --exact --nocapture -Z unstable-options d",
        ));
        assert_eq!(selecting, words("a --skip b --skip=c --exact d"));
        assert_eq!(
            others,
            words("--test-threads 1 --nocapture -Z unstable-options")
        );
    }
}
