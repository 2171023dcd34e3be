//! heartbeat.toml(5): all settings, from their rows.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::config::settings::{self, DefaultInfo, SettingInfo, TableInfo};

pub(super) fn page() -> String {
    let mut page = Roff::new();
    page.control(
        "TH",
        ["heartbeat.toml", "5", "", "heartbeat", super::MANUAL],
    );
    section(&mut page, "NAME");
    page.text([roman("heartbeat.toml - the configuration of heartbeat")]);
    section(&mut page, "DESCRIPTION");
    page.text([
        roman("The agent reads "),
        italic("/etc/heartbeat/heartbeat.toml"),
        roman(
            ", a file in the TOML format. An unknown setting is an error. A duration is a whole \
             number and a unit, in quotes: \"500us\", \"10ms\", \"2s\", \"1min\". A table in two \
             brackets may occur any number of times. heartbeat check(8) shows the effect of a \
             file, and heartbeat reload(8) applies a changed one.",
        ),
    ]);
    for table in settings::tables() {
        describe(&mut page, &table);
    }
    section(&mut page, "SEE ALSO");
    page.text([bold("heartbeat"), roman("(8)")]);
    page.to_roff()
}

fn section(page: &mut Roff, title: &str) {
    page.control("SH", [title]);
}

fn describe(page: &mut Roff, table: &TableInfo) {
    section(page, table.header);
    page.text([roman(table.doc.as_str())]);
    for setting in &table.settings {
        page.control("TP", []);
        page.text([bold(setting.name)]);
        page.text([roman(setting.doc.as_str())]);
        for (label, value) in facts(setting) {
            page.control("br", []);
            page.text([roman(format!("{label}: ")), value]);
        }
    }
}

fn facts(setting: &SettingInfo) -> Vec<(&'static str, Inline)> {
    let default = match &setting.default {
        DefaultInfo::Required => roman("none, it is required"),
        DefaultInfo::Is(value) => bold(value.as_str()),
        DefaultInfo::Follows(what) | DefaultInfo::Without(what) => roman(*what),
    };
    let mut facts = vec![
        ("Takes", roman(setting.takes.as_str())),
        ("Default", default),
    ];
    if !setting.only.is_empty() {
        facts.push(("Only for", roman(setting.only.join(", "))));
    }
    facts.push(("Reload", roman(setting.reload)));
    let nodes = match setting.agreed {
        true => "the same on all nodes",
        false => "may differ between nodes",
    };
    facts.push(("Nodes", roman(nodes)));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_every_table_and_setting() {
        let page = page();
        for table in settings::tables() {
            // troff escapes hyphens; headers have none.
            assert!(
                page.contains(&format!(".SH {}", table.header)),
                "{}",
                table.header
            );
            for setting in &table.settings {
                let name = setting.name.replace('-', "\\-");
                assert!(page.contains(&format!("\\fB{name}\\fR")), "{name}");
            }
        }
    }
}
