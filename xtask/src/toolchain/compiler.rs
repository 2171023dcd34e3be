//! The Rust compilers of this machine, and whether they can build the core library for BPF.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{process, workspace::Workspace};

/// The variable with the path of a compiler that is used instead of those found.
pub(crate) const OVERRIDE: &str = "HEARTBEAT_BPF_RUSTC";
/// The oldest compiler that compiles our code.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// A compiler that can build for BPF.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    pub release: String,
    /// Major version of its LLVM.
    pub llvm: u32,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rustc {} (LLVM {}): {}",
            self.release,
            self.llvm,
            self.rustc.display()
        )
    }
}

/// The usable compilers, best first, and the reasons why others are not usable.
#[derive(Debug, Default)]
pub(crate) struct Compilers {
    pub usable: Vec<Compiler>,
    pub refused: Vec<String>,
}

impl Compilers {
    /// The compiler that runs this process, then rustup's nightlies, then the distribution's. The
    /// user's own compilers come before those that were installed for this.
    pub(crate) fn find(workspace: &Workspace) -> Self {
        let mut found = Self::default();
        for rustc in candidates(workspace) {
            match Compiler::examine(&rustc) {
                Ok(compiler) => found.usable.push(compiler),
                Err(error) => found
                    .refused
                    .push(format!("{}: {error:#}", rustc.display())),
            }
        }
        found
    }
}

fn candidates(workspace: &Workspace) -> Vec<PathBuf> {
    if let Some(rustc) = env::var_os(OVERRIDE) {
        return vec![rustc.into()];
    }
    let mut candidates = vec![workspace.cargo.with_file_name("rustc")];
    candidates.extend(rustup_nightlies());
    candidates.push("/usr/bin/rustc".into());
    let mut distinct: Vec<PathBuf> = Vec::new();
    for candidate in candidates {
        if process::is_executable(&candidate) && !distinct.contains(&candidate) {
            distinct.push(candidate);
        }
    }
    distinct
}

/// Reads the directory instead of calling rustup, which may start a download.
fn rustup_nightlies() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")));
    let entries = home.and_then(|home| home.join("toolchains").read_dir().ok());
    let mut nightlies: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("nightly"))
        .map(|entry| entry.path().join("bin/rustc"))
        .collect();
    // Undated before dated, newest date first.
    nightlies.sort_by(|a, b| b.cmp(a));
    nightlies
}

impl Compiler {
    fn examine(rustc: &Path) -> Result<Self> {
        let version = process::output(Command::new(rustc).arg("-vV"))?;
        let Version { release, llvm } =
            Version::parse(&version).context("`rustc -vV` names no release or no LLVM version")?;
        if !is_at_least(&release, MINIMUM) {
            bail!("{release} is older than {MINIMUM}");
        }
        let sysroot = process::output(Command::new(rustc).args(["--print", "sysroot"]))?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
        if !sources.join("core/src/lib.rs").is_file() {
            bail!("{release} has no library sources (component rust-src)");
        }
        let cargo = rustc.with_file_name("cargo");
        if !process::is_executable(&cargo) {
            bail!("{release} has no cargo beside it");
        }
        Ok(Self {
            rustc: rustc.to_owned(),
            cargo,
            release,
            llvm,
        })
    }

    /// `program` of the same release, such as `cargo-clippy`.
    pub(crate) fn companion(&self, program: &str) -> Option<PathBuf> {
        let path = self.rustc.with_file_name(program);
        process::is_executable(&path).then_some(path)
    }
}

/// The output of `rustc -vV`.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    release: String,
    llvm: u32,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            release: field("release: ")?.to_owned(),
            llvm: field("LLVM version: ")?.split('.').next()?.parse().ok()?,
        })
    }
}

/// Whether this version of a distribution's package has a compiler of our minimum version.
pub(crate) fn package_is_recent(version: &str) -> bool {
    let upstream = version
        .split_once(':')
        .map_or(version, |(_epoch, rest)| rest);
    is_at_least(upstream, MINIMUM)
}

/// Compares major and minor numbers, and ignores the rest.
fn is_at_least(version: &str, minimum: &str) -> bool {
    fn numbers(version: &str) -> Option<(u32, u32)> {
        let mut parts = version.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
    numbers(version)
        .zip(numbers(minimum))
        .is_some_and(|(version, minimum)| version >= minimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_and_llvm_are_read() {
        let debian = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                      binary: rustc\ncommit-hash: ac68faa\ncommit-date: 2026-05-25\n\
                      host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let version = Version {
            release: "1.96.0".into(),
            llvm: 22,
        };
        assert_eq!(Version::parse(debian), Some(version));
        let nightly = "release: 1.97.0-nightly\nLLVM version: 23\n";
        let version = Version {
            release: "1.97.0-nightly".into(),
            llvm: 23,
        };
        assert_eq!(Version::parse(nightly), Some(version));
        assert_eq!(Version::parse("release: 1.97.0\n"), None);
        assert_eq!(
            Version::parse("release: 1.97.0\nLLVM version: unknown\n"),
            None
        );
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(is_at_least("1.100.0-nightly", "1.88"));
        assert!(is_at_least("1.88.0", "1.88"));
        assert!(!is_at_least("1.87.2", "1.88"));
        assert!(is_at_least("2.0", "1.88"));
        assert!(!is_at_least("gcc", "1.88"));
    }

    #[test]
    fn package_versions_may_have_epoch_and_suffix() {
        assert!(package_is_recent("1.96.0+dfsg1-1~deb12u2"));
        assert!(package_is_recent("2:1.96.0-1"));
        assert!(!package_is_recent("1.63.0+dfsg1-2"));
    }
}
