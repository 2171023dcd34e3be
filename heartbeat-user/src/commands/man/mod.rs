//! `heartbeat man`: the man pages of all commands and of the configuration, for packages.

mod settings;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap_mangen::Man;

/// The section of commands for administrators.
const COMMANDS: &str = "8";
/// The name of the manual that each page shows.
const MANUAL: &str = "High availability";

/// A man page.
#[derive(Debug)]
struct Page {
    /// The file's name, without a directory.
    name: String,
    /// The text for troff.
    text: Vec<u8>,
}

/// Writes all pages into `directory`, which is made if it is missing. Prints the paths.
pub fn write(command: clap::Command, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("could not make {}", directory.display()))?;
    for page in pages(command)? {
        let path: PathBuf = directory.join(page.name);
        fs::write(&path, page.text)
            .with_context(|| format!("could not write {}", path.display()))?;
        super::output::print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}

fn pages(mut command: clap::Command) -> Result<Vec<Page>> {
    command.build();
    let mut pages = Vec::new();
    let mut waiting = vec![command];
    while let Some(command) = waiting.pop() {
        let subcommands = command.get_subcommands();
        let shown = subcommands.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
        waiting.extend(shown.cloned());
        let name = format!("{}.{COMMANDS}", title(&command));
        let man = Man::new(command).section(COMMANDS).manual(MANUAL);
        let mut text = Vec::new();
        man.render(&mut text).context("could not make a man page")?;
        pages.push(Page { name, text });
    }
    pages.push(Page {
        name: "heartbeat.toml.5".to_owned(),
        text: settings::page().into_bytes(),
    });
    Ok(pages)
}

/// The title of a command's page: `heartbeat-resource-list`.
fn title(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> clap::Command {
        clap::Command::new("heartbeat")
            .about("The top")
            .subcommand(clap::Command::new("secret").hide(true))
            .subcommand(
                clap::Command::new("resource").subcommand(
                    clap::Command::new("list")
                        .about("Print lines")
                        .arg(clap::Arg::new("json").long("json").help("As JSON")),
                ),
            )
    }

    #[test]
    fn each_command_that_is_shown_has_a_page() {
        let pages = pages(example()).unwrap();
        let names: Vec<&str> = pages.iter().map(|page| &*page.name).collect();
        let expected = [
            "heartbeat.8",
            "heartbeat-resource.8",
            "heartbeat-resource-list.8",
            "heartbeat.toml.5",
        ];
        assert_eq!(names, expected);
        let list = String::from_utf8(pages[2].text.clone()).unwrap();
        for part in [".TH heartbeat-resource-list 8", "Print lines", "As JSON"] {
            assert!(list.contains(part), "no `{part}` in {list}");
        }
    }
}
