//! BPF links in the kernel: the interface of a link, the processes that have it open, and its
//! detachment.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    str::FromStr,
};

use anyhow::{Context as _, Result};
use aya_obj::generated::bpf_cmd;
use nix::errno::Errno;

/// `union bpf_attr`, up to the last field that the commands on numbers and descriptors read.
#[repr(C)]
struct OfNumber {
    number: u32,
    rest: [u32; 3],
}

/// The same union for `BPF_OBJ_GET`.
#[repr(C)]
struct OfPath {
    path: u64,
    descriptor: u32,
    flags: u32,
}

impl OfNumber {
    fn new(number: u32) -> Self {
        Self {
            number,
            rest: [0; 3],
        }
    }
}

fn bpf<A>(command: bpf_cmd, attributes: &A) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads the attributes, which outlive the call, up to the given length.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            &raw const *attributes,
            size_of::<A>(),
        )
    };
    Ok(Errno::result(result)?)
}

fn open<A>(command: bpf_cmd, attributes: &A) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Opens the link with this number. This needs CAP_SYS_ADMIN, which a running agent does not have.
fn open_number(id: u32) -> Result<OwnedFd> {
    open(bpf_cmd::BPF_LINK_GET_FD_BY_ID, &OfNumber::new(id))
        .with_context(|| format!("could not open BPF link {id}"))
}

/// Opens a pinned link.
fn open_pin(pin: &Path) -> Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes = OfPath {
        path: path.as_ptr() as u64,
        descriptor: 0,
        flags: 0,
    };
    open(bpf_cmd::BPF_OBJ_GET, &attributes)
        .with_context(|| format!("could not open the pin {}", pin.display()))
}

/// Detaches the link with this number from its interface, whoever holds it.
pub(crate) fn detach(id: u32) -> Result<()> {
    let link = open_number(id)?;
    let number = OfNumber::new(link.as_raw_fd().cast_unsigned());
    bpf(bpf_cmd::BPF_LINK_DETACH, &number)
        .map(drop)
        .with_context(|| format!("could not detach BPF link {id}"))
}

/// Detaches a pinned link from its interface at once, and removes the pin. Returns the interface,
/// and the number of the program.
pub(crate) fn take_off(pin: &Path) -> Result<(u32, u32)> {
    let link = open_pin(pin)?;
    let was = (on(&link)?, shown(&link, "prog_id")?);
    let number = OfNumber::new(link.as_raw_fd().cast_unsigned());
    bpf(bpf_cmd::BPF_LINK_DETACH, &number)
        .with_context(|| format!("could not detach {}", pin.display()))?;
    fs::remove_file(pin).with_context(|| format!("could not unpin {}", pin.display()))?;
    Ok(was)
}

/// The interface of a pinned link; 0 if the interface is gone.
pub(crate) fn interface_of_pin(pin: &Path) -> Result<u32> {
    on(&open_pin(pin)?)
}

/// The interface of a pinned link, and the number of the link's program.
pub(crate) fn of_pin(pin: &Path) -> Result<(u32, u32)> {
    let link = open_pin(pin)?;
    Ok((on(&link)?, shown(&link, "prog_id")?))
}

/// The interface of the link with this number; 0 if the interface is gone.
pub(crate) fn interface_of(id: u32) -> Result<u32> {
    on(&open_number(id)?)
}

/// The number of the cgroup of a pinned link; 0 if the link is no longer attached.
pub(crate) fn cgroup_of_pin(pin: &Path) -> Result<u64> {
    shown(&open_pin(pin)?, "cgroup_id")
}

/// Replaces the program of a pinned link. Each packet meets the old program or the new one.
pub(crate) fn renew(pin: &Path, program: BorrowedFd) -> Result<()> {
    let link = open_pin(pin)?;
    let attributes = OfNumber {
        number: link.as_raw_fd().cast_unsigned(),
        // The new program, no flags, and no check of the old program.
        rest: [program.as_raw_fd().cast_unsigned(), 0, 0],
    };
    bpf(bpf_cmd::BPF_LINK_UPDATE, &attributes)
        .map(drop)
        .with_context(|| format!("could not replace the program of {}", pin.display()))
}

/// The interface of an open link; 0 if the interface is gone.
fn on(link: &OwnedFd) -> Result<u32> {
    shown(link, "ifindex")
}

/// The value that the kernel shows of an open link behind `key`.
fn shown<T: FromStr>(link: &OwnedFd, key: &str) -> Result<T> {
    let info = format!("/proc/self/fdinfo/{}", link.as_raw_fd());
    let text = fs::read_to_string(&info).with_context(|| format!("could not read {info}"))?;
    value(&text, key)
        .and_then(|value| value.parse().ok())
        .with_context(|| format!("the kernel does not show the {key} of a BPF link"))
}

/// Removes the pin of a link that is on another interface than the one with this index.
pub(crate) fn unpin_stranger(pin: &Path, ifindex: u32) -> Result<()> {
    if !pin.exists() {
        return Ok(());
    }
    match on(&open_pin(pin)?) {
        // A link without information is checked when it gets a new program.
        Ok(on) if on != ifindex => {
            fs::remove_file(pin).with_context(|| format!("could not unpin {}", pin.display()))
        }
        _ => Ok(()),
    }
}

/// The ids and names of the processes that have a descriptor with this `key` and number open.
pub(crate) fn holders(key: &str, number: u32) -> Vec<String> {
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

/// The value behind `key` in a list of lines `key: value`.
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
    fn value_is_found_by_its_whole_key() {
        let text = "pos:\t0\nlink_type:\txdp\nlink_id:\t12\nprog_id:\t34\nifindex:\t5\n";
        assert_eq!(value(text, "ifindex"), Some("5"));
        assert_eq!(value(text, "id"), None);
        assert_eq!(value("", "ifindex"), None);
    }
}
