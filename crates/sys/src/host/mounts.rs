//! The mounts that are visible to a process, from its `mountinfo` (proc_pid_mountinfo(5)).

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// A line of `mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of the file system's device, which are unique to each superblock.
    pub device: (u32, u32),
    /// The directory of that file system that is mounted at `point`.
    pub root: PathBuf,
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: String,
}

/// The mounts that are visible to this process, in the order of their creation.
pub fn own() -> io::Result<Vec<Mount>> {
    read(Path::new("/proc/self/mountinfo"))
}

/// The mounts that are visible to the first process of this pid namespace.
pub fn of_init() -> io::Result<Vec<Mount>> {
    read(Path::new("/proc/1/mountinfo"))
}

fn read(path: &Path) -> io::Result<Vec<Mount>> {
    // A mount point may contain any bytes.
    Ok(parse(&fs::read(path)?))
}

/// Parses `mountinfo`. Malformed lines are skipped.
fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// ```text
/// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
/// ```
fn line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let end = fields.iter().position(|field| *field == b"-")?;
    let device = str::from_utf8(fields.get(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    Some(Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: path(fields.get(3)?),
        point: path(fields.get(4)?),
        kind: String::from_utf8_lossy(fields.get(end + 1)?).into_owned(),
    })
}

/// Decodes a path. The kernel writes space, tab, line feed and backslash as three octal digits.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                tail @ ..,
            ] => ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail),
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: (u32, u32), root: &str, point: &str, kind: &str) -> Mount {
        Mount {
            device,
            root: root.into(),
            point: point.into(),
            kind: kind.to_owned(),
        }
    }

    #[test]
    fn line_is_read_with_and_without_optional_fields() {
        let text = "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs rw,mode=755\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw shared:4 master:2 - cgroup2 none rw\n\
                    52 23 0:44 /a /mnt/a rw - bpf bpf rw\n";
        assert_eq!(
            parse(text.as_bytes()),
            [
                mount((0, 28), "/", "/sys/fs/cgroup", "tmpfs"),
                mount((0, 38), "/", "/sys/fs/cgroup/unified", "cgroup2"),
                mount((0, 44), "/a", "/mnt/a", "bpf"),
            ]
        );
    }

    #[test]
    fn path_with_escapes_is_read_as_it_is() {
        let found = parse(br"1 0 8:1 /a\134b /mnt/two\040words\011x rw - ext4 /dev/sda1 rw");
        assert_eq!(found, [mount((8, 1), r"/a\b", "/mnt/two words\tx", "ext4")]);
    }

    #[test]
    fn line_that_is_cut_is_left_out() {
        for text in [
            "",
            "1 0 8:1 / /",
            "1 0 8:1 / / rw -",
            "1 0 8 / / rw - ext4 a rw",
        ] {
            assert_eq!(parse(text.as_bytes()), [], "{text}");
        }
    }
}
