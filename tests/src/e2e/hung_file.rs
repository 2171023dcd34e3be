//! A file system that does not answer, like a dead disk or file server. A process that reads it
//! sleeps in the kernel, and no signal wakes it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// FUSE_INIT, linux/fuse.h: the first request, and the only one that is answered.
const INIT: u32 = 26;
/// The length of the longest request.
const ROOM: usize = 1 << 17;

/// A mounted file system that hangs. On drop all its requests fail.
#[derive(Debug)]
pub struct HungFile {
    at: PathBuf,
    reader: Option<JoinHandle<()>>,
}

impl HungFile {
    pub fn mount(at: PathBuf) -> Result<Self> {
        fs::create_dir(&at)?;
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .context("this test needs /dev/fuse")?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        mount(
            Some("silent"),
            &at,
            Some("fuse"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options.as_str()),
        )?;
        let reader = thread::spawn(move || swallow(device));
        Ok(Self {
            at,
            reader: Some(reader),
        })
    }

    /// The path of a file in it. Each access to it hangs.
    pub fn file(&self) -> PathBuf {
        Path::new(&self.at).join("file")
    }
}

impl Drop for HungFile {
    fn drop(&mut self) {
        // The forced unmount ends all requests.
        let _ = umount2(&self.at, MntFlags::MNT_FORCE);
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Reads all requests until the file system is unmounted, so that no process can take one back.
fn swallow(mut device: File) {
    let mut request = vec![0; ROOM];
    while let Ok(length) = device.read(&mut request) {
        let number = |from: usize| {
            let bytes = request[from..from + 4].try_into();
            bytes.map_or(0, u32::from_ne_bytes)
        };
        if length >= 40 && number(4) == INIT {
            let _ = device.write_all(&welcome(&request[8..16]));
        }
    }
}

/// The answer to the first request: version 7.31, without any option.
fn welcome(unique: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    answer.extend(80_u32.to_ne_bytes());
    answer.extend(0_i32.to_ne_bytes());
    answer.extend(unique);
    let mut body = [0_u8; 64];
    body[0..4].copy_from_slice(&7_u32.to_ne_bytes());
    body[4..8].copy_from_slice(&31_u32.to_ne_bytes());
    body[20..24].copy_from_slice(&4096_u32.to_ne_bytes());
    answer.extend(body);
    answer
}
