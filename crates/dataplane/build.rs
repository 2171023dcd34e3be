//! Embeds the kernel programs into the binary. This script only copies: `cargo xtask build`
//! compiles the programs.
//!
//! The programs come from the file that `HEARTBEAT_BPF_OBJECT` names, else from `bpf/heartbeat`
//! below the target directory, where xtask puts them. Without that file the result is empty, so
//! that checks and lints need no BPF toolchain. `src/object/mod.rs` rejects an empty object at run
//! time.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

const OVERRIDE: &str = "HEARTBEAT_BPF_OBJECT";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run by cargo")?);
    let object = match env::var_os(OVERRIDE) {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(&path).map_err(|error| {
                format!(
                    "could not read {}, which {OVERRIDE} names: {error}",
                    path.display()
                )
            })?
        }
        None => from_target_directory(&out)?,
    };
    let embedded = out.join("heartbeat.bpf");
    fs::write(&embedded, object)
        .map_err(|error| format!("could not write {}: {error}", embedded.display()))
}

fn from_target_directory(out: &Path) -> Result<Vec<u8>, String> {
    let directory = target_directory(out)
        .ok_or_else(|| format!("{} is not below a target directory", out.display()))?
        .join("bpf");
    // Cargo can watch for a new file only in a directory that exists.
    fs::create_dir_all(&directory)
        .map_err(|error| format!("could not create {}: {error}", directory.display()))?;
    println!("cargo::rerun-if-changed={}", directory.display());
    let object = directory.join("heartbeat");
    match fs::read(&object) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| format!("could not read {}: {error}", object.display())),
    }
}

/// The directory `TARGET` of `TARGET/[TRIPLE/]PROFILE/build/PACKAGE/out`. Cargo gives build scripts
/// no other path.
fn target_directory(out: &Path) -> Option<&Path> {
    let build = out
        .ancestors()
        .find(|directory| directory.ends_with("build"))?;
    let above = build.parent()?.parent()?;
    let triple = env::var_os("TARGET")?;
    if above.ends_with(&triple) {
        above.parent()
    } else {
        Some(above)
    }
}
