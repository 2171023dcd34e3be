//! Finds the tools for building and testing, and installs the missing ones.
//!
//! Packages come from the distribution, by apt, as root or by sudo; bpf-linker is built in the
//! target directory. Rustup is used only where no package is suitable. The BPF target depends on
//! the compiler's LLVM, and a distribution updates its compiler and its LLVM together.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    apt::Apt,
    process,
    toolchain::{
        Toolchain,
        compiler::{self, Compiler, Compilers},
        linker,
    },
    workspace::Workspace,
};

/// The amount of output. Installations are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Reports also the tools that were found.
    Everything,
    Changes,
}

/// Packages of one build of Rust, in the order of preference.
struct RustPackages {
    rustc: &'static str,
    cargo: &'static str,
    sources: &'static str,
    clippy: &'static str,
}

const RUST_PACKAGES: [RustPackages; 2] = [
    RustPackages {
        rustc: "rustc",
        cargo: "cargo",
        sources: "rust-src",
        clippy: "rust-clippy",
    },
    // Debian's stable releases have a recent compiler under this name, for building browsers.
    RustPackages {
        rustc: "rustc-web",
        cargo: "cargo-web",
        sources: "rust-web-src",
        clippy: "rust-web-clippy",
    },
];

/// The libraries for linking bpf-linker, beside LLVM itself.
const LINKER_LIBRARIES: [&str; 3] = ["g++", "libzstd-dev", "zlib1g-dev"];

/// A time that is long enough for any working network.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// The BPF toolchain: the first usable compiler with a linker, or with one that can be built.
pub(crate) fn toolchain(workspace: &Workspace, verbosity: Verbosity) -> Result<Toolchain> {
    let mut apt = Apt::find();
    let mut tried = Vec::new();
    let mut found = find_or_complete(workspace, apt.as_mut(), &mut tried);
    if found.is_none() && std::env::var_os(compiler::OVERRIDE).is_none() {
        for install in [install_packaged_rust, add_sources_to_rustup] {
            match install(workspace, apt.as_mut()) {
                Ok(()) => found = find_or_complete(workspace, apt.as_mut(), &mut tried),
                Err(error) => tried.push(format!("{error:#}")),
            }
            if found.is_some() {
                break;
            }
        }
    }
    let Some(toolchain) = found else {
        let mut told = std::collections::HashSet::new();
        tried.retain(|reason| told.insert(reason.clone()));
        bail!(
            "found no BPF toolchain and could not set one up:\n  {}\nto do it by hand: \
             `rustup component add rust-src` (rustc {} or later), and put a bpf-linker built with \
             the same LLVM as that rustc on PATH (https://github.com/aya-rs/bpf-linker); \
             {}=/path/to/rustc chooses among several compilers",
            tried.join("\n  "),
            env!("CARGO_PKG_RUST_VERSION"),
            compiler::OVERRIDE,
        );
    };
    if verbosity == Verbosity::Everything {
        println!("compiler: {}", toolchain.compiler);
        println!("linker: {}", toolchain.linker.display());
    }
    Ok(toolchain)
}

/// Prefers a complete compiler over one for which a linker must be built.
fn find_or_complete(
    workspace: &Workspace,
    mut apt: Option<&mut Apt>,
    tried: &mut Vec<String>,
) -> Option<Toolchain> {
    let Compilers { usable, refused } = Compilers::find(workspace);
    tried.extend(refused);
    let mut incomplete = Vec::new();
    for compiler in usable {
        match linker::find(workspace, compiler.llvm) {
            Some(linker) => return Some(Toolchain { compiler, linker }),
            None => incomplete.push(compiler),
        }
    }
    for compiler in incomplete {
        match build_linker(workspace, apt.as_deref_mut(), &compiler) {
            Ok(()) => match linker::find(workspace, compiler.llvm) {
                Some(linker) => return Some(Toolchain { compiler, linker }),
                None => tried.push(format!(
                    "{compiler}: the bpf-linker just built does not run"
                )),
            },
            Err(error) => tried.push(format!("{compiler}: {error:#}")),
        }
    }
    None
}

