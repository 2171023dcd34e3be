//! Comparison of output for people, without the parts that differ from run to run.

use anyhow::{Result, ensure};

/// Checks that `text` has these lines in this order. A `*` stands for anything.
pub fn has_lines(text: &str, wanted: &[&str]) -> Result<()> {
    let mut lines = text.lines();
    for pattern in wanted {
        let found = lines.any(|line| matches(line, pattern));
        ensure!(found, "no line `{pattern}`, or not there, in:\n{text}");
    }
    Ok(())
}

fn matches(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_anything_and_the_order_counts() {
        assert!(matches("rtt 5 us, 7 late", "rtt * us, * late"));
        assert!(matches("same", "same") && matches("", ""));
        assert!(!matches("same again", "same") && !matches("a", "a*b") && !matches("ba", "a*"));
        let text = "one 1\ntwo 2\n";
        assert!(has_lines(text, &["one *", "two *"]).is_ok());
        assert!(has_lines(text, &["two *", "one *"]).is_err());
    }
}
