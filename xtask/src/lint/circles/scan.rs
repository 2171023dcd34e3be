//! The content of one module: its children, imports, definitions, and the paths in its code.

use std::collections::HashSet;

use proc_macro2::{Delimiter, TokenTree};

use crate::lint::source::{attribute, group, ident, is_ident, is_punct, item_end, line};

/// A name or path, and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub path: Vec<String>,
    pub line: usize,
}

/// A name that a `use` brings into a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub named: Named,
    /// The name in this module; `None` for all names of the path's module.
    pub alias: Option<String>,
    /// Whether the name is re-exported.
    pub is_public: bool,
}

/// A module that is declared inside this one.
#[derive(Debug)]
pub(super) struct Child {
    pub name: String,
    /// The tokens of the module, if it has no file of its own.
    pub body: Option<Vec<TokenTree>>,
}

#[derive(Debug, Default)]
pub(super) struct Scan {
    pub children: Vec<Child>,
    pub imports: Vec<Import>,
    /// Names of the items that the module itself defines.
    pub defined: HashSet<String>,
    /// Paths of at least two parts in the code.
    pub paths: Vec<Named>,
    /// All words of the code, outside `use`.
    pub words: HashSet<String>,
}

impl Scan {
    /// Reads a module, without items that exist only in tests.
    pub(super) fn of(tokens: &[TokenTree]) -> Self {
        let mut scan = Self::default();
        scan.walk(tokens);
        scan.note_definitions(tokens);
        scan
    }

    fn walk(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            at = match attribute(tokens, at) {
                Some((end, true)) => item_end(tokens, end),
                Some((end, false)) => end,
                None => self.item(tokens, at),
            };
        }
    }

    /// Reads the item at `at`, and returns the index after it.
    fn item(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        if let TokenTree::Group(group) = &tokens[at] {
            self.walk(&group.stream().into_iter().collect::<Vec<_>>());
            return at + 1;
        }
        // The `use` of `impl Trait + use<'a>` is no import.
        if is_ident(tokens.get(at), "use") && !is_punct(tokens.get(at + 1), '<') {
            return self.import(tokens, at);
        }
        if is_ident(tokens.get(at), "mod")
            && let Some(child) = child(tokens, at)
        {
            self.children.push(child);
            return item_end(tokens, at);
        }
        self.path(tokens, at)
    }

    fn note_definitions(&mut self, tokens: &[TokenTree]) {
        const KEYWORDS: [&str; 8] = [
            "fn", "struct", "enum", "union", "trait", "type", "const", "static",
        ];
        for at in 0..tokens.len() {
            if KEYWORDS.iter().any(|word| is_ident(tokens.get(at), word)) {
                self.defined.extend(ident(tokens, at + 1));
            }
        }
    }

    /// Reads the word or the path at `at`.
    fn path(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let Some(first) = ident(tokens, at) else {
            return at + 1;
        };
        self.words.insert(first.clone());
        let (path, end) = path_from(tokens, at, first);
        let goes_on = at >= 2 && is_colons(tokens, at - 2);
        if path.len() > 1 && !goes_on {
            let line = line(&tokens[at]);
            self.paths.push(Named { path, line });
        }
        end
    }

    fn import(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let end = item_end(tokens, at);
        let is_public = at >= 1
            && (is_ident(tokens.get(at - 1), "pub")
                || group(tokens, at - 1, Delimiter::Parenthesis).is_some()
                    && at >= 2
                    && is_ident(tokens.get(at - 2), "pub"));
        self.branch(&tokens[at + 1..end], &[], is_public);
        end
    }

    /// Takes in the branches of an import, divided by commas, below `prefix`.
    fn branch(&mut self, tokens: &[TokenTree], prefix: &[String], is_public: bool) {
        let branches =
            tokens.split(|token| is_punct(Some(token), ',') || is_punct(Some(token), ';'));
        for branch in branches.filter(|branch| !branch.is_empty()) {
            self.leaf(branch, prefix, is_public);
        }
    }

    fn leaf(&mut self, branch: &[TokenTree], prefix: &[String], is_public: bool) {
        let mut path = prefix.to_vec();
        let words = (0..branch.len()).map_while(|at| match &branch[at] {
            TokenTree::Punct(punct) if punct.as_char() == ':' => Some(None),
            token if is_ident(Some(token), "as") => None,
            TokenTree::Ident(_) => Some(ident(branch, at)),
            _ => None,
        });
        let words: Vec<Option<String>> = words.collect();
        let rest = words.len();
        path.extend(words.into_iter().flatten());
        if let Some(inner) = group(branch, rest, Delimiter::Brace) {
            return self.branch(&inner, &path, is_public);
        }
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let renamed = is_ident(branch.get(rest), "as").then(|| ident(branch, rest + 1));
        let alias = match renamed.flatten() {
            Some(name) => Some(name),
            None if is_punct(branch.get(rest), '*') => None,
            None => path.last().cloned(),
        };
        let line = line(&branch[0]);
        let named = Named { path, line };
        self.imports.push(Import {
            named,
            alias,
            is_public,
        });
    }
}