/// Builds a linker with the compiler's own LLVM, or with a later one.
fn build_linker(
    workspace: &Workspace,
    mut apt: Option<&mut Apt>,
    compiler: &Compiler,
) -> Result<()> {
    let mut reasons = vec!["no bpf-linker for its LLVM".to_owned()];
    for llvm in linker::BUILDABLE
        .into_iter()
        .filter(|llvm| *llvm >= compiler.llvm)
    {
        match provide_llvm(apt.as_deref_mut(), llvm) {
            Ok(prefix) => return linker::install(workspace, llvm, &prefix),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!("{}", reasons.join("; "))
}

/// The directory of LLVM `major`, with all libraries for linking.
fn provide_llvm(apt: Option<&mut Apt>, major: u32) -> Result<PathBuf> {
    if let Some(apt) = apt {
        if linker::llvm_prefix(major).is_none() {
            apt.ensure(&[&format!("llvm-{major}-dev")])?;
        }
        apt.ensure(&LINKER_LIBRARIES)?;
    }
    linker::llvm_prefix(major).with_context(|| format!("no development files of LLVM {major}"))
}

fn install_packaged_rust(_: &Workspace, apt: Option<&mut Apt>) -> Result<()> {
    let Some(apt) = apt else {
        bail!("packages: this system has no apt, the only package manager that setup knows");
    };
    let mut set = recent_rust(apt)?;
    if set.is_none() {
        apt.update()?;
        set = recent_rust(apt)?;
    }
    match set {
        Some(set) => apt.ensure(&[set.rustc, set.cargo, set.sources]),
        None => bail!("packages: none has a recent rustc"),
    }
}

fn recent_rust(apt: &Apt) -> Result<Option<&'static RustPackages>> {
    for set in &RUST_PACKAGES {
        if apt
            .candidate(set.rustc)?
            .is_some_and(|v| compiler::package_is_recent(&v))
        {
            return Ok(Some(set));
        }
    }
    Ok(None)
}

/// Adds the library's sources to the rustup toolchain of this process.
fn add_sources_to_rustup(_: &Workspace, _: Option<&mut Apt>) -> Result<()> {
    let Some(rustup) = process::find("rustup") else {
        bail!("rustup: not on PATH");
    };
    eprintln!("setup: adding component rust-src to the active rustup toolchain");
    process::run_within(
        Command::new(rustup).args(["component", "add", "rust-src"]),
        RUSTUP_LIMIT,
    )
}

/// Clippy of the BPF compiler's release. This installs it if the compiler is the distribution's.
pub(crate) fn clippy(compiler: &Compiler) -> Result<PathBuf> {
    if let Some(clippy) = compiler.companion("cargo-clippy") {
        return Ok(clippy);
    }
    if let Some(mut apt) = Apt::find().filter(|_| compiler.rustc.starts_with("/usr/bin")) {
        let installed = |set: &&RustPackages| apt.missing(&[set.rustc]).is_empty();
        if let Some(set) = RUST_PACKAGES.iter().find(installed) {
            apt.ensure(&[set.clippy])?;
        }
    }
    match compiler.companion("cargo-clippy") {
        Some(clippy) => Ok(clippy),
        None => bail!("{compiler} has no clippy: install that of the same release"),
    }
}

/// A tool for the tests, and the packages that may contain it.
///
/// No package may start a service at its installation: the machine has an owner.
struct TestTool {
    name: &'static str,
    is_there: fn() -> bool,
    packages: &'static [&'static str],
}

/// Tools for clusters in namespaces.
const RIG_TOOLS: [TestTool; 4] = [
    TestTool {
        name: "ip",
        is_there: || process::find("ip").is_some(),
        packages: &["iproute2"],
    },
    TestTool {
        name: "bpftool",
        is_there: || process::find("bpftool").is_some(),
        // On Ubuntu the second package contains it.
        packages: &["bpftool", "linux-tools-common"],
    },
    TestTool {
        name: "nft",
        is_there: || process::find("nft").is_some(),
        packages: &["nftables"],
    },
    TestTool {
        name: "scapy (for /usr/bin/python3)",
        is_there: has_scapy,
        packages: &["python3-scapy"],
    },
];

