//! What a single text of the configuration may be. Each function judges one text alone; `resolve`
//! and the modules of the tables judge what must hold between several settings.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use heartbeat_common::prefix::{Prefix, ServedAddress};

use super::{duration, read::Invalid, report::nearest, types::StopSignal};

/// Longest name of a cluster, node or virtual address.
const MAX_NAME: usize = 64;
/// Longest name of an instance.
const MAX_INSTANCE: usize = 32;
/// Longest name of an interface: the kernel's IFNAMSIZ, less the closing NUL.
const MAX_INTERFACE: usize = 15;
/// The bytes of a process's name that the kernel keeps: TASK_COMM_LEN, less the closing NUL.
const MAX_COMM: usize = 15;

// The values that the functions below take, for the documents.
pub(super) const NAME: &str = "1 to 64 letters, digits, `_`, `.` or `-`";
pub(super) const INSTANCE: &str = "1 to 32 lower-case letters, digits, `_` or `-`";
pub(super) const INTERFACE: &str = "the name of an interface";
pub(super) const PATH: &str = "an absolute path";
pub(super) const ACCOUNT: &str = "a name that the host knows; numbers are not taken";
pub(super) const STOP_SIGNAL: &str = "the name of a signal, with or without `SIG`";
pub(super) const SERVED: &str = "an IP address, with or without a prefix length";

pub(super) fn name(text: &str) -> Result<String, Invalid> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(Invalid::new(
            " is not a usable name",
            format!("use 1 to {MAX_NAME} letters, digits, `_`, `.` or `-`"),
        ))
    }
}

/// An instance's name is part of paths, also where only its own characters may appear.
pub(super) fn instance(text: &str) -> Result<String, Invalid> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if (1..=MAX_INSTANCE).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(Invalid::new(
            " is not a usable instance name",
            format!("use 1 to {MAX_INSTANCE} lower-case letters, digits, `_` or `-`"),
        ))
    }
}

