//! The file of the cluster key: who may read it, and its text.
//!
//! The text is one or two lines `ID HEX`, an id of 0 to 255 and 32 hex digits; `#` begins a
//! comment. The first key seals what this node sends. All keys are accepted from others, so that
//! keys can be rotated. The module never prints a line of the file, and wipes keys that it drops.

use std::{
    fs::{File, OpenOptions},
    hash::Hasher as _,
    hint::black_box,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

pub use heartbeat_common::siphash::wipe;
use heartbeat_common::{
    maps::{Key, MAX_KEYS},
    siphash::SipKey,
};
use nix::unistd::geteuid;
use siphasher::sip::SipHasher24;

/// The path of the key unless the configuration names another.
pub const DEFAULT_PATH: &str = "/etc/heartbeat/key";
/// Bytes of a key.
pub const KEY_LEN: usize = 16;
/// More than any key file holds.
const MAX_FILE: u64 = 4_096;
/// The text of which a key's mark is the hash. Neither heartbeats nor configurations begin so.
const MARK: &[u8] = b"heartbeat mark 1: which key this is";
/// Permission bits that a key file must not have: all but reading and writing by its owner.
const FORBIDDEN_MODE: u32 = 0o7177;

/// The keys of the cluster, by their ids. Its `Debug` shows the ids only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key that seals what this node sends.
    pub active: (u8, SipKey),
    /// The keys that others may use, the active one first. One or two, in different kernel slots.
    pub all: Vec<(u8, SipKey)>,
}

/// Why there is no key. Shows no content of the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "reading the key file {}: {cause}\n  {}",
        path.display(), key_remedy(cause.kind())
    )]
    // The cause is part of the message, so it is no `source`: it would be printed twice.
    Read { path: PathBuf, cause: io::Error },
    #[error(
        "the key file {} is not a regular file\n  name the file that `heartbeat keygen` made",
        path.display()
    )]
    NotAFile { path: PathBuf },
    #[error(
        "the key file {} has mode {mode:04o}, so that others may use it\n  \
         run `chmod 0600 {}`; if it was readable for long, make a new key",
        path.display(), path.display()
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error(
        "the key file {} belongs to user {owner}\n  run `chown root {}`",
        path.display(), path.display()
    )]
    Owner { path: PathBuf, owner: u32 },
    #[error(
        "the key file {} holds no key\n  make one with `heartbeat keygen --force`",
        path.display()
    )]
    Empty { path: PathBuf },
    #[error("{}:{line}: {what}\n  {remedy}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        what: &'static str,
        remedy: &'static str,
    },
}

/// The operator's way out where a key file cannot be read. A second key would split a cluster
/// that has one already, so a new one is named last.
fn key_remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "only root may read it: run as root",
        io::ErrorKind::NotFound => {
            "copy it from another node; only for the first node of a new cluster make one, with \
             `heartbeat keygen`"
        }
        _ => "copy it from another node, where it can be read",
    }
}

impl Keys {
    /// Reads the key file at `path`, which only root or this user may be able to read.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let read = |cause| KeyError::Read {
            path: path.to_owned(),
            cause,
        };
        // Not to wait for a writer if it is a named pipe.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open(path).map_err(read)?;
        guarded(&file, path)?;
        // As large as it can get: what grows leaves copies behind.
        let mut bytes = Vec::with_capacity(MAX_FILE as usize + 1);
        file.take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(read(io::Error::other("it is far too long for a key file")));
        }
        let keys = match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, path),
            Err(_) => Err(read(io::Error::other("it is not a text file"))),
        };
        bytes.fill(0);
        black_box(&bytes);
        keys
    }

    /// Reads the text of a key file. `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, KeyError> {
        let mut all: Vec<(u8, SipKey)> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.split('#').next().unwrap_or("").trim();
            if content.is_empty() {
                continue;
            }
            let wrong = |(what, remedy)| KeyError::Line {
                path: path.to_owned(),
                line,
                what,
                remedy,
            };
            let key = parse_line(content).map_err(wrong)?;
            if all.len() == MAX_KEYS {
                let remedy = "keep the one in use and the one that replaces it";
                return Err(wrong(("there are more than two keys", remedy)));
            }
            if all.iter().any(|(id, _)| Key::slot(*id) == Key::slot(key.0)) {
                return Err(wrong((
                    "this key's id and the other's are both even or both odd",
                    "change one of the two ids by one, on all nodes: each parity has room for one \
                     key",
                )));
            }
            all.push(key);
        }
        let active = *all.first().ok_or_else(|| KeyError::Empty {
            path: path.to_owned(),
        })?;
        Ok(Self { active, all })
    }

    /// The ids of all keys, that of the active one first.
    pub fn ids(&self) -> Vec<u8> {
        self.all.iter().map(|(id, _)| *id).collect()
    }

    /// The mark of all keys, which others may know.
    pub fn mark(&self) -> u32 {
        mark(&self.all)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        wipe(std::slice::from_mut(&mut self.active));
        wipe(&mut self.all);
    }
}

