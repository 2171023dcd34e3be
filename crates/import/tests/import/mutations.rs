//! No text, however mangled, makes the importer panic or write invalid TOML. Every statement and
//! every setting of an accepted text is reported.

use proptest::prelude::*;

use heartbeat_import::{Imported, Inputs, Options, import};

use super::{golden::well_formed, input};

const CRM: &str = include_str!("../fixtures/knet.crm");
const OLD_CRM: &str = include_str!("../fixtures/oldstyle.crm");
const CONF: &str = include_str!("../fixtures/knet.conf");
const OLD_CONF: &str = include_str!("../fixtures/oldstyle.conf");
const XML: &str = include_str!("../fixtures/cluster.xml");

fn both(corosync: &str, resources: &str, keep_agents: bool) -> Option<Imported> {
    let inputs = Inputs {
        corosync: input("conf", corosync),
        resources: input("crm", resources),
    };
    let options = Options {
        interfaces: Vec::new(),
        keep_agents,
        ..Options::default()
    };
    match import(&inputs, &options) {
        Ok(imported) => Some(imported),
        Err(error) => {
            let text = if &*error.place.file == "conf" {
                corosync
            } else {
                resources
            };
            // Some bad ends are one past the last line.
            assert!(
                (1..=text.lines().count() + 1).contains(&error.place.line),
                "{error}"
            );
            None
        }
    }
}

/// All properties of an accepted input.
fn accounted(imported: &Imported, corosync: &str, statements: &[(usize, usize)]) {
    well_formed(imported);
    let text = &imported.text;
    assert!(
        !text.contains("has no result for it"),
        "a statement was forgotten:\n{text}"
    );
    let told = reported_lines(text);
    for (first, last) in statements {
        let crm = |(file, line): &(String, usize)| file == "crm" && (first..=last).contains(&line);
        assert!(
            told.iter().any(crm),
            "crm:{first} is not told of in\n{text}"
        );
    }
    for (number, line) in (1..).zip(corosync.lines()) {
        let line = line.trim();
        if line.starts_with('#') || !line.contains(':') {
            continue;
        }
        let conf = |(file, at): &(String, usize)| file == "conf" && *at == number;
        // Names, ids and addresses of nodes, and rings, are in the tables themselves.
        let in_table = ["ring", "name:", "nodeid:", "cluster_name:", "linknumber:"];
        let in_table = in_table.iter().any(|key| line.starts_with(key));
        assert!(
            in_table || told.iter().any(conf),
            "conf:{number} {line} is not told of in\n{text}"
        );
    }
}

/// Every place that the comments name: `crm:3`, `conf:4, 5`.
fn reported_lines(text: &str) -> Vec<(String, usize)> {
    let flat = text.replace("\n#   ", " ").replace("\n# ", " ");
    let mut told = Vec::new();
    for file in ["crm", "conf"] {
        for (at, _) in flat.match_indices(&format!("{file}:")) {
            let rest = &flat[at + file.len() + 1..];
            let list = rest.split([')', ':', ';']).next().unwrap_or_default();
            let lines = list
                .split(", ")
                .map_while(|number| number.trim().parse().ok());
            told.extend(lines.map(|line| (file.to_owned(), line)));
        }
    }
    told
}

/// First and last line of each statement of the shell, found without its parser.
fn statements(crm: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open: Option<usize> = None;
    for (number, line) in (1..).zip(crm.lines()) {
        let blank = line.trim().is_empty() || line.trim().starts_with('#');
        if open.is_none() && blank {
            continue;
        }
        let first = *open.get_or_insert(number);
        if !line.trim_end().ends_with('\\') {
            found.push((first, number));
            open = None;
        }
    }
    found.extend(open.map(|first| (first, crm.lines().count())));
    found
}

#[test]
fn every_statement_of_the_fixtures_is_told_of() {
    for (conf, crm) in [
        (CONF, CRM),
        (OLD_CONF, OLD_CRM),
        (CONF, OLD_CRM),
        (OLD_CONF, CRM),
    ] {
        for keep_agents in [false, true] {
            let imported = both(conf, crm, keep_agents).expect("good fixtures");
            accounted(&imported, conf, &statements(crm));
        }
    }
}

/// Each `name=value` without a counterpart is named in a remark, at any place.
#[test]
fn unknown_attribute_is_named_wherever_it_stands() {
    let lines: Vec<&str> = CRM.lines().collect();
    let plain = both(CONF, CRM, false).expect("a good fixture").text;
    let mut tried = 0;
    for (at, line) in lines.iter().enumerate() {
        let keyword = line.split_whitespace().next().unwrap_or_default();
        let whole = lines[..=at]
            .iter()
            .rev()
            .find(|line| !line.starts_with('\t'));
        let whole = whole.map_or("", |line| line);
        let mut words = whole.split_whitespace();
        let what = [words.next(), words.next()]
            .map(Option::unwrap_or_default)
            .join(" ");
        // A statement that is refused as a whole is refused with all its content, like a cloned
        // one.
        let refused = plain.contains(&format!(
            "# not translated: {} ",
            what.trim_end_matches(':')
        ));
        let cloned = ["primitive ping", "primitive drbd"].contains(&what.as_str());
        let rule = whole.starts_with("location") && line.starts_with('\t');
        if refused || cloned || rule || keyword.starts_with('#') {
            continue;
        }
        // The first line of several holds the name, after which no attribute may stand yet.
        let begins = !line.starts_with('\t');
        if begins && line.ends_with('\\') {
            continue;
        }
        let mangled = match line.strip_suffix('\\') {
            Some(line) => format!("{} zz{at}=1 \\", line.trim_end()),
            None => format!("{line} zz{at}=1"),
        };
        let mut text = lines.clone();
        text[at] = &mangled;
        let Some(imported) = both(CONF, &text.join("\n"), false) else {
            panic!("{mangled} is not accepted");
        };
        // Parameters of agents are kept, all others get a remark.
        assert!(
            imported.text.contains(&format!("zz{at}")),
            "{mangled}\n{}",
            imported.text
        );
        tried += 1;
    }
    assert!(tried > 40, "{tried}");
}

