//! The crates whose mutants are run, and the tests that judge them.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{cargo, process, workspace::Workspace};

/// A crate without I/O.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crate {
    pub package: &'static str,
    /// The directory of the package, from the root of the tree.
    pub folder: &'static str,
    /// The test programs that take longer than some seconds.
    slow: &'static [&'static str],
    /// The packages whose tests run beside the slow ones.
    judges: &'static [&'static str],
}

pub(super) const CRATES: [Crate; 5] = [
    Crate {
        package: "heartbeat-common",
        folder: "crates/common",
        slow: &[],
        judges: &["heartbeat-core"],
    },
    Crate {
        package: "heartbeat-core",
        folder: "crates/core",
        slow: &["membership", "model", "rebalancing", "simulation"],
        judges: &[],
    },
    Crate {
        package: "heartbeat-config",
        folder: "crates/config",
        slow: &[],
        judges: &["heartbeat-import"],
    },
    Crate {
        package: "heartbeat-control",
        folder: "crates/control",
        slow: &[],
        judges: &[],
    },
    Crate {
        package: "heartbeat-import",
        folder: "crates/import",
        slow: &[],
        judges: &[],
    },
];

/// The tests that judge a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The unit tests of the crate, and its test programs that take seconds.
    Fast,
    /// All tests of the crate, and those of the crates that use it.
    Thorough,
}

impl Crate {
    /// The crate that has the file `path`.
    pub(super) fn of(path: &Path) -> Option<&'static Self> {
        CRATES.iter().find(|one| path.starts_with(one.folder))
    }

    /// Whether further tests judge the survivors of the fast ones.
    pub(super) fn has_more_tests(&self) -> bool {
        !(self.slow.is_empty() && self.judges.is_empty())
    }

    /// The packages whose tests run in `stage`.
    pub(super) fn tested(&self, stage: Stage) -> Vec<&'static str> {
        let judges = match stage {
            Stage::Fast => &[],
            Stage::Thorough => self.judges,
        };
        [self.package].iter().chain(judges).copied().collect()
    }

    /// The arguments by which cargo builds and runs the tests of `stage`. `programs` are the test
    /// programs of the package.
    pub(super) fn selection(&self, stage: Stage, programs: &[String]) -> Vec<String> {
        let mut arguments = vec!["--lib".to_owned()];
        match stage {
            Stage::Fast => {
                let is_slow = |program: &&String| self.slow.contains(&program.as_str());
                for program in programs.iter().filter(|program| !is_slow(program)) {
                    arguments.extend(["--test".to_owned(), program.clone()]);
                }
            }
            Stage::Thorough => arguments.push("--tests".to_owned()),
        }
        arguments
    }

    /// The test programs of the package, in the order in which cargo lists them.
    pub(super) fn programs(&self, workspace: &Workspace) -> Result<Vec<String>> {
        let mut query = cargo::command(workspace);
        query.args(["metadata", "--no-deps", "--format-version", "1"]);
        let metadata = process::output(&mut query)?;
        let metadata = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
        let programs = programs_of(&metadata, self.package);
        programs.with_context(|| format!("the workspace has no package {}", self.package))
    }
}

fn programs_of(metadata: &Value, package: &str) -> Option<Vec<String>> {
    let mut packages = metadata["packages"].as_array()?.iter();
    let package = packages.find(|one| one["name"] == package)?;
    let is_test = |target: &&Value| {
        let mut kinds = target["kind"].as_array().into_iter().flatten();
        kinds.any(|kind| kind == "test")
    };
    let targets = package["targets"].as_array()?.iter().filter(is_test);
    targets
        .map(|target| target["name"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &Crate = &CRATES[1];

    #[test]
    fn fast_tests_leave_out_the_slow_programs() {
        let programs = ["cluster", "model", "peer"].map(str::to_owned);
        let fast = CORE.selection(Stage::Fast, &programs);
        assert_eq!(fast, ["--lib", "--test", "cluster", "--test", "peer"]);
        let thorough = CORE.selection(Stage::Thorough, &programs);
        assert_eq!(thorough, ["--lib", "--tests"]);
    }

    #[test]
    fn crates_that_use_the_contract_judge_it_in_the_second_stage() {
        let common = &CRATES[0];
        assert_eq!(common.tested(Stage::Fast), ["heartbeat-common"]);
        let both = ["heartbeat-common", "heartbeat-core"];
        assert_eq!(common.tested(Stage::Thorough), both);
    }

    #[test]
    fn file_belongs_to_the_crate_of_its_folder() {
        let found = |path: &str| Crate::of(Path::new(path)).map(|one| one.package);
        assert_eq!(
            found("crates/core/src/group/mod.rs"),
            Some("heartbeat-core")
        );
        assert_eq!(found("crates/sys/src/lib.rs"), None);
        assert_eq!(found("crates/corel/src/lib.rs"), None);
    }

    #[test]
    fn test_programs_are_the_targets_of_kind_test() {
        let metadata = serde_json::json!({"packages": [
            {"name": "a", "targets": [{"name": "other", "kind": ["test"]}]},
            {"name": "b", "targets": [
                {"name": "b", "kind": ["lib"]},
                {"name": "one", "kind": ["test"]},
                {"name": "two", "kind": ["test"]},
            ]},
        ]});
        let expected = Some(vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(programs_of(&metadata, "b"), expected);
        assert_eq!(programs_of(&metadata, "c"), None);
    }

    #[test]
    fn slow_programs_and_folders_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for one in &CRATES {
            for program in one.slow {
                let tests = root.join(one.folder).join("tests");
                let exists = tests.join(format!("{program}.rs")).exists()
                    || tests.join(program).join("main.rs").exists();
                assert!(exists, "{program}");
            }
            assert!(root.join(one.folder).join("src").exists(), "{}", one.folder);
        }
    }
}
