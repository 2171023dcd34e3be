//! The entries of a record, one after the other.

use std::fmt;

use super::{Entry, FRAME_LEN, HEADER_LEN, MAGIC, VERSION, check};

/// The reason why bytes are not a record, or not to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The first bytes differ from those of a record.
    Foreign,
    /// The record is from a release with another format.
    Version(u16),
    /// The record ends within an entry, which begins at this byte.
    Truncated { at: usize },
    /// The entry that begins at this byte is damaged.
    Damaged { at: usize },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a record of `heartbeat run --record`"),
            Self::Version(found) => write!(
                f,
                "record format {found}, but this release reads format {VERSION}: replay it with \
                 the release that recorded it"
            ),
            Self::Truncated { at } => write!(f, "truncated within the entry at byte {at}"),
            Self::Damaged { at } => write!(f, "the entry at byte {at} is damaged"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads a record from its beginning. The iterator ends behind the last entry, or with the first
/// error.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder of a whole record.
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if magic.is_empty() || !MAGIC.starts_with(magic) {
            return Err(DecodeError::Foreign);
        }
        let version = bytes.get(MAGIC.len()..HEADER_LEN);
        let version = version.and_then(|version| version.try_into().ok());
        let version = version.map(u16::from_le_bytes);
        match version.ok_or(DecodeError::Truncated { at: 0 })? {
            VERSION => Ok(Self {
                bytes,
                at: HEADER_LEN,
            }),
            other => Err(DecodeError::Version(other)),
        }
    }

    fn read(&self) -> Result<(Entry<'static>, usize), DecodeError> {
        let truncated = DecodeError::Truncated { at: self.at };
        let rest = &self.bytes[self.at..];
        let number = |at: usize| {
            let bytes = rest.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let len = number(0).ok_or(truncated)? as usize;
        let expected = number(4).ok_or(truncated)?;
        let entry = rest[FRAME_LEN..].get(..len).ok_or(truncated)?;
        let damaged = DecodeError::Damaged { at: self.at };
        if check(entry) != expected {
            return Err(damaged);
        }
        let entry = postcard::from_bytes(entry).map_err(|_| damaged)?;
        Ok((entry, self.at + FRAME_LEN + len))
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Entry<'static>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.bytes.len() {
            return None;
        }
        Some(match self.read() {
            Ok((entry, next)) => {
                self.at = next;
                Ok(entry)
            }
            Err(error) => {
                self.at = self.bytes.len();
                Err(error)
            }
        })
    }
}
