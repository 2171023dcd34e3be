//! Splits bytes into lines.

/// Limit for the bytes of a line; a longer one becomes several.
pub(super) const LONGEST: usize = 2048;

/// The bytes of an unfinished line.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Adds bytes, and calls `each` with every line that they complete, without its newline.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LONGEST) {
                let ended = part.strip_suffix(b"\n");
                self.0.extend_from_slice(ended.unwrap_or(part));
                if ended.is_some() || self.0.len() >= LONGEST {
                    self.flush(&mut each);
                }
            }
        }
    }

    /// Calls `each` with the unfinished line, if there is one.
    pub(super) fn flush(&mut self, mut each: impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.0);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if !line.is_empty() {
            each(line);
        }
    }

    /// Returns the number of bytes of the unfinished line.
    pub(super) fn waiting(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> (Vec<String>, usize) {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| {
                all.push(String::from_utf8_lossy(line).into_owned());
            });
        }
        (all, lines.waiting())
    }

    #[test]
    fn lines_do_not_depend_on_the_chunks() {
        let text = b"one\n\ntwo\r\nthree";
        let (whole, waiting) = cut(&[text]);
        assert_eq!(
            (&whole[..], waiting),
            (&["one".to_owned(), "two".to_owned()][..], 5)
        );
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(cut(&bytes), (whole, waiting));
    }

    #[test]
    fn line_without_an_end_is_cut_at_the_limit() {
        let (lines, waiting) = cut(&[&[b'x'; 3 * LONGEST + 7]]);
        assert_eq!((lines.len(), waiting), (3, 7));
        assert!(lines.iter().all(|line| line.len() == LONGEST));
    }
}
