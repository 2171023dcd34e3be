//! Large structs and long functions of the core have a comment with the reason for their size.
//!
//! Their size is a sign of a concept without a name. The core decides, so it has to be easy to
//! read.

use proc_macro2::{Delimiter, TokenTree};

use super::{
    finding::Finding,
    source::{Source, Tree, attribute, group, ident, is_ident, is_punct, item_end, line},
};

const FOLDER: &str = "crates/core/src";
const MAX_FIELDS: usize = 15;
const MAX_LINES: usize = 70;
/// The marker of a reason, on a line of its own above the item, followed by a colon and the reason.
const ALLOW: &str = "// lint: allow ";

/// A struct or function above the limit.
#[derive(Debug)]
struct Large {
    line: usize,
    what: String,
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let sources = tree.under(FOLDER);
    let findings = |source: &Source| {
        let finding = |large: Large| source.finding(large.line, large.what);
        large(source).into_iter().map(finding).collect::<Vec<_>>()
    };
    sources.flat_map(findings).collect()
}

fn large(source: &Source) -> Vec<Large> {
    let mut all = Vec::new();
    walk(&source.tokens, &mut all);
    all.retain(|large| !is_allowed(&source.text, large.line));
    all
}

/// Finds large items at any depth, except those that exist only in tests.
fn walk(tokens: &[TokenTree], all: &mut Vec<Large>) {
    let mut at = 0;
    while at < tokens.len() {
        match attribute(tokens, at) {
            Some((end, true)) => at = item_end(tokens, end),
            Some((end, false)) => at = end,
            None => {
                all.extend(wide_struct(tokens, at).or_else(|| long_function(tokens, at)));
                if let TokenTree::Group(group) = &tokens[at] {
                    walk(&group.stream().into_iter().collect::<Vec<_>>(), all);
                }
                at += 1;
            }
        }
    }
}

fn wide_struct(tokens: &[TokenTree], at: usize) -> Option<Large> {
    if !is_ident(tokens.get(at), "struct") {
        return None;
    }
    let name = ident(tokens, at + 1)?;
    let body = body(tokens, at)?;
    let fields = fields(&group(tokens, body, Delimiter::Brace)?);
    (fields > MAX_FIELDS).then(|| Large {
        what: format!(
            "struct {name} has {fields} fields, more than {MAX_FIELDS}: find the concept that is \
             missing, or write `{ALLOW}{fields} fields: REASON` above it"
        ),
        line: line(&tokens[at]),
    })
}

fn long_function(tokens: &[TokenTree], at: usize) -> Option<Large> {
    if !is_ident(tokens.get(at), "fn") {
        return None;
    }
    let name = ident(tokens, at + 1)?;
    let start = line(&tokens[at]);
    let end = tokens[body(tokens, at)?].span().end().line;
    let lines = end - start + 1;
    (lines > MAX_LINES).then(|| Large {
        what: format!(
            "function {name} has {lines} lines, more than {MAX_LINES}: divide it, or write \
             `{ALLOW}{lines} lines: REASON` above it"
        ),
        line: start,
    })
}

/// The index of the braces of the item that begins at `at`, if it has any.
fn body(tokens: &[TokenTree], at: usize) -> Option<usize> {
    let end = item_end(tokens, at) - 1;
    group(tokens, end, Delimiter::Brace).map(|_| end)
}

/// Number of fields between a struct's braces: each has one colon that is no half of a `::`, before
/// its type.
fn fields(tokens: &[TokenTree]) -> usize {
    let is_field = |at: &usize| {
        ident(tokens, *at).is_some()
            && is_punct(tokens.get(at + 1), ':')
            && !is_punct(tokens.get(at + 2), ':')
            && !is_punct(at.checked_sub(1).and_then(|at| tokens.get(at)), ':')
    };
    (0..tokens.len()).filter(is_field).count()
}

/// Whether the comments and attributes directly above `line` have a reason.
fn is_allowed(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let above = lines[..line - 1].iter().rev();
    let mut above = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
    above.any(|line| {
        let rest = line
            .strip_prefix(ALLOW)
            .and_then(|rest| rest.split_once(':'));
        rest.is_some_and(|(_, reason)| !reason.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::tree;

    const PATH: &str = "crates/core/src/a.rs";

    fn wide(before: &str, count: usize) -> String {
        let fields: String = (0..count)
            .map(|n| format!("    /// One.\n    pub a{n}: std::vec::Vec<u8>,\n"))
            .collect();
        format!("{before}pub struct Wide {{\n{fields}}}\n")
    }

    fn long(before: &str, lines: usize) -> String {
        let body = "    a();\n".repeat(lines - 2);
        format!("impl A {{\n{before}fn long<T>(b: T) -> [u8; 2] {{\n{body}}}\n}}\n")
    }

    fn found(text: &str) -> Vec<(usize, String)> {
        let findings = check(&tree(&[(PATH, text)]));
        let brief = |finding: Finding| {
            let what = finding.what.split_once(':').unwrap().0.to_owned();
            (finding.line, what)
        };
        findings.into_iter().map(brief).collect()
    }

    #[test]
    fn struct_with_too_many_fields_is_found() {
        assert_eq!(found(&wide("", 15)), []);
        let expected = "struct Wide has 16 fields, more than 15".to_owned();
        assert_eq!(found(&wide("#[derive(Debug)]\n", 16)), [(2, expected)]);
    }

    #[test]
    fn function_with_too_many_lines_is_found() {
        assert_eq!(found(&long("", 70)), []);
        let expected = "function long has 71 lines, more than 70".to_owned();
        assert_eq!(found(&long("", 71)), [(2, expected)]);
    }

    #[test]
    fn item_with_a_reason_beside_it_is_allowed() {
        let reason = "// lint: allow 16 fields: one row of a table.\n#[derive(Debug)]\n";
        assert_eq!(found(&wide(reason, 16)), []);
        assert_eq!(
            found(&long("// lint: allow 71 lines: one table.\n", 71)),
            []
        );
        assert_eq!(found(&wide("// lint: allow 16 fields:\n", 16)).len(), 1);
        assert_eq!(
            found(&wide("// lint: allow 16 fields: far.\n\n", 16)).len(),
            1
        );
    }

    #[test]
    fn tests_and_other_crates_may_be_larger() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}\n}}\n", long("", 99));
        assert_eq!(found(&tests), []);
        let other = wide("", 20);
        assert_eq!(check(&tree(&[("crates/b/src/a.rs", &other)])), []);
    }
}
