//! BPF links as the kernel knows them: which interface one is on, who has it open, and how it is
//! broken.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::programs::links::{FdLink, PinnedLink};
use aya_obj::generated::bpf_cmd;
use nix::errno::Errno;

/// The beginning of `union bpf_attr` that the commands here look at.
#[repr(C)]
struct Attributes {
    first: u32,
    rest: [u32; 3],
}

fn bpf(command: bpf_cmd, first: u32) -> io::Result<libc::c_long> {
    let attributes = Attributes {
        first,
        rest: [0; 3],
    };
    // SAFETY: the kernel reads the attributes, which outlive the call, as far as their length says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    Ok(Errno::result(result)?)
}

/// Opens the link with this number.
fn open(id: u32) -> io::Result<OwnedFd> {
    let fd = bpf(bpf_cmd::BPF_LINK_GET_FD_BY_ID, id)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Takes the link with this number off its interface, whoever holds it.
pub(super) fn detach(id: u32) -> Result<()> {
    let link = open(id).with_context(|| format!("could not open BPF link {id}"))?;
    bpf(bpf_cmd::BPF_LINK_DETACH, link.as_raw_fd().cast_unsigned())
        .map(drop)
        .with_context(|| format!("could not detach BPF link {id}"))
}

/// The interface that the link with this number is on; 0 if that has gone.
pub(super) fn interface_of(id: u32) -> Result<u32> {
    let link = open(id).with_context(|| format!("could not open BPF link {id}"))?;
    let info = format!("/proc/self/fdinfo/{}", link.as_fd().as_raw_fd());
    let text = fs::read_to_string(&info).with_context(|| format!("could not read {info}"))?;
    value(&text, "ifindex")
        .and_then(|value| value.parse().ok())
        .with_context(|| format!("the kernel does not tell the interface of BPF link {id}"))
}

/// Removes the pin of a link that is not on the interface with this index: that had the name before.
pub(super) fn unpin_stranger(pin: &Path, ifindex: u32) -> Result<()> {
    if !pin.exists() {
        return Ok(());
    }
    let link = FdLink::from(PinnedLink::from_pin(pin)?);
    let on = link.info().ok().map(|info| interface_of(info.id()));
    match on {
        // One that does not tell is judged by whoever gives it a new program.
        Some(Ok(on)) if on != ifindex => {
            fs::remove_file(pin).with_context(|| format!("could not unpin {}", pin.display()))
        }
        _ => Ok(()),
    }
}

/// The processes that have open what has this `key` and number, as the kernel shows descriptors:
/// their ids and names.
pub(super) fn holders(key: &str, number: u32) -> Vec<String> {
    let number = number.to_string();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = processes.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.parse::<u32>().ok()
    });
    let holds = |pid: &u32| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
            return false;
        };
        files.flatten().any(|file| {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            value(&text, key) == Some(&number)
        })
    };
    let mut holders: Vec<String> = ids
        .filter(|pid| *pid != std::process::id())
        .filter(holds)
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} ({})", name.trim_end())
        })
        .collect();
    holders.sort();
    holders
}

/// What stands behind `key` in a list of lines `key: value`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let text = "pos:\t0\nlink_type:\txdp\nlink_id:\t12\nprog_id:\t34\nifindex:\t5\n";
        assert_eq!(value(text, "ifindex"), Some("5"));
        assert_eq!(value(text, "id"), None);
        assert_eq!(value("", "ifindex"), None);
    }
}
