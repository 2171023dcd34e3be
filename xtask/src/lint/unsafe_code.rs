//! `unsafe` is used only in the places that are listed for it.

use proc_macro2::TokenTree;

use super::{
    finding::Finding,
    source::{Source, Tree, is_ident, line},
};

/// The places for `unsafe` code.
const HOMES: &[(&str, &str)] = &[
    ("heartbeat-ebpf/", "kernel programs touch packets and maps"),
    ("crates/sys/", "what std and nix do not offer of the system"),
    ("crates/dataplane/", "memory that the kernel shares"),
    (
        "crates/common/src/maps/",
        "says that map values are plain data",
    ),
    (
        "crates/common/src/exits.rs",
        "says that map values are plain data",
    ),
    (
        "tests/",
        "the rig: namespaces, descriptors, test runs of programs",
    ),
];

/// Further places with `unsafe`, and its purpose there. An entry without `unsafe` must be removed.
const ELSEWHERE: &[(&str, &str)] = &[
    ("heartbeat-user/tests/", "rigs of these tests"),
    ("xtask/src/root.rs", "geteuid"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    judge(tree, HOMES, ELSEWHERE)
}

fn judge(tree: &Tree, homes: &[(&str, &str)], elsewhere: &[(&str, &str)]) -> Vec<Finding> {
    let (mut findings, mut used) = (Vec::new(), Vec::new());
    for source in &tree.sources {
        let Some(line) = first(&source.tokens) else {
            continue;
        };
        let lies_in = |(place, _): &&(&str, &str)| covers(place, source);
        if let Some((place, _)) = elsewhere.iter().find(lies_in) {
            used.push(*place);
        } else if !homes.iter().any(|home| lies_in(&home)) {
            findings.push(source.finding(line, OUTSIDE.to_owned()));
        }
    }
    let stale = elsewhere.iter().filter(|(place, _)| !used.contains(place));
    findings.extend(stale.map(|(place, _)| gone(place)));
    findings
}

const OUTSIDE: &str = "`unsafe` outside its homes: move it into crates/sys or crates/dataplane, \
                       behind a safe function";

fn gone(place: &str) -> Finding {
    Finding {
        path: file!().into(),
        line: 1,
        what: format!("no `unsafe` is left in {place}: delete its entry of ELSEWHERE"),
    }
}

/// Whether `place`, a file or a folder with a slash at its end, contains this file.
fn covers(place: &str, source: &Source) -> bool {
    match place.strip_suffix('/') {
        Some(folder) => source.path.starts_with(folder),
        None => source.path.as_os_str() == place,
    }
}

/// The line of the first `unsafe`, at any depth.
fn first(tokens: &[TokenTree]) -> Option<usize> {
    tokens.iter().find_map(|token| match token {
        TokenTree::Group(group) => first(&group.stream().into_iter().collect::<Vec<_>>()),
        token if is_ident(Some(token), "unsafe") => Some(line(token)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::{shown, tree};

    const SYS: &[(&str, &str)] = &[("crates/sys/", "system calls")];

    #[test]
    fn unsafe_outside_its_homes_is_found_with_its_line() {
        let tree = tree(&[
            ("crates/core/src/a.rs", "fn a() {\n    unsafe { b() }\n}"),
            ("crates/sys/src/lib.rs", "fn a() { unsafe { b() } }"),
        ]);
        let found = shown(&judge(&tree, SYS, &[]));
        assert_eq!(found, [format!("crates/core/src/a.rs:2: {OUTSIDE}")]);
    }

    #[test]
    fn unsafe_in_comments_strings_and_names_is_none() {
        let text = "// unsafe\n/* unsafe */ #![forbid(unsafe_code)]\nconst A: &str = \"unsafe\";";
        let tree = tree(&[("crates/core/src/a.rs", text)]);
        assert_eq!(judge(&tree, SYS, &[]), []);
    }

    #[test]
    fn unsafe_inside_a_macro_is_found() {
        let text = "macro_rules! m {\n() => {\nunsafe impl A for B {}\n} }";
        let tree = tree(&[("crates/core/src/a.rs", text)]);
        assert_eq!(judge(&tree, SYS, &[])[0].line, 3);
    }

    #[test]
    fn entry_without_unsafe_must_go() {
        let tree = tree(&[("xtask/src/root.rs", "unsafe fn a() {}")]);
        let elsewhere = [("xtask/src/root.rs", "geteuid"), ("xtask/src/b.rs", "c")];
        let found = judge(&tree, SYS, &elsewhere);
        assert_eq!(found, [gone("xtask/src/b.rs")]);
    }
}
