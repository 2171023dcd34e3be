//! The commands in keepalived's configuration, as our programs without a shell.

use std::net::IpAddr;

use super::syntax::{Item, arguments};
use crate::emit::Value;

/// Longest name of a process in the kernel.
const MAX_PROCESS: usize = 15;

/// The subject of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Interface(String),
    Process(String),
    Tcp(String),
    /// A program and its arguments.
    Program(Vec<String>),
    /// A command that needs a shell to parse or to find it.
    Shell(String),
}

impl Command {
    /// The type of a health check.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Interface(_) => "interface",
            Self::Process(_) => "process",
            Self::Tcp(_) => "tcp",
            Self::Program(_) | Self::Shell(_) => "exec",
        }
    }

    /// The name of the field in a health check.
    pub(super) fn field(&self) -> (&'static str, Value) {
        match self {
            Self::Interface(name) => ("interface", Value::Text(name.clone())),
            Self::Process(name) => ("process", Value::Text(name.clone())),
            Self::Tcp(address) => ("address", Value::Text(address.clone())),
            Self::Program(_) | Self::Shell(_) => ("exec", Value::List(self.words())),
        }
    }

    /// Program and arguments.
    pub(super) fn words(&self) -> Vec<String> {
        match self {
            Self::Program(words) => words.clone(),
            Self::Shell(text) => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            Self::Interface(_) | Self::Process(_) | Self::Tcp(_) => Vec::new(),
        }
    }

    /// The remark on the translation, if there is one.
    pub(super) fn remark(&self) -> Option<String> {
        let text = match self {
            Self::Process(_) => "the agent tests the process itself, without a program",
            Self::Tcp(_) => "the agent connects to the port itself, without a program",
            Self::Shell(_) => {
                "heartbeat runs programs without a shell and by absolute paths, so the program \
                 here is a shell"
            }
            Self::Interface(_) | Self::Program(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// The command of a `script`, if there is one.
pub(super) fn of(script: &Item) -> Option<Command> {
    let word = script.words.get(1)?;
    let words = match word.quoted {
        true => arguments(&word.text),
        // The words after the command are a user and a group.
        false => vec![word.text.clone()],
    };
    let first = words.first().filter(|first| !first.is_empty())?;
    let plain: Vec<&str> = words.iter().map(String::as_str).collect();
    let base = first.rsplit('/').next().unwrap_or_default();
    if let ("killall", [_, "-0", name]) | ("pidof", [_, name]) = (base, plain.as_slice())
        && is_process(name)
    {
        return Some(Command::Process((*name).to_owned()));
    }
    if let [only] = plain.as_slice()
        && let Some(address) = tcp(only)
    {
        return Some(Command::Tcp(address));
    }
    // keepalived 2 runs scripts without a shell, its predecessors with one.
    let operator = |word: &&str| word.starts_with(['|', '&', ';', '<', '>']) || word.ends_with(';');
    if first.starts_with('/') && !plain.iter().any(operator) {
        Some(Command::Program(words))
    } else {
        Some(Command::Shell(word.text.clone()))
    }
}

fn is_process(name: &str) -> bool {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
    (1..=MAX_PROCESS).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(usable)
}

/// `</dev/tcp/127.0.0.1/80`, the syntax of bash for a connection.
fn tcp(text: &str) -> Option<String> {
    let (host, port) = text.strip_prefix("</dev/tcp/")?.split_once('/')?;
    let host: IpAddr = host.parse().ok()?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    Some(std::net::SocketAddr::from((host, port)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{input::Input, keepalived::syntax::parse};

    fn of_line(line: &str) -> Option<Command> {
        let input = Input {
            name: "k".to_owned(),
            text: line.to_owned(),
        };
        of(&parse(&input).unwrap()[0])
    }

    #[test]
    fn script_becomes_the_simplest_check_that_looks_for_the_same() {
        let program = |words: &[&str]| {
            Command::Program(words.iter().map(|word| (*word).to_owned()).collect())
        };
        for (line, expected) in [
            (
                "script \"killall -0 haproxy\"",
                Command::Process("haproxy".to_owned()),
            ),
            (
                "script \"/usr/bin/killall -0 nginx\"",
                Command::Process("nginx".to_owned()),
            ),
            (
                "script \"/bin/pidof named\"",
                Command::Process("named".to_owned()),
            ),
            (
                "script \"</dev/tcp/127.0.0.1/80\"",
                Command::Tcp("127.0.0.1:80".to_owned()),
            ),
            (
                "script \"</dev/tcp/::1/80\"",
                Command::Tcp("[::1]:80".to_owned()),
            ),
            ("script /etc/check.sh root", program(&["/etc/check.sh"])),
            (
                "script \"/etc/check.sh a 'b c'\"",
                program(&["/etc/check.sh", "a", "b c"]),
            ),
            (
                "script \"killall -0 a-name-beyond-fifteen\"",
                Command::Shell("killall -0 a-name-beyond-fifteen".to_owned()),
            ),
            (
                "script \"/usr/bin/curl -s x | grep ok\"",
                Command::Shell("/usr/bin/curl -s x | grep ok".to_owned()),
            ),
            (
                "script \"</dev/tcp/localhost/80\"",
                Command::Shell("</dev/tcp/localhost/80".to_owned()),
            ),
        ] {
            assert_eq!(of_line(line), Some(expected), "{line}");
        }
        assert_eq!(of_line("script"), None);
        assert_eq!(of_line("script \"\""), None);
    }
}