/// Equal for the same keys under the same ids, in whatever order, and as good as never for others.
/// Not 0. Only a holder of a key can tell its mark.
pub fn mark(keys: &[(u8, SipKey)]) -> u32 {
    let all = keys.iter().fold(0, |all, (id, key)| {
        let mut hash = SipHasher24::new_with_keys(key.k0, key.k1);
        hash.write(MARK);
        hash.write_u8(*id);
        all ^ hash.finish()
    });
    let [high, low] = [all >> 32, all].map(|half| half as u32);
    (high ^ low).max(1)
}

/// Ensures that only its owner can use `file`, and that the owner is root or this user.
fn guarded(file: &File, path: &Path) -> Result<(), KeyError> {
    let metadata = file.metadata().map_err(|cause| KeyError::Read {
        path: path.to_owned(),
        cause,
    })?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(KeyError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    let owner = metadata.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(KeyError::Owner {
            path: path.to_owned(),
            owner,
        });
    }
    Ok(())
}

/// The fault of a line and its remedy, without any text of the line.
type Wrong = (&'static str, &'static str);

fn parse_line(content: &str) -> Result<(u8, SipKey), Wrong> {
    const FORM: &str =
        "write `ID HEX`: an id of 0 to 255 and 32 hex digits, as `heartbeat keygen` does";
    let mut words = content.split_whitespace();
    let (Some(id), Some(hex), None) = (words.next(), words.next(), words.next()) else {
        return Err(("this is not an id and a key", FORM));
    };
    let id = id
        .parse::<u8>()
        .map_err(|_| ("the id is not a number from 0 to 255", FORM))?;
    let key = parse_hex(hex).ok_or(("the key is not 32 hex digits", FORM))?;
    if key == [0; KEY_LEN] {
        return Err((
            "the key is all zeros, which anyone can guess",
            "make one with `heartbeat keygen --force`",
        ));
    }
    Ok((id, SipKey::from_bytes(key)))
}

