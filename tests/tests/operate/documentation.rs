//! The console examples of the README and of docs/start: each command is run on a cluster in
//! namespaces, and its output is compared with the page.
//!
//! `HEARTBEAT_SHOW_PAGE=1` prints each step, to see the real output before a page is changed.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    needs,
    page::{self, Measured, Runner},
};

const README: &str = "README.md";
const START: &str = "docs/start";
/// The pages of docs/start, each with a test below.
const PAGES: [&str; 1] = ["article.md"];
/// The longest time without the page when its server is cut off, on a busy machine.
const MOST: Duration = Duration::from_secs(10);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Executes the page at `path`. Returns what its client saw.
fn execute(path: &str) -> Result<Vec<Measured>> {
    let text = fs::read_to_string(root().join(path)).with_context(|| format!("no {path}"))?;
    let steps = page::parse(&text)?;
    let mut runner = Runner::new(&steps, false)?;
    let measured = runner.run(&steps, |progress| {
        if env::var_os("HEARTBEAT_SHOW_PAGE").is_some() {
            let _ = writeln!(std::io::stderr(), "{progress:#?}");
        }
    });
    Ok(measured.with_context(|| path.to_owned())?.to_vec())
}

#[test]
fn readme_examples_print_what_the_page_shows() -> Result<()> {
    needs!(Cluster, Sandbox);
    execute(README)?;
    Ok(())
}

#[test]
fn article_examples_print_what_the_page_shows_and_the_other_node_serves() -> Result<()> {
    needs!(Cluster, Apache);
    let measured = execute("docs/start/article.md")?;
    ensure!(measured.len() == 1, "{measured:#?}");
    let cut = &measured[0];
    let _ = writeln!(std::io::stderr(), "the page was away for {:.1?}", cut.gap);
    ensure!(cut.served_by == ["node1", "node2"], "{cut:?}");
    ensure!(cut.gap <= MOST, "{cut:?}");
    Ok(())
}

/// A page without a test would go stale unnoticed.
#[test]
fn each_page_of_docs_start_has_a_test() -> Result<()> {
    let pages: BTreeSet<_> = fs::read_dir(root().join(START))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    ensure!(pages.iter().eq(&PAGES), "{pages:?}");
    Ok(())
}