/// The name of an interface, by the rules of the kernel (`dev_valid_name` in net/core/dev.c).
pub(super) fn interface(text: &str) -> Result<String, Invalid> {
    let refused = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    if text.is_empty() || text.len() > MAX_INTERFACE || matches!(text, "." | "..") {
        return Err(Invalid::new(
            " is not an interface name",
            format!("use 1 to {MAX_INTERFACE} bytes, as `ip link` shows it"),
        ));
    }
    if text.contains(refused) {
        return Err(Invalid::new(
            " is not an interface name",
            "leave out spaces, `/` and `:`; `ip link` shows the names",
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Invalid> {
    if text.starts_with('/') && !text.contains('\0') {
        Ok(PathBuf::from(text))
    } else {
        Err(Invalid::new(
            " is not an absolute path",
            "begin it with `/`",
        ))
    }
}

/// The name of a user or a group. Numbers are refused: two hosts may give one to two users.
pub(super) fn account(text: &str) -> Result<String, Invalid> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-$".contains(&byte);
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(allowed) || is_number {
        return Err(Invalid::new(
            " is not the name of a user or a group",
            "write the name as `getent passwd` or `getent group` shows it; numbers are not taken",
        ));
    }
    Ok(text.to_owned())
}

/// The name of a signal that can ask a program to end, with or without `SIG`.
pub(super) fn stop_signal(text: &str) -> Result<StopSignal, Invalid> {
    let wanted = text.to_ascii_uppercase();
    let wanted = wanted.strip_prefix("SIG").unwrap_or(&wanted);
    let is_it = |signal: &StopSignal| signal.as_str().strip_prefix("SIG") == Some(wanted);
    StopSignal::ALL.into_iter().find(is_it).ok_or_else(|| {
        one_of(
            "no signal that asks a program to end",
            text,
            &StopSignal::ALL.map(StopSignal::as_str),
        )
    })
}

/// A path to the key, which people take for the key itself.
pub(super) fn key_path(text: &str) -> Result<PathBuf, Invalid> {
    absolute_path(text).map_err(|_| {
        Invalid::new(
            " is not an absolute path",
            "name the file that `heartbeat keygen` made, as in key = \"/etc/heartbeat/key\"; \
             the key itself does not belong here",
        )
    })
}

/// A duration of at least `low` and at most `high`.
pub(super) fn duration(
    low: Duration,
    high: Duration,
) -> impl Fn(&str) -> Result<Duration, Invalid> {
    move |text| {
        let duration = duration::parse(text).ok_or_else(|| {
            let what = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
                " has no unit"
            } else {
                " is not a duration"
            };
            Invalid::new(
                what,
                "write a whole number and one of us, ms, s, min: \"500us\", \"10ms\", \"1500ms\"",
            )
        })?;
        let (low, high) = (duration::Show(low), duration::Show(high));
        if duration < low.0 {
            return Err(Invalid::new(
                format!(" is below {low}"),
                format!("write {low} or more"),
            ));
        }
        if duration > high.0 {
            return Err(Invalid::new(
                format!(" is above {high}"),
                format!("write {high} or less"),
            ));
        }
        Ok(duration)
    }
}

/// An address that a node can own on a link.
pub(super) fn address(text: &str) -> Result<IpAddr, Invalid> {
    let Ok(address) = text.parse::<IpAddr>() else {
        let remedy = if text.contains('/') {
            "leave out the prefix length, as in \"10.0.0.1\""
        } else {
            "write an address as in \"10.0.0.1\" or \"fd00::1\"; host names are not looked up"
        };
        return Err(Invalid::new(" is not an IP address", remedy));
    };
    not_mapped(address)?;
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast {
        return Err(Invalid::new(
            " is unspecified, multicast, loopback or broadcast",
            "write the address that the node has on this link",
        ));
    }
    if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Err(Invalid::new(
            " is link-local, which says nothing without an interface",
            "use a global or unique local address, as in \"fd00::1\"",
        ));
    }
    Ok(address)
}

/// A virtual address, with its prefix length or without.
pub(super) fn served_address(text: &str) -> Result<ServedAddress, Invalid> {
    let served: ServedAddress = text.parse().map_err(|error| {
        Invalid::new(
            format!(": {error}"),
            "write a free address, with the length of its subnet or without, as in \
             \"10.0.0.100/24\"",
        )
    })?;
    let ServedAddress { address, len } = served;
    not_mapped(address)?;
    if len.is_some_and(|len| !Prefix { address, len }.is_host()) {
        return Err(Invalid::new(
            " is the subnet's own or its broadcast address",
            "write an address between the two",
        ));
    }
    Ok(served)
}

/// The kernel's maps hold IPv4 addresses in mapped form: one address must not have two spellings.
fn not_mapped(address: IpAddr) -> Result<(), Invalid> {
    match address.to_canonical() {
        canonical if canonical == address => Ok(()),
        v4 => Err(Invalid::new(
            " is an IPv4 address in disguise",
            format!("write \"{v4}\""),
        )),
    }
}

/// The name of a unit, with a suffix (systemd.unit(5)). Examples in messages begin with `prefix`.
pub(super) fn unit(prefix: &'static str) -> impl Fn(&str) -> Result<String, Invalid> {
    const MAX_UNIT: usize = 255;
    const SUFFIXES: [&str; 11] = [
        "service",
        "socket",
        "target",
        "mount",
        "automount",
        "timer",
        "path",
        "slice",
        "scope",
        "swap",
        "device",
    ];
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    move |unit| {
        let (stem, unit) = match unit.rsplit_once('.') {
            Some((stem, suffix)) if SUFFIXES.contains(&suffix) => (stem, unit.to_owned()),
            _ => (unit, format!("{unit}.service")),
        };
        if stem.is_empty()
            || stem.starts_with('@')
            || unit.len() > MAX_UNIT
            || !unit.bytes().all(allowed)
        {
            return Err(Invalid::new(
                " is no name of a unit",
                format!("write it as `systemctl` shows it, as in \"{prefix}nginx.service\""),
            ));
        }
        if stem.ends_with('@') {
            return Err(Invalid::new(
                " is a template, of which no instance is named",
                format!("name one, as in \"{prefix}{stem}main\""),
            ));
        }
        Ok(unit)
    }
}

/// A word of a command: anything that can be handed to `execve`.
pub(super) fn word(text: &str) -> Result<String, Invalid> {
    if text.contains('\0') {
        return Err(Invalid::new(
            " holds a NUL",
            "leave it out: no argument can carry one",
        ));
    }
    Ok(text.to_owned())
}

/// Whether `name` can name a parameter of an agent, which becomes part of the name of an
/// environment variable.
pub(super) fn is_parameter(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

/// Whether a shell takes `name` as that of a variable.
pub(super) fn is_variable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = |first: u8| !first.is_ascii_digit();
    name.bytes().all(allowed) && name.bytes().next().is_some_and(starts)
}

/// An address and port to listen on.
pub(super) fn listener(text: &str) -> Result<SocketAddr, Invalid> {
    let address = text.parse::<SocketAddr>().ok();
    address
        .filter(|address| address.port() != 0)
        .ok_or_else(|| {
            Invalid::new(
                " is not an IP address with a port",
                "write it as in 127.0.0.1:6949 or [::1]:6949",
            )
        })
}

/// A unit that has a main process.
pub(super) fn service(text: &str) -> Result<String, Invalid> {
    let unit = unit("")(text)?;
    if unit.ends_with(".service") {
        Ok(unit)
    } else {
        Err(Invalid::new(
            " has no main process: only services do",
            "name a .service, or check by another type what the unit stands for",
        ))
    }
}

/// The name of a process as the kernel keeps it.
pub(super) fn comm(text: &str) -> Result<String, Invalid> {
    if text.is_empty() || text.contains(['/', '\0', '\n']) {
        return Err(Invalid::new(
            " is not a process's name",
            "write it as /proc/PID/comm has it, without a path",
        ));
    }
    if text.len() > MAX_COMM {
        let kept: String = text.chars().take(MAX_COMM).collect();
        return Err(Invalid::new(
            format!(" is longer than the {MAX_COMM} bytes that the kernel keeps of a name"),
            format!("write it as /proc/PID/comm has it, probably \"{kept}\""),
        ));
    }
    Ok(text.to_owned())
}

/// The message about a text that is none of `known`: names the likely one, or all.
pub(super) fn one_of(what: &str, text: &str, known: &[&'static str]) -> Invalid {
    let remedy = match nearest(text, known.iter().copied()) {
        Some(likely) => format!("did you mean \"{likely}\"?"),
        None => format!("use one of {}", known.join(", ")),
    };
    Invalid::new(format!(" is {what}"), remedy)
}
