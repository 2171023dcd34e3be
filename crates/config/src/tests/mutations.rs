//! No file, however mangled, makes the reader panic or point outside of it.

use proptest::prelude::*;

use super::{super::ConfigError, EXAMPLE, parse, with};
use heartbeat_core::index::GroupIndex;

/// Whether what is said of `text` points into it.
fn points_into(text: &str) -> Result<(), TestCaseError> {
    let Err(error) = parse(text) else {
        return Ok(());
    };
    let ConfigError::Invalid(problems) = error else {
        return Err(TestCaseError::fail("parsing reads no file"));
    };
    prop_assert!(!problems.is_empty());
    let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    for problem in problems {
        let line = problem
            .location
            .split(':')
            .nth(1)
            .and_then(|line| line.parse::<usize>().ok());
        prop_assert!(
            line.is_some_and(|line| (1..=lines).contains(&line)),
            "{problem}"
        );
        prop_assert!(
            !problem.message.contains('\n') && !problem.remedy.is_empty(),
            "{problem}"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        points_into(&text)?;
    }

    #[test]
    fn no_text_of_tomls_letters_panics(text in r#"[\[\]{}=.,"'#\n\\a-d0-9 é-]{0,120}"#) {
        points_into(&text)?;
    }

    /// Pieces of the example cut out, doubled or overwritten with what a hand might leave there.
    #[test]
    fn no_mutated_file_panics(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..40, 0_usize..10),
            1..6,
        ),
    ) {
        let pieces = ["", "[", "]", "\"", "=", "\n", "[[node]]\n", "10ms", "[1, {a = 2}]", "a.b = \
            1\n"];
        let mut text: Vec<char> = EXAMPLE.chars().filter(|c| *c != '#').collect();
        for (at, cut, piece) in edits {
            let start = at.index(text.len());
            let end = (start + cut).min(text.len());
            text.splice(start..end, pieces[piece].chars());
        }
        points_into(&text.into_iter().collect::<String>())?;
    }

    /// The same on lines that mean something, so that most files still are TOML.
    #[test]
    fn no_file_with_other_lines_panics(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()),
            1..8,
        ),
    ) {
        let mut lines: Vec<&str> = EXAMPLE
            .lines()
            .map(|line| line.trim_start_matches('#'))
            .filter(|line| line.contains(" = ") || line.starts_with('['))
            .collect();
        for (from, to, copy) in edits {
            let line = lines[from.index(lines.len())];
            let to = to.index(lines.len());
            if copy { lines.insert(to, line) } else { lines[to] = line }
        }
        points_into(&lines.join("\n"))?;
    }

    #[test]
    fn every_rank_holds_every_member_once(
        prefer in prop::sample::subsequence(vec!["a", "b", "c"], 0..=3).prop_shuffle(),
    ) {
        let witness = "[[node]]\nname = \"w\"\nid = 4\nrole = \"witness\"\n\
                       addresses = [\"10.0.0.4\"]\n";
        let text = with("[\"c\"]", &format!("{prefer:?}")) + witness;
        let config = parse(&text).unwrap();
        let rank = &config.groups[GroupIndex(0)].rank;
        let named: Vec<_> = rank.iter().map(|id| config.node(*id).unwrap().name.as_str()).collect();
        prop_assert_eq!(&named[..prefer.len()], &prefer[..]);
        let mut all = named.clone();
        all.sort_unstable();
        prop_assert_eq!(all, ["a", "b", "c"]);
    }
}
