//! A page of the documentation, executed: its files are written and its commands run on a cluster
//! in namespaces, and the output of each command is compared with the page.
//!
//! The test reads the following parts of a page, and ignores its text and all other blocks, such as
//! `sh` and `toml`:
//!
//! - `<!-- file HOST,HOST PATH -->` above a fenced block: the block becomes the file there;
//! - `<!-- append HOST,HOST PATH -->`: the block is appended to the file;
//! - a fenced block `console`: a line that begins with `HOST# ` or `HOST$ ` is a command, and the
//!   lines below it are its output (see [`agrees`]);
//! - `<!-- exact -->` above a `console` block: numbers in the output must be the same, too;
//! - `<!-- measure -->` above a `console` block: a client requests the page meanwhile, and its
//!   longest time without an answer is measured.
//!
//! The hosts of a page are the nodes of the cluster, in the order of their names and with the
//! addresses 10.0.0.1, 10.0.0.2 and so on. A host `witness` comes after them, and a host `client`
//! is outside of the cluster.

mod hosts;
mod run;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};

pub use hosts::CLIENT;
pub use run::{Measured, Progress, Runner};

/// A part of a page that is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A section begins.
    Section(String),
    File(File),
    /// Commands that belong together.
    Console {
        commands: Vec<Command>,
        measured: bool,
    },
}

/// Text for a file on some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub hosts: Vec<String>,
    pub path: String,
    pub text: String,
    /// Whether the file keeps what it had before.
    pub appended: bool,
}

/// A command, and what the page shows of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub host: String,
    /// For `sh -c`.
    pub line: String,
    pub shown: Vec<String>,
    /// Whether numbers must be those of the page.
    pub exact: bool,
}

/// The comment above a block.
#[derive(Debug, Default)]
enum Annotation {
    #[default]
    None,
    File {
        hosts: Vec<String>,
        path: String,
        appended: bool,
    },
    Exact,
    Measure,
}

/// The names of all hosts of a page.
pub fn hosts(steps: &[Step]) -> BTreeSet<&str> {
    fn of(step: &Step) -> Vec<&str> {
        match step {
            Step::Section(_) => Vec::new(),
            Step::File(file) => file.hosts.iter().map(String::as_str).collect(),
            Step::Console { commands, .. } => commands
                .iter()
                .map(|command| command.host.as_str())
                .collect(),
        }
    }
    steps.iter().flat_map(of).collect()
}

/// Reads a page. Fails on a comment that is nearly one of ours, and on a block without an end.
pub fn parse(text: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut annotation = Annotation::None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            steps.push(Step::Section(title.to_owned()));
        } else if let Some(comment) = comment(line) {
            annotation = Annotation::read(comment)?;
        } else if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            steps.extend(step(std::mem::take(&mut annotation), language, &block)?);
        }
    }
    ensure!(
        matches!(annotation, Annotation::None),
        "a comment stands above no block: {annotation:?}"
    );
    Ok(steps)
}

fn comment(line: &str) -> Option<&str> {
    Some(line.strip_prefix("<!--")?.strip_suffix("-->")?.trim())
}

impl Annotation {
    fn read(comment: &str) -> Result<Self> {
        let words: Vec<&str> = comment.split_whitespace().collect();
        Ok(match words[..] {
            ["exact"] => Self::Exact,
            ["measure"] => Self::Measure,
            [kind @ ("file" | "append"), hosts, path] => Self::File {
                hosts: hosts.split(',').map(str::to_owned).collect(),
                path: path.to_owned(),
                appended: kind == "append",
            },
            _ => bail!("a page has no comment `{comment}`"),
        })
    }
}

fn step(annotation: Annotation, language: &str, block: &[&str]) -> Result<Option<Step>> {
    Ok(match (annotation, language) {
        (
            Annotation::File {
                hosts,
                path,
                appended,
            },
            _,
        ) => Some(Step::File(File {
            hosts,
            path,
            text: block.iter().map(|line| format!("{line}\n")).collect(),
            appended,
        })),
        (annotation, "console") => Some(Step::Console {
            commands: commands(block, matches!(annotation, Annotation::Exact))?,
            measured: matches!(annotation, Annotation::Measure),
        }),
        (Annotation::Exact | Annotation::Measure, _) => {
            bail!("such a comment is for a block `console`")
        }
        (Annotation::None, _) => None,
    })
}

fn commands(block: &[&str], exact: bool) -> Result<Vec<Command>> {
    let mut commands: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for line in block {
        if goes_on {
            let command = commands.last_mut().context("no command goes on")?;
            command.line.push('\n');
            command.line.push_str(line);
            goes_on = line.ends_with('\\');
        } else if let Some((host, rest)) = prompt(line) {
            goes_on = rest.ends_with('\\');
            commands.push(Command {
                host: host.to_owned(),
                line: rest.to_owned(),
                shown: Vec::new(),
                exact,
            });
        } else {
            let command = commands.last_mut();
            let command = command.with_context(|| format!("nobody printed `{line}`"))?;
            command.shown.push((*line).to_owned());
        }
    }
    ensure!(!commands.is_empty(), "a console without a command");
    Ok(commands)
}

