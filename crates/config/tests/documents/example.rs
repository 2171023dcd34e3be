//! `docs/heartbeat.toml.example`: a cluster in which every setting stands, each with its
//! documentation where it stands first. `example.toml` is the cluster; the settings that it leaves
//! out follow from the rows, as comments.

use std::collections::HashSet;

use heartbeat_config::settings::{DefaultInfo, SettingInfo, TableInfo};

const CLUSTER: &str = include_str!("example.toml");

const ABOUT: &str = "\
# The configuration of the heartbeat agent: /etc/heartbeat/heartbeat.toml
#
# One file can serve all nodes: each finds itself in it by its host name. Check it with
# `heartbeat check` before the agent reads it. Unknown fields are errors. Durations are a whole
# number and a unit, in quotes: \"500us\", \"10ms\", \"2s\", \"1min\". Settings that are commented out
# show their default, where the comment does not name another. docs/reference/config.md is the same
# as tables.
";

/// One table of the cluster.
struct Block {
    header: &'static str,
    lines: Vec<&'static str>,
}

impl Block {
    fn line(&self, name: &str) -> Option<&'static str> {
        let mut lines = self.lines.iter().copied();
        lines.find(|line| key(line) == name)
    }

    /// Whether a setting that only some types have fits the type of this table.
    fn fits(&self, only: &[&str]) -> bool {
        let named = ["type", "source"].iter().find_map(|key| self.line(key));
        let value = named.and_then(|line| line.split('"').nth(1));
        let class = value.and_then(|value| value.split(':').next());
        only.is_empty() || class.is_some_and(|class| only.contains(&class))
    }
}

fn key(line: &str) -> &str {
    line.split(" = ").next().unwrap_or_default()
}

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in CLUSTER.lines().filter(|line| !line.is_empty()) {
        match (line.starts_with('['), blocks.last_mut()) {
            (true, _) | (false, None) => blocks.push(Block {
                header: line,
                lines: Vec::new(),
            }),
            (false, Some(block)) => block.lines.push(line),
        }
    }
    blocks
}

pub(super) fn text(tables: &[TableInfo]) -> String {
    let blocks = blocks();
    let mut text = ABOUT.to_owned();
    let mut documented: HashSet<(&str, &str)> = HashSet::new();
    for (at, block) in blocks.iter().enumerate() {
        let find = |table: &&TableInfo| table.header == block.header;
        let table = tables.iter().find(find);
        let table = table.expect("a table of example.toml has rows");
        let is_first = blocks[..at].iter().all(|one| one.header != block.header);
        text += "\n";
        if is_first {
            text += &comment(&table.doc);
        }
        text += block.header;
        text += "\n";
        let mut is_below_header = true;
        let mut rest = block.lines.clone();
        for setting in &table.settings {
            let given = block.line(setting.name);
            rest.retain(|line| Some(*line) != given);
            let is_new = !documented.contains(&(table.header, setting.name));
            let here = || is_home(setting, block, &blocks, is_first);
            if given.is_none() && !(is_new && here()) {
                continue;
            }
            if is_new {
                documented.insert((table.header, setting.name));
                if !is_below_header {
                    text += "\n";
                }
                text += &comment(&about(setting, given));
            }
            is_below_header = false;
            text += &given.map_or_else(|| commented(setting), str::to_owned);
            text += "\n";
        }
        assert_eq!(rest, [""; 0], "unknown in {}", block.header);
    }
    for table in tables {
        for setting in &table.settings {
            let is = documented.contains(&(table.header, setting.name));
            assert!(is, "{} {} stands nowhere", table.header, setting.name);
        }
    }
    text
}

/// Whether a setting that no table of this kind gives is to be shown in `block`: the first that it
/// fits.
fn is_home(setting: &SettingInfo, block: &Block, blocks: &[Block], is_first: bool) -> bool {
    let mut alike = blocks.iter().filter(|one| one.header == block.header);
    if alike.clone().any(|one| one.line(setting.name).is_some()) {
        return false;
    }
    match alike.any(|one| one.fits(setting.only)) {
        true => block.fits(setting.only),
        false => is_first,
    }
}

/// The documentation of a setting, which the cluster has as `given`.
fn about(setting: &SettingInfo, given: Option<&str>) -> String {
    let mut about = vec![setting.doc.clone()];
    if !setting.only.is_empty() {
        about.push(format!("For {} only.", super::listed(setting.only)));
    }
    if setting.takes != "`true` or `false`" {
        about.push(format!("Takes {}.", setting.takes));
    }
    match &setting.default {
        DefaultInfo::Required => {}
        DefaultInfo::Is(value) => {
            let shown = format!("{} = {value}", setting.name);
            if given.is_some_and(|given| given != shown) {
                about.push(format!("Default: {value}."));
            }
        }
        DefaultInfo::Follows(what) | DefaultInfo::Without(what) => {
            about.push(format!("Default: {what}."));
        }
    }
    about.join(" ")
}

/// The setting as a comment. A space in front says that the value is not the default.
fn commented(setting: &SettingInfo) -> String {
    let name = setting.name;
    match &setting.default {
        DefaultInfo::Is(value) => format!("#{name} = {value}"),
        DefaultInfo::Follows(_) => format!("#{name} = {}", setting.example),
        DefaultInfo::Required | DefaultInfo::Without(_) => {
            format!("# {name} = {}", setting.example)
        }
    }
}

/// `text` in lines of at most 100 columns.
fn comment(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &format!("{line}\n");
            line = "#".to_owned();
        }
        line += &format!(" {word}");
    }
    lines + &line + "\n"
}
