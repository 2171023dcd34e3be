//! Every relative link in a document leads to a file, and to a heading or an anchor in it.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{
    document::{Document, Part},
    finding::Finding,
    source::Tree,
};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    judge(tree, &|path| tree.root.join(path).exists())
}

fn judge(tree: &Tree, exists: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for document in &tree.documents {
        for (line, target) in targets(document) {
            if let Some(problem) = problem(tree, document, target, exists) {
                findings.push(document.finding(line, format!("link to {target}: {problem}")));
            }
        }
    }
    findings
}

/// Targets of the relative links outside code blocks, each with its line.
fn targets(document: &Document) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    for line in document.lines().filter(|line| line.part != Part::Code) {
        let links = line.text.split("](").skip(1);
        let links = links.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
        let relative = links.filter(|target| !target.contains(':'));
        targets.extend(relative.map(|target| (line.number, target)));
    }
    targets
}

fn problem(
    tree: &Tree,
    document: &Document,
    target: &str,
    exists: &dyn Fn(&Path) -> bool,
) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        document.path.clone()
    } else {
        resolve(document.path.parent().unwrap_or(Path::new("")), path)
    };
    if !exists(&path) {
        return Some(format!("{} does not exist", path.display()));
    }
    let other = tree.documents.iter().find(|other| other.path == path)?;
    let is_lost = !anchor.is_empty() && !anchors(other).contains(anchor);
    is_lost.then(|| format!("{} has no heading for it", path.display()))
}

/// `path` relative to `folder`, without `..`.
pub(super) fn resolve(folder: &Path, path: &str) -> PathBuf {
    let mut resolved = folder.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            _ => resolved.push(part),
        }
    }
    resolved
}

/// Anchors of the headings, by the rules of GitHub, and of `<a id="…">`.
fn anchors(document: &Document) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in document.lines() {
        match line.part {
            Part::Heading => {
                anchors.insert(slug(line.text.trim_start_matches('#').trim()));
            }
            Part::Prose | Part::Table => {
                let ids = line.text.split("<a id=\"").skip(1);
                anchors.extend(ids.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
            }
            Part::Code => {}
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter(kept);
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::made_up::{shown, tree};

    fn found(link: &str) -> Vec<String> {
        let text = format!("See [it]({link}).\n");
        let other = "# Other\n\n## Why, and how\n\n1. <a id=\"rule-1\"></a>First.\n";
        let tree = tree(&[("docs/design/a.md", &text), ("docs/b.md", other)]);
        let paths = ["docs/design/a.md", "docs/b.md", "src"];
        shown(&judge(&tree, &|path| {
            paths.iter().any(|known| Path::new(known) == path)
        }))
    }

    #[test]
    fn link_to_a_file_heading_or_anchor_is_good() {
        for link in [
            "../b.md",
            "../b.md#why-and-how",
            "../b.md#rule-1",
            "../../src",
            "https://example.org/x.md",
        ] {
            assert_eq!(found(link), [""; 0], "{link}");
        }
    }

    #[test]
    fn link_without_a_file_is_found() {
        let expected = "docs/design/a.md:1: link to c.md: docs/design/c.md does not exist";
        assert_eq!(found("c.md"), [expected]);
    }

    #[test]
    fn link_without_a_heading_is_found() {
        let expected = "docs/design/a.md:1: link to ../b.md#how: docs/b.md has no heading for it";
        assert_eq!(found("../b.md#how"), [expected]);
        let expected = "docs/design/a.md:1: link to #here: docs/design/a.md has no heading for it";
        assert_eq!(found("#here"), [expected]);
    }

    #[test]
    fn code_holds_no_links() {
        let tree = tree(&[("a.md", "```\n[a](b.md)\n```\n")]);
        assert_eq!(judge(&tree, &|_| false), []);
    }
}
