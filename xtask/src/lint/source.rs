//! The Rust sources of the tree, as tokens, and its documents.
//!
//! Tokens suffice for every check: they have no comments and no strings in them, even inside
//! macros, and their braces are matched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{document::Document, finding::Finding};

/// One Rust file.
#[derive(Debug)]
pub(super) struct Source {
    /// The path from the root of the tree.
    pub path: PathBuf,
    pub text: String,
    pub tokens: Vec<TokenTree>,
}

impl Source {
    pub(super) fn parse(path: PathBuf, text: String) -> Result<Self> {
        // The error cannot cross threads, so it is passed as text.
        match text.parse::<TokenStream>() {
            Ok(tokens) => Ok(Self {
                path,
                text,
                tokens: tokens.into_iter().collect(),
            }),
            Err(error) => bail!("{} is no Rust: {error}", path.display()),
        }
    }

    pub(super) fn finding(&self, line: usize, what: String) -> Finding {
        let path = self.path.clone();
        Finding { path, line, what }
    }
}

/// The input of the checks.
#[derive(Debug)]
pub(super) struct Tree {
    pub root: PathBuf,
    /// The sources in the order of their paths.
    pub sources: Vec<Source>,
    /// The Markdown files, in the same order.
    pub documents: Vec<Document>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut paths = Vec::new();
        collect(root, &mut paths)?;
        paths.sort();
        let mut tree = Self {
            root: root.to_owned(),
            sources: Vec::new(),
            documents: Vec::new(),
        };
        for path in paths {
            let text = read(&path)?;
            tree.add(path.strip_prefix(root).unwrap_or(&path).to_owned(), text)?;
        }
        Ok(tree)
    }

    fn add(&mut self, path: PathBuf, text: String) -> Result<()> {
        if has_extension(&path, "md") {
            self.documents.push(Document { path, text });
        } else {
            self.sources.push(Source::parse(path, text)?);
        }
        Ok(())
    }

    pub(super) fn under(&self, folder: &str) -> impl Iterator<Item = &Source> {
        let inside = move |source: &&Source| source.path.starts_with(folder);
        self.sources.iter().filter(inside)
    }
}

pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|ext| ext == extension)
}

/// Collects sources and documents, except hidden and built ones.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_folder = entry.file_type()?.is_dir();
        if is_folder && name != "target" && !name.as_encoded_bytes().starts_with(b".") {
            collect(&entry.path(), paths)?;
        } else if !is_folder
            && ["rs", "md"]
                .iter()
                .any(|ext| has_extension(&entry.path(), ext))
        {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// The line of a token, from 1.
pub(super) fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

pub(super) fn is_ident(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if *ident == word)
}

pub(super) fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// The identifier at `at`, without the `r#` of a raw one.
pub(super) fn ident(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at) {
        Some(TokenTree::Ident(ident)) => {
            Some(ident.to_string().trim_start_matches("r#").to_owned())
        }
        _ => None,
    }
}

/// The tokens between the delimiters of the group at `at`.
pub(super) fn group(
    tokens: &[TokenTree],
    at: usize,
    delimiter: Delimiter,
) -> Option<Vec<TokenTree>> {
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
            Some(group.stream().into_iter().collect())
        }
        _ => None,
    }
}

/// If an attribute begins at `at`: the index after it, and whether its item exists only in tests.
pub(super) fn attribute(tokens: &[TokenTree], at: usize) -> Option<(usize, bool)> {
    if !is_punct(tokens.get(at), '#') {
        return None;
    }
    let start = at + 1 + usize::from(is_punct(tokens.get(at + 1), '!'));
    let content = group(tokens, start, Delimiter::Bracket)?;
    Some((start + 1, is_for_tests(&content)))
}

/// Whether an attribute's content is `cfg(test)` or `cfg(all(test, …))`.
fn is_for_tests(content: &[TokenTree]) -> bool {
    let condition = group(content, 1, Delimiter::Parenthesis).unwrap_or_default();
    let all = group(&condition, 1, Delimiter::Parenthesis).unwrap_or_default();
    is_ident(content.first(), "cfg")
        && (condition.len() == 1 && is_ident(condition.first(), "test")
            || is_ident(condition.first(), "all")
                && all.iter().any(|token| is_ident(Some(token), "test")))
}

/// The index after the item that begins at `at`, perhaps with more attributes.
pub(super) fn item_end(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some((end, _)) = attribute(tokens, at) {
        at = end;
    }
    let until_semicolon = (at..at + 3).any(|at| is_ident(tokens.get(at), "use"));
    while at < tokens.len() {
        let is_body = group(tokens, at, Delimiter::Brace).is_some() && !until_semicolon;
        if is_body || is_punct(tokens.get(at), ';') {
            return at + 1;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
pub(super) mod made_up {
    //! Small trees for the tests of the checks.

    use super::*;

    pub(in crate::lint) fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree {
            root: PathBuf::from("/made/up"),
            sources: Vec::new(),
            documents: Vec::new(),
        };
        for (path, text) in files {
            tree.add(path.into(), (*text).to_owned()).unwrap();
        }
        tree
    }

    pub(in crate::lint) fn shown(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<TokenTree> {
        Source::parse("a.rs".into(), text.to_owned())
            .unwrap()
            .tokens
    }

    #[test]
    fn attribute_of_a_test_item_is_recognised() {
        for (text, expected) in [
            ("#[cfg(test)] mod a;", Some(true)),
            ("#[cfg(all(test, unix))] mod a;", Some(true)),
            ("#[cfg(any(test, unix))] mod a;", Some(false)),
            ("#![cfg(test)]", Some(true)),
            ("#[inline(always)] fn a() {}", Some(false)),
            ("mod a;", None),
        ] {
            let found = attribute(&tokens(text), 0).map(|(_, for_tests)| for_tests);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn item_ends_with_its_body_or_its_semicolon() {
        for text in [
            "#[a] #[b] mod tests { fn x() {} }",
            "use a::{b, c};",
            "pub(crate) use a::{b, c};",
            "mod tests;",
            "fn f(a: u8) -> u8 { a }",
        ] {
            let tokens = tokens(&format!("{text} struct Next;"));
            let end = item_end(&tokens, 0);
            assert!(is_ident(tokens.get(end), "struct"), "{text}");
        }
    }
}