/// The path that begins with `first` at `at`, and where it ends.
fn path_from(tokens: &[TokenTree], at: usize, first: String) -> (Vec<String>, usize) {
    let (mut path, mut end) = (vec![first], at + 1);
    while is_colons(tokens, end)
        && let Some(next) = ident(tokens, end + 2)
    {
        path.push(next);
        end += 3;
    }
    (path, end)
}

/// Whether `::` stands at `at`.
fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

/// The declaration of a module at `at`.
fn child(tokens: &[TokenTree], at: usize) -> Option<Child> {
    let name = ident(tokens, at + 1)?;
    let body = group(tokens, at + 2, Delimiter::Brace);
    (body.is_some() || is_punct(tokens.get(at + 2), ';')).then_some(Child { name, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source::Source;

    fn scan(text: &str) -> Scan {
        let source = Source::parse("a.rs".into(), text.to_owned()).unwrap();
        Scan::of(&source.tokens)
    }

    fn joined(named: &Named) -> String {
        format!("{} {}", named.line, named.path.join("::"))
    }

    #[test]
    fn import_is_read_branch_by_branch() {
        let scan = scan(
            "use std::fs;\npub(crate) use self::a::{b::{C, D as E}, self};\nuse super::*;\n\
             fn f() -> impl A + use<'static> { use crate::x as _; }",
        );
        let shown = |import: &Import| {
            let alias = import.alias.as_deref().unwrap_or("*");
            format!("{} as {alias} {}", joined(&import.named), import.is_public)
        };
        let shown: Vec<String> = scan.imports.iter().map(shown).collect();
        let expected = [
            "1 std::fs as fs false",
            "2 self::a::b::C as C true",
            "2 self::a::b::D as E true",
            "2 self::a as a true",
            "3 super as * false",
            "4 crate::x as _ false",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn path_in_the_code_is_noted_whole() {
        let scan = scan("fn f() {\n a::b::<C>(x.d, crate::e::F);\n <T as g::H>::i::j(); }");
        let shown: Vec<String> = scan.paths.iter().map(joined).collect();
        assert_eq!(shown, ["2 a::b", "2 crate::e::F", "3 g::H"]);
    }

    #[test]
    fn items_of_tests_are_left_out() {
        let scan = scan(
            "mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nuse super::{A, B};\n\
             #[cfg(test)]\nmod c { use super::D; }\nmod b { struct E; }",
        );
        let names: Vec<&str> = scan.children.iter().map(|child| &*child.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(scan.imports, []);
    }

    #[test]
    fn definition_and_word_are_noted() {
        let scan = scan("use a::Used;\nconst fn f() {}\nstruct S;\nimpl S { fn m() { g(); } }");
        assert!(["f", "S"].iter().all(|name| scan.defined.contains(*name)));
        assert!(scan.words.contains("g") && !scan.words.contains("Used"));
    }
}
