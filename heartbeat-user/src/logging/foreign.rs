//! Text that others wrote, such as a peer's request, before it goes into a line of the log.
//!
//! A line begins with its priority where journald reads it, and ends with its newline: no other may come from outside. Nor
//! may anything that a terminal takes for an order.

/// More characters of one text are not shown.
const MAX_SHOWN: usize = 500;

/// `bytes` on one line, with escapes in the place of control characters and of what is no UTF-8, and not too much of it.
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
        if is_harmless(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    if enough.len() < bytes.len() || text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether it is shown as itself, and changes the place or the direction of nothing else.
fn is_harmless(character: char) -> bool {
    let moves = matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !moves
}

#[cfg(test)]
mod tests {
    use super::*;

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
