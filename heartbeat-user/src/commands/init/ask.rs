//! Asks at a terminal for what the flags do not say. An empty answer takes the suggestion.

use std::io::{BufRead as _, Write as _, stdin, stdout};

use anyhow::{Context as _, Result, bail};

use super::{Init, host::Host, node, vip};
use crate::config::flags;

/// The number of times that a question is asked, before the command gives up.
const ATTEMPTS: usize = 5;

/// Completes the settings.
pub(super) fn complete(init: &mut Init, host: &Host) -> Result<()> {
    if init.cluster.is_none() {
        init.cluster = Some(ask("Name of the cluster", Some("cluster"), flags::name)?);
    }
    if init.members.is_empty() {
        let own = suggestion(host);
        println!(
            "The nodes that may serve, the preferred one first, as NAME=ADDRESS with blanks \
             between.\nThree votes are needed: three nodes, or two and a witness. This host is \
             {own}."
        );
        init.members = ask("Nodes", None, |text| list(text, node))?;
    }
    if init.witnesses.is_empty() && init.members.len() == 2 {
        init.witnesses = ask("Witness, which only votes, as NAME=ADDRESS", None, |text| {
            list(text, node)
        })?;
    }
    if init.vips.is_empty() {
        let question = "Virtual addresses, as service=10.0.0.100/24; `none` for none yet";
        init.vips = ask(question, Some("none"), |text| match text {
            "none" => Ok(Vec::new()),
            text => list(text, vip),
        })?;
    }
    Ok(())
}

/// This host as a node: its name and its first address.
fn suggestion(host: &Host) -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    let name = name.split('.').next().unwrap_or_default();
    let mut own = host
        .interfaces
        .iter()
        .flat_map(|interface| &interface.addresses);
    match own.next() {
        Some(own) => format!("{name}={}", own.address),
        None => format!("{name}, without an address"),
    }
}

/// Reads a list with blanks or commas between its items; at least one.
fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let items = text.split([' ', ',', '\t']).filter(|word| !word.is_empty());
    let items = items.map(|word| item(word).map_err(|why| format!("{word}: {why}")));
    let items: Vec<T> = items.collect::<Result<_, _>>()?;
    match items.is_empty() {
        true => Err("at least one is needed".to_owned()),
        false => Ok(items),
    }
}

fn ask<T>(
    question: &str,
    suggestion: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T> {
    for _ in 0..ATTEMPTS {
        match suggestion {
            Some(suggestion) => print!("{question} [{suggestion}]: "),
            None => print!("{question}: "),
        }
        stdout().flush().context("could not ask")?;
        let mut line = String::new();
        let read_bytes = stdin().lock().read_line(&mut line);
        if read_bytes.context("could not read the answer")? == 0 {
            bail!("no answer; nothing was written");
        }
        let answer = match (line.trim(), suggestion) {
            ("", Some(suggestion)) => suggestion,
            (answer, _) => answer,
        };
        match read(answer) {
            Ok(value) => return Ok(value),
            Err(why) => println!("  {why}"),
        }
    }
    bail!("no usable answer in {ATTEMPTS} attempts; nothing was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_has_blanks_or_commas_between_its_items() {
        for text in [
            "a=10.0.0.1 b=10.0.0.2",
            "a=10.0.0.1, b=10.0.0.2",
            " a=10.0.0.1,b=10.0.0.2 ",
        ] {
            let nodes = list(text, node).unwrap();
            let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
            assert_eq!(names, ["a", "b"], "{text}");
        }
        assert!(list("", node).unwrap_err().contains("at least one"));
        let error = list("a=10.0.0.1 b", node).unwrap_err();
        assert!(
            error.starts_with("b: expected a name and an address"),
            "{error}"
        );
    }
}
