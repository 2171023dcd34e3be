//! Entries with fields for journald. Only the thread that writes the log waits for journald.

use heartbeat_sys::host::journal::Journal;
use nix::{errno::Errno, poll::PollTimeout};

use super::{
    foreign,
    queue::{Lost, Target},
};

/// The connection to journald, and the entries that it did not take.
#[derive(Debug)]
pub(super) struct Entries {
    journal: Journal,
    lost: Lost,
}

impl Entries {
    /// Goes on for a stream that has `lost` lines.
    pub(super) const fn new(journal: Journal, lost: Lost) -> Self {
        Self { journal, lost }
    }
}

impl Target for Entries {
    fn put(&mut self, entry: &[u8]) -> nix::Result<()> {
        loop {
            match self.journal.send(entry) {
                Err(Errno::EAGAIN) => self.journal.wait_for_room(PollTimeout::NONE)?,
                result => return result,
            }
        }
    }

    fn lost(&mut self) -> &mut Lost {
        &mut self.lost
    }
}

/// Whether `said`, the value of JOURNAL_STREAM, names the file with this device and inode
/// (systemd.exec(5)).
pub(super) fn is_stream(said: &str, (device, inode): (u64, u64)) -> bool {
    said == format!("{device}:{inode}")
}

/// Returns an entry. Values are shown without control characters, and those with several lines have
/// their length before them.
pub(super) fn entry(message: &str, priority: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut entry = Vec::new();
    add(&mut entry, "MESSAGE", &foreign::record(message, ""));
    add(&mut entry, "PRIORITY", &priority.to_string());
    add(&mut entry, "SYSLOG_IDENTIFIER", "heartbeat");
    for (field, value) in fields {
        add(&mut entry, field, &foreign::one_line(value.as_bytes()));
    }
    entry
}

fn add(entry: &mut Vec<u8>, field: &str, value: &str) {
    entry.extend(field.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixDatagram, time::Duration};

    use super::*;
    use crate::logging::queue::Queue;

    #[test]
    fn text_of_a_peer_makes_no_field() {
        let fields = [("EVENT", "peer"), ("NODE", "b\nPRIORITY=0")];
        let shown = entry("node b: bad\x1b[2J", 4, &fields);
        assert_eq!(
            String::from_utf8(shown).unwrap(),
            "MESSAGE=node b: bad\\u{1b}[2J\nPRIORITY=4\nSYSLOG_IDENTIFIER=heartbeat\n\
             EVENT=peer\nNODE=b\\nPRIORITY=0\n"
        );
    }

    #[test]
    fn value_of_several_lines_has_its_length_before_it() {
        let shown = entry("first\nsecond", 6, &[]);
        let text = b"first\n  second";
        let expected = [
            b"MESSAGE\n".as_slice(),
            &(text.len() as u64).to_le_bytes(),
            text,
            b"\nPRIORITY=6\nSYSLOG_IDENTIFIER=heartbeat\n",
        ]
        .concat();
        assert_eq!(shown, expected);
    }

    #[test]
    fn stream_is_the_journal_only_by_its_device_and_inode() {
        assert!(is_stream("8:4242", (8, 4242)));
        for other in ["8:4243", "9:4242", "8", "", "8:4242 "] {
            assert!(!is_stream(other, (8, 4242)), "{other}");
        }
    }

    #[test]
    fn journald_that_does_not_read_delays_no_caller_and_lost_entries_are_counted() {
        let name = format!("heartbeat-entries-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        let server = UnixDatagram::bind(&path).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let journal = Journal::connect(&path).unwrap();
        let queue = Queue::start(Entries::new(journal, None)).unwrap();
        // More than the queue holds beside those in the socket.
        let many = 10_000;
        for number in 0..many {
            queue.push(format!("MESSAGE={number}\n").into_bytes());
        }
        queue.finish(Duration::from_millis(10));
        let mut buffer = [0; 256];
        let mut next = || {
            let length = server.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let mut number = 0;
        while number < 4_096 {
            assert_eq!(next(), format!("MESSAGE={number}\n"));
            number += 1;
        }
        queue.push(b"MESSAGE=there is room again\n".to_vec());
        let mut lost = 0;
        loop {
            let entry = next();
            if entry == "MESSAGE=there is room again\n" {
                break;
            }
            match entry.split_once(" lines of this log were lost here") {
                Some((before, _)) => {
                    lost = before
                        .split([' ', '='])
                        .next_back()
                        .unwrap()
                        .parse()
                        .unwrap();
                }
                None => {
                    assert_eq!(entry, format!("MESSAGE={number}\n"));
                    number += 1;
                }
            }
        }
        assert_eq!(number + lost, many);
        fs::remove_file(path).unwrap();
    }
}
