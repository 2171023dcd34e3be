//! `docs/reference/config.md`: all settings as tables.

use heartbeat_config::settings::{DefaultInfo, SettingInfo, TableInfo};

const ABOUT: &str = "\
# Settings

All settings of `/etc/heartbeat/heartbeat.toml`, by their tables. The page is generated from
`crates/config/src/settings/`, as is [heartbeat.toml.example](../heartbeat.toml.example), which
shows them in a file. `UPDATE=1 cargo test -p heartbeat-config --test documents` writes both anew.

- An unknown field is an error.
- A duration is a whole number and a unit, in quotes: `\"500us\"`, `\"10ms\"`, `\"2s\"`, `\"1min\"`.
- A table in two brackets may stand any number of times.
- *Reload* says what `heartbeat reload` does about a changed value.
- *All nodes* says whether all nodes must have the same value. The status names a node whose
  configuration differs in such a setting.
";

pub(super) fn text(tables: &[TableInfo]) -> String {
    let tables: String = tables.iter().map(table).collect();
    format!("{ABOUT}{tables}")
}

fn table(table: &TableInfo) -> String {
    let rows: String = table.settings.iter().map(row).collect();
    format!(
        "\n## `{}`\n\n{}\n\n\
         | setting | meaning | takes | default | reload | all nodes |\n\
         | --- | --- | --- | --- | --- | --- |\n{rows}",
        table.header,
        wrapped(&table.doc)
    )
}

fn row(setting: &SettingInfo) -> String {
    let default = match &setting.default {
        DefaultInfo::Required => "required".to_owned(),
        DefaultInfo::Is(value) => format!("`{value}`"),
        DefaultInfo::Follows(what) | DefaultInfo::Without(what) => (*what).to_owned(),
    };
    let only = match setting.only {
        [] => String::new(),
        only => format!(" For {} only.", super::listed(only)),
    };
    format!(
        "| `{}` | {}{only} | {} | {default} | {} | {} |\n",
        setting.name,
        setting.doc,
        setting.takes,
        setting.reload,
        if setting.agreed { "yes" } else { "no" }
    )
}

/// `text` in lines of at most 100 columns.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
