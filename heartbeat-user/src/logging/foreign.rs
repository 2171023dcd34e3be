//! Cleans text of foreign origin, such as a peer's report, before it goes into the log or to a
//! terminal.
//!
//! A record of the log begins with its priority for journald, and ends with its newline: neither
//! may come from outside. The same holds for terminal escapes.
//!
//! Text from a known place is cleaned there: [`one_line`], [`clean`]. The log and the commands'
//! output clean all text once more, whatever its origin: [`record`], [`page`].

/// Limit for the shown characters of one text.
const MAX_SHOWN: usize = 500;

/// Returns `bytes` on one line, with escapes for control characters and invalid UTF-8, cut to a
/// limit.
pub fn one_line(bytes: &[u8]) -> String {
    one_line_of(bytes, MAX_SHOWN)
}

/// Returns the same with up to `most` characters.
pub fn one_line_of(bytes: &[u8], most: usize) -> String {
    // A text that is cut within a character is shown up to that one.
    let enough = bytes.get(..4 * most).unwrap_or(bytes);
    let text = String::from_utf8_lossy(enough);
    let mut shown = String::new();
    for character in text.chars().take(most) {
        push(&mut shown, character);
    }
    if enough.len() < bytes.len() || text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns `text` with escapes for control characters except its newlines.
pub fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            _ => push(&mut shown, character),
        }
    }
    shown
}

/// Returns `message` as one record of the log. Further lines are indented, so that none begins like
/// a record, and have `prefix`, too.
pub(super) fn record(message: &str, prefix: &str) -> String {
    let mut lines = message.trim_end_matches('\n').split('\n');
    let mut text = prefix.to_owned() + &clean(lines.next().unwrap_or_default());
    for line in lines {
        let indent = if line.starts_with("  ") { "" } else { "  " };
        text.push_str(&format!("\n{prefix}{indent}{}", clean(line)));
    }
    text
}

/// Returns `text` as a command prints it: with its own terminal escapes, `orders`, and with all
/// others made visible.
pub fn page(text: &str, orders: &[&str]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let own = orders.iter().find(|order| rest.starts_with(**order));
        let taken = own.map_or(next.len_utf8(), |order| order.len());
        let (piece, after) = rest.split_at(taken);
        match own {
            Some(_) => shown.push_str(piece),
            None if next == '\t' => shown.push(next),
            None => shown.push_str(&clean(piece)),
        }
        rest = after;
    }
    shown
}

fn push(shown: &mut String, character: char) {
    if is_harmless(character) {
        shown.push(character);
    } else {
        shown.extend(character.escape_default());
    }
}

/// Whether the character shows as itself and changes the place or direction of no other.
fn is_harmless(character: char) -> bool {
    let moves = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !character.is_control() && !moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn record_has_one_beginning_for_any_message() {
        let forged = "peer says: x\n<0>heartbeat: all is lost\n[1] ERROR forged\n  run it\n";
        assert_eq!(
            record(forged, "<6>"),
            "<6>peer says: x\n<6>  <0>heartbeat: all is lost\n<6>  [1] ERROR forged\n<6>  run it"
        );
    }

    #[test]
    fn page_keeps_its_own_escapes_and_shows_others() {
        let text = "\x1b[31mFAILED\x1b[0m\ta\x1b[2Jb\x1b[8m\x07\n";
        assert_eq!(
            page(text, &["\x1b[31m", "\x1b[0m"]),
            "\x1b[31mFAILED\x1b[0m\ta\\u{1b}[2Jb\\u{1b}[8m\\u{7}\n"
        );
    }

    proptest! {
        #[test]
        fn shown_text_has_no_control_characters(text in "(?s)[\\PC\\pC\\n\x1b\u{202e}<>]{0,60}") {
            let harmless = |shown: &str| shown.chars().all(is_harmless);
            prop_assert!(harmless(&one_line(text.as_bytes())));
            prop_assert!(clean(&text).split('\n').all(harmless));
            prop_assert_eq!(clean(&text).matches('\n').count(), text.matches('\n').count());
            prop_assert!(page(&text, &[]).split(['\n', '\t']).all(harmless));
            for line in record(&text, "").split('\n').skip(1) {
                prop_assert!(harmless(line) && line.starts_with("  "));
            }
        }

        #[test]
        fn ordinary_text_is_shown_as_it_is(text in "[a-zA-Z0-9 äß€{}\":,.()\n]{0,60}") {
            prop_assert_eq!(&clean(&text), &text);
            prop_assert_eq!(&page(&text, &[]), &text);
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        let request = r#"{"command":"move","group":"büro","to":"b"}"#;
        assert_eq!(one_line(request.as_bytes()), request);
    }

    #[test]
    fn text_with_newlines_and_escapes_becomes_one_line() {
        let text = one_line(b"{}\n<0>heartbeat: all is lost\r\x1b[2J\x00\xff\xe2\x80\xae");
        assert!(text.chars().all(is_harmless), "{text}");
        assert!(
            text.starts_with(r"{}\n<0>heartbeat: all is lost\r\u{1b}[2J"),
            "{text}"
        );
    }

    #[test]
    fn long_text_is_cut() {
        for long in ["x".repeat(64 * 1024), "ü".repeat(MAX_SHOWN + 1)] {
            let text = one_line(long.as_bytes());
            assert_eq!(text.chars().count(), MAX_SHOWN + 1);
            assert!(text.ends_with('…'));
        }
        assert_eq!(
            one_line("ü".repeat(MAX_SHOWN).as_bytes()).chars().last(),
            Some('ü')
        );
    }
}