fn parse_hex(hex: &str) -> Option<[u8; KEY_LEN]> {
    let digits = hex.as_bytes();
    if digits.len() != 2 * KEY_LEN {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut key = [0; KEY_LEN];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(key)
}

/// The text of a file with these keys, the active one first.
pub fn file_text(keys: &[(u8, SipKey)]) -> String {
    let mut text = String::from(
        "# Key of the heartbeat cluster: the same on all nodes, mode 0600, secret.\n\
         # To replace it: `heartbeat keygen --rotate`, which says what to do.\n",
    );
    for (id, key) in keys {
        let hex: String = key
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        text.push_str(&format!("{id} {hex}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    const A: &str = "000102030405060708090a0b0c0d0e0f";
    const B: &str = "F0E1D2C3B4A5968778695A4B3C2D1E0F";

    fn parse(text: &str) -> Result<Keys, KeyError> {
        Keys::parse(text, Path::new("/k"))
    }

    #[test]
    fn first_line_is_the_active_key() {
        let key_a = SipKey::from_bytes(std::array::from_fn(|i| i as u8));
        let keys = parse(&format!("# old and new\n\n 7 {A} # new\r\n0 {B}\n")).unwrap();
        assert_eq!(keys.active, (7, key_a));
        assert_eq!(
            keys.all.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            [7, 0]
        );
        assert_eq!(parse(&file_text(&[(1, key_a)])).unwrap().all, [(1, key_a)]);
        assert_eq!(parse(&file_text(&keys.all)).unwrap(), keys);
    }

    #[test]
    fn mark_tells_sets_of_keys_apart_and_not_their_order() {
        let mark = |text: &str| parse(text).unwrap().mark();
        let (a, b) = (format!("1 {A}\n"), format!("2 {B}\n"));
        let both = mark(&format!("{a}{b}"));
        assert_eq!(both, mark(&format!("{b}{a}")));
        let others =
            [a.clone(), b, format!("2 {A}\n"), format!("{a}2 {A}\n")].map(|text| mark(&text));
        for (index, one) in others.iter().enumerate() {
            assert!(*one != both && !others[..index].contains(one));
        }
    }

    #[test]
    fn wiped_keys_are_gone() {
        let mut keys = [(7, SipKey { k0: 1, k1: 2 })];
        wipe(&mut keys);
        assert_eq!(keys, [(0, SipKey { k0: 0, k1: 0 })]);
    }

    #[test]
    fn errors_name_the_line_and_not_what_is_in_it() {
        let cases = [
            (
                format!("1 {A}\n3 {B}"),
                "/k:2: this key's id and the other's are both even or both odd",
            ),
            (
                format!("1 {A}\n2 {B}\n4 {B}"),
                "/k:3: there are more than two keys",
            ),
            (A.to_owned(), "/k:1: this is not an id and a key"),
            (
                format!("\n256 {A}"),
                "/k:2: the id is not a number from 0 to 255",
            ),
            (format!("{A} 1"), "/k:1: the id is not a number"),
            (format!("1 {A}0"), "/k:1: the key is not 32 hex digits"),
            (
                format!("1 {}é", &A[2..]),
                "/k:1: the key is not 32 hex digits",
            ),
            (format!("1 {A} x"), "/k:1: this is not an id and a key"),
            (
                format!("1 {}", "0".repeat(32)),
                "/k:1: the key is all zeros",
            ),
            ("# nothing\n".to_owned(), "/k holds no key"),
        ];
        for (text, expected) in cases {
            let error = parse(&text).unwrap_err();
            let shown = format!("{error}\n{error:?}");
            assert!(shown.contains(expected), "{shown}");
            assert!(
                !shown.contains("060708") && !shown.contains("B4A596"),
                "{shown}"
            );
        }
        let shown = format!("{:?}", parse(&format!("1 {A}")).unwrap());
        assert!(
            shown.contains("secret") && !shown.contains("0706"),
            "{shown}"
        );
    }

    #[test]
    fn file_that_others_may_read_is_refused() {
        let path = std::env::temp_dir().join(format!("heartbeat-key-{}", std::process::id()));
        let key = SipKey::from_bytes([7; KEY_LEN]);
        fs::write(&path, file_text(&[(1, key)])).unwrap();
        let load = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Keys::load(&path)
        };
        assert_eq!(load(0o600).unwrap().active.0, 1);
        assert!(load(0o400).is_ok());
        for mode in [0o640, 0o604, 0o620, 0o700, 0o644] {
            let error = load(mode).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{mode:04o}")) && error.contains("chmod 0600"),
                "{error}"
            );
        }
        fs::remove_file(&path).unwrap();
        let missing = Keys::load(&path).unwrap_err().to_string();
        assert!(
            missing.find("copy it from another node") < missing.find("`heartbeat keygen`"),
            "{missing}"
        );
        assert!(
            Keys::load(Path::new("/"))
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
    }

    #[test]
    fn unreadable_key_of_a_cluster_that_has_one_is_never_to_be_made_anew() {
        for (kind, remedy) in [
            (io::ErrorKind::PermissionDenied, "run as root"),
            (io::ErrorKind::Other, "copy it from another node"),
        ] {
            let cause = io::Error::from(kind);
            let path = PathBuf::from("/etc/heartbeat/key");
            let said = KeyError::Read { path, cause }.to_string();
            assert!(said.contains(remedy) && !said.contains("keygen"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_near_miss_panics_or_leaks(id: u16, hex in "[0-9a-fA-Fg ]{30,34}", tail in ".{0,4}") {
            if let Err(error) = parse(&format!("{id} {hex}{tail}")) {
                prop_assert!(!error.to_string().contains(&hex));
            }
        }
    }
}
