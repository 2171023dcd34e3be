//! The page `docs/start/article.md`, executed: its files, its commands, and their output.

use anyhow::{Context as _, Result, bail};
use heartbeat_tests::{
    e2e::web::apache,
    page::{self, CLIENT, Progress, Runner},
};
use serde::Serialize;

use crate::{Arguments, output::Output};

const PAGE: &str = include_str!("../../../docs/start/article.md");

/// The measurements, for scripts.
#[derive(Debug, Serialize)]
struct Story {
    scenario: &'static str,
    /// The client's longest gap when the server was cut off.
    client_gap_ms: f64,
    /// The nodes that served it, in order.
    served_by: Vec<String>,
}

/// Executes the page once. Fails if a command fails, or its output differs from the page.
pub(crate) fn show(arguments: &Arguments, out: &Output) -> Result<()> {
    if let Some(missing) = apache::missing() {
        bail!("{missing}; `cargo xtask setup --test` installs it");
    }
    out.line(&out.dim("docs/start/article.md, on two nodes, a witness and a client in namespaces"));
    let steps = page::parse(PAGE)?;
    let mut runner = Runner::new(&steps, arguments.keep_logs)?;
    let measured = runner.run(&steps, |progress| show_progress(&progress, out))?;
    let [cut] = measured else {
        bail!("the page measures {} times, not once", measured.len());
    };
    let story = Story {
        scenario: "article",
        client_gap_ms: cut.gap.as_secs_f64() * 1e3,
        served_by: cut.served_by.clone(),
    };
    out.line("");
    out.line(&format!(
        "{} the page was away for {:.0} ms when its server was cut off; it was served by {}",
        out.good("done:"),
        story.client_gap_ms,
        story.served_by.join(", then ")
    ));
    if arguments.json {
        let json = serde_json::to_string(&story).context("cannot write the story as JSON")?;
        println!("{json}");
    }
    Ok(())
}

fn show_progress(progress: &Progress<'_>, out: &Output) {
    match progress {
        Progress::Section(title) => out.line(&format!("\n{}\n", out.bold(title))),
        Progress::File(file) => {
            let what = if file.appended {
                "added to"
            } else {
                "written:"
            };
            let hosts = file.hosts.join(", ");
            out.line(&out.dim(&format!("{hosts}: {what} {}", file.path)));
            for line in file.text.lines() {
                out.line(&out.dim(&format!("    {line}")));
            }
        }
        Progress::Command { command, output } => {
            let sign = if command.host == CLIENT { '$' } else { '#' };
            let prompt = format!("{}{sign}", command.host);
            out.line(&format!("{} {}", out.good(&prompt), command.line));
            for line in output.lines() {
                out.line(&format!("    {line}"));
            }
        }
        Progress::Measured(measured) => {
            let gap = measured.gap.as_secs_f64() * 1e3;
            out.line(&out.bold(&format!("  the client had no page for {gap:.0} ms")));
        }
    }
}