const WORDS: [&str; 40] = [
    "primitive",
    "group",
    "clone",
    "ms",
    "order",
    "colocation",
    "location",
    "property",
    "node",
    "rule",
    "a",
    "b",
    "c",
    "g",
    "Dummy",
    "IPaddr2",
    "systemd:x",
    "stonith:y",
    "inf:",
    "-inf:",
    "0:",
    "100:",
    "Mandatory:",
    "Optional:",
    "params",
    "meta",
    "op",
    "monitor",
    "start",
    "interval=10",
    "timeout=0",
    "(",
    ")",
    "#uname",
    "eq",
    "and",
    "x=\"y z\"",
    "target-role=Stopped",
    "\\\n",
    "\n",
];

const SHELL: [&str; 44] = [
    "pcs",
    "crm",
    "configure",
    "resource",
    "create",
    "constraint",
    "location",
    "colocation",
    "order",
    "add",
    "with",
    "then",
    "prefers",
    "avoids",
    "rule",
    "set",
    "setoptions",
    "group",
    "clone",
    "promotable",
    "primitive",
    "Dummy",
    "IPaddr2",
    "systemd:x",
    "a",
    "b",
    "c",
    "--group",
    "op",
    "monitor",
    "meta",
    "update",
    "delete",
    "cluster",
    "setup",
    "property",
    "node",
    "interval=10",
    "score=5",
    "x='y z'",
    "&&",
    "\n",
    "\n$ pcs resource",
    "\n# sudo crm configure",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        if let Some(imported) = both(&text, &text, true) {
            well_formed(&imported);
        }
        if let Some(imported) = both("", &text, false) {
            well_formed(&imported);
        }
    }

    /// Keywords in any order.
    #[test]
    fn no_soup_of_words_panics_or_is_forgotten(
        words in prop::collection::vec(0..WORDS.len(), 1..60),
    ) {
        let words: Vec<&str> = words.into_iter().map(|word| WORDS[word]).collect();
        let text = words.join(" ");
        if let Some(imported) = both("", &text, true) {
            accounted(&imported, "", &[]);
        }
    }

    /// A text of a shell is never refused, and each of its statements is reported.
    #[test]
    fn no_soup_of_a_shell_is_refused_or_forgotten(
        words in prop::collection::vec(0..SHELL.len(), 1..60),
    ) {
        let words: Vec<&str> = words.into_iter().map(|word| SHELL[word]).collect();
        let text = format!("crm configure node n\npcs {}", words.join(" "));
        let imported = both("", &text, false).expect("nothing is an error");
        accounted(&imported, "", &[(1, 1)]);
    }

    /// Lines of the fixtures left out, doubled and moved.
    #[test]
    fn whatever_lines_are_left_each_is_told_of(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()),
            1..10,
        ),
    ) {
        let mut blocks: Vec<String> = Vec::new();
        for line in CRM.lines() {
            match blocks.last_mut() {
                Some(block) if line.starts_with('\t') => { block.push('\n'); block.push_str(line); }
                _ => blocks.push(line.to_owned()),
            }
        }
        for (from, to, copy) in edits {
            let block = blocks[from.index(blocks.len())].clone();
            let to = to.index(blocks.len());
            if copy { blocks.insert(to, block) } else { blocks[to] = block }
        }
        let text = blocks.join("\n");
        if let Some(imported) = both(CONF, &text, true) {
            accounted(&imported, CONF, &statements(&text));
        }
    }

    /// Pieces of a fixture cut out or overwritten.
    #[test]
    fn no_mutated_file_panics(
        which in 0_usize..3,
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..40, 0_usize..12),
            1..6,
        ),
    ) {
        let pieces = ["", "{", "}", "\"", "=", "\n", "\\", "é", ": ", "<a>", "&lt;", "( a ) "];
        let mut text: Vec<char> = [CRM, CONF, XML][which].chars().collect();
        for (at, cut, piece) in edits {
            let start = at.index(text.len());
            let end = (start + cut).min(text.len());
            text.splice(start..end, pieces[piece].chars());
        }
        let text: String = text.into_iter().collect();
        let text = text.as_str();
        let (conf, resources) = if which == 1 { (text, CRM) } else { (CONF, text) };
        if let Some(imported) = both(conf, resources, true) {
            well_formed(&imported);
            prop_assert!(!imported.text.contains("has no result for it"), "{}", imported.text);
        }
    }
}