/// The host and the command of a line with a prompt.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (host, rest) = line.split_once(['#', '$'])?;
    let named = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some((host, rest.strip_prefix(' ')?)).filter(|_| named)
}

/// Whether `output` has the lines that a page shows, in their order. `...` in the page stands for
/// any lines. Unless it is `exact`, numbers, the units of times and the width of columns may
/// differ; a number in a name (`node1`) may not.
pub fn agrees(output: &str, shown: &[String], exact: bool) -> Result<()> {
    let plain = |line: &str| match exact {
        true => line.to_owned(),
        false => plain(line),
    };
    let mut lines = output.lines().map(plain);
    let mut gap = true;
    for wanted in shown {
        if wanted.trim() == "..." {
            gap = true;
            continue;
        }
        let wanted = plain(wanted);
        let found = match gap {
            true => lines.any(|line| line == wanted),
            false => lines.next().as_ref() == Some(&wanted),
        };
        ensure!(
            found,
            "no line `{wanted}`, or not there, in the output:\n{output}"
        );
        gap = false;
    }
    Ok(())
}

/// A line without what differs from run to run. A number that is part of a name stays.
fn plain(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let plain = without_numbers(word);
        match plain.trim_end_matches(',') {
            "us" | "\u{b5}s" | "ms" | "s" => "s".to_owned(),
            _ => plain,
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Puts a 0 in the place of each number that does not follow a letter.
fn without_numbers(word: &str) -> String {
    let mut plain = String::new();
    let (mut named, mut counted) = (false, false);
    for character in word.chars() {
        let digit = character.is_ascii_digit();
        counted = !named && (digit || counted && character == '.');
        named = character.is_alphabetic() || named && digit;
        if !counted {
            plain.push(character);
        } else if !plain.ends_with('0') {
            plain.push('0');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# A page

Text.

## First

<!-- file a,b /etc/x -->
```toml
one = 1
```

```text
nobody looks at this
```

<!-- measure -->
```console
a# one \\
   two
out 1.5 ms
...
b$ three
```
";

    #[test]
    fn page_is_read_as_files_and_commands() {
        let steps = parse(PAGE).expect("a page");
        let command = |host: &str, line: &str, shown: &[&str]| Command {
            host: host.to_owned(),
            line: line.to_owned(),
            shown: shown.iter().map(|line| (*line).to_owned()).collect(),
            exact: false,
        };
        let wanted = [
            Step::Section("First".to_owned()),
            Step::File(File {
                hosts: vec!["a".to_owned(), "b".to_owned()],
                path: "/etc/x".to_owned(),
                text: "one = 1\n".to_owned(),
                appended: false,
            }),
            Step::Console {
                commands: vec![
                    command("a", "one \\\n   two", &["out 1.5 ms", "..."]),
                    command("b", "three", &[]),
                ],
                measured: true,
            },
        ];
        assert_eq!(steps, wanted);
    }

    #[test]
    fn hosts_of_a_page_are_those_of_its_files_and_commands() {
        let steps = parse(PAGE).expect("a page");
        assert_eq!(hosts(&steps), BTreeSet::from(["a", "b"]));
        let page = "<!-- file c /etc/y -->\n```\n```\n";
        assert_eq!(hosts(&parse(page).expect("a page")), BTreeSet::from(["c"]));
    }

    #[test]
    fn page_with_a_mistake_is_refused() {
        for bad in [
            "<!-- flie a /etc/x -->\n```\n```\n",
            "<!-- measure -->\n```toml\n```\n",
            "<!-- measure -->\n",
            "```console\nprinted by nobody\n```\n",
            "```console\n```\n",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn output_agrees_but_for_numbers_and_widths() {
        let shown = ["a  1.5 ms", "...", "end"].map(str::to_owned);
        assert!(agrees("a 990 us\nmore\nend\n", &shown, false).is_ok());
        assert!(agrees("head\na 2 s\nend\n", &shown, false).is_ok());
        for bad in ["b 1 ms\nend\n", "a 1 ms\n", "end\na 1 ms\n", ""] {
            assert!(agrees(bad, &shown, false).is_err(), "{bad}");
        }
        assert!(agrees("a  1.5 ms\nend\n", &shown, true).is_ok());
        assert!(agrees("a 990 us\nend\n", &shown, true).is_err());
        assert!(agrees("on node2\n", &["on node1".to_owned()], false).is_err());
        assert!(agrees("(10.0.0.9/24)\n", &["(10.0.0.100/8)".to_owned()], false).is_ok());
        let next = ["a", "b"].map(str::to_owned);
        assert!(agrees("a\nx\nb\n", &next, false).is_err());
    }
}