/// Programs that the tests of resources and of commands run.
const RESOURCE_TOOLS: [TestTool; 6] = [
    TestTool {
        name: "OCF resource agents",
        is_there: || process::is_executable(Path::new(DUMMY_AGENT)),
        packages: &["resource-agents"],
    },
    TestTool {
        name: "man",
        is_there: || process::find("man").is_some(),
        packages: &["man-db"],
    },
    TestTool {
        name: "apache2",
        is_there: || process::find("apache2").is_some(),
        // Package apache2 would start the service.
        packages: &["apache2-bin"],
    },
    TestTool {
        name: "curl",
        is_there: || process::find("curl").is_some(),
        packages: &["curl"],
    },
    TestTool {
        name: "systemd",
        is_there: || process::is_executable(Path::new(SYSTEMD)),
        packages: &["systemd"],
    },
    TestTool {
        name: "dbus-daemon",
        is_there: || process::find("dbus-daemon").is_some(),
        packages: &["dbus-daemon", "dbus"],
    },
];

const DUMMY_AGENT: &str = "/usr/lib/ocf/resource.d/heartbeat/Dummy";
/// The path through the link of a merged /usr.
const SYSTEMD: &str = "/lib/systemd/systemd";

/// Checks the system's python, since another one on PATH does not find the system's packages.
fn has_scapy() -> bool {
    let check = "import importlib.util as u, sys; sys.exit(u.find_spec('scapy') is None)";
    let python = Path::new("/usr/bin/python3");
    process::is_executable(python)
        && process::output(Command::new(python).args(["-c", check])).is_ok()
}

/// Ensures the tools of the rig's clusters.
pub(crate) fn rig_tools(verbosity: Verbosity) -> Result<()> {
    provide(&RIG_TOOLS, verbosity)
}

/// Ensures the tools of the tests, beside the rig's.
pub(crate) fn resource_tools(verbosity: Verbosity) -> Result<()> {
    provide(&RESOURCE_TOOLS, verbosity)
}

fn provide(tools: &[TestTool], verbosity: Verbosity) -> Result<()> {
    let mut apt = Apt::find();
    for tool in tools {
        if !(tool.is_there)() {
            install_tool(tool, apt.as_mut())?;
        }
        if verbosity == Verbosity::Everything {
            println!("{}: present", tool.name);
        }
    }
    Ok(())
}

fn install_tool(tool: &TestTool, apt: Option<&mut Apt>) -> Result<()> {
    let Some(apt) = apt else {
        bail!(
            "the tests need {}, and this system has no apt: install it (Debian's package is {})",
            tool.name,
            tool.packages[0]
        );
    };
    let mut result = Ok(());
    for package in tool.packages {
        result = apt.ensure(&[package]);
        if result.is_ok() && (tool.is_there)() {
            return Ok(());
        }
    }
    result?;
    bail!(
        "installed {}, but still there is no {}",
        tool.packages.join(" "),
        tool.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(is_there: fn() -> bool) -> TestTool {
        TestTool {
            name: "a tool",
            is_there,
            packages: &["no-such-package"],
        }
    }

    #[test]
    fn installed_package_is_not_installed_again() {
        provide(&[tool(|| true)], Verbosity::Changes).expect("nothing to do");
    }

    #[test]
    fn package_that_cannot_be_had_is_named() {
        let error = install_tool(&tool(|| false), None).unwrap_err().to_string();
        assert!(
            error.contains("a tool") && error.contains("no-such-package"),
            "{error}"
        );
    }

    #[test]
    fn no_package_starts_a_service() {
        // These packages start a service at their installation on Debian.
        const STARTING: [&str; 3] = ["apache2", "nginx", "postgresql"];
        let tools = RIG_TOOLS.iter().chain(&RESOURCE_TOOLS);
        for package in tools.flat_map(|tool| tool.packages) {
            assert!(!STARTING.contains(package), "{package}");
        }
    }
}
