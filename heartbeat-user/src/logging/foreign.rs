//! Text that others wrote, such as a peer's report, before it goes into the log or to a terminal.
//!
//! A record of the log begins with its priority where journald reads it, and ends with its newline:
//! no other may come from outside. Nor may anything that a terminal takes for an order.
//!
//! Where the text comes from a known place it is cleaned there: [`one_line`], [`clean`]. The log and
//! the commands' output clean once more what passes through them, whoever wrote it: [`record`],
//! [`page`].

/// More characters of one text are not shown.
const MAX_SHOWN: usize = 500;

/// `bytes` on one line, with escapes in the place of control characters and of what is no UTF-8,
/// and not too much of it.
pub fn one_line(bytes: &[u8]) -> String {
    one_line_of(bytes, MAX_SHOWN)
}

/// The same, with up to `most` characters.
pub fn one_line_of(bytes: &[u8], most: usize) -> String {
    // One that is cut in the middle of a character is shown up to there.
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

/// `text` with escapes in the place of control characters, but for the ends of its lines.
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

/// `message` as one record of the log: further lines are indented, so that none of them begins as a
/// record does. `prefix` stands before each of them, too.
pub(super) fn record(message: &str, prefix: &str) -> String {
    let mut lines = message.trim_end_matches('\n').split('\n');
    let mut text = prefix.to_owned() + &clean(lines.next().unwrap_or_default());
    for line in lines {
        let indent = if line.starts_with("  ") { "" } else { "  " };
        text.push_str(&format!("\n{prefix}{indent}{}", clean(line)));
    }
    text
}

/// `text` as a command prints it: with the `orders` to the terminal that are its own, and escapes in
/// the place of all others.
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

/// Whether it is shown as itself, and changes the place or the direction of nothing else.
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
    fn record_has_one_beginning_whatever_its_message_says() {
        let forged = "peer says: x\n<0>heartbeat: all is lost\n[1] ERROR forged\n  run it\n";
        assert_eq!(
            record(forged, "<6>"),
            "<6>peer says: x\n<6>  <0>heartbeat: all is lost\n<6>  [1] ERROR forged\n<6>  run it"
        );
    }

    #[test]
    fn page_keeps_its_own_orders_to_the_terminal_and_escapes_others() {
        let text = "\x1b[31mFAILED\x1b[0m\ta\x1b[2Jb\x1b[8m\x07\n";
        assert_eq!(
            page(text, &["\x1b[31m", "\x1b[0m"]),
            "\x1b[31mFAILED\x1b[0m\ta\\u{1b}[2Jb\\u{1b}[8m\\u{7}\n"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_moves_anything(text in "(?s)[\\PC\\pC\\n\x1b\u{202e}<>]{0,60}") {
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
    fn a_text_with_newlines_and_escapes_is_one_harmless_line() {
        let text = one_line(b"{}\n<0>heartbeat: all is lost\r\x1b[2J\x00\xff\xe2\x80\xae");
        assert!(text.chars().all(is_harmless), "{text}");
        assert!(
            text.starts_with(r"{}\n<0>heartbeat: all is lost\r\u{1b}[2J"),
            "{text}"
        );
    }

    #[test]
    fn a_long_text_is_cut() {
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
