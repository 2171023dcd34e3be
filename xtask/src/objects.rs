//! The BPF objects: compiled with the BPF toolchain, then copied to the path that the user crates
//! read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    cargo,
    setup::{self, Verbosity},
    workspace::Workspace,
};

/// Compiled BPF objects, by purpose.
#[derive(Debug)]
pub(crate) struct Objects {
    /// The production programs.
    pub heartbeat: PathBuf,
    /// The programs of the tests' switch ports.
    pub rig: PathBuf,
}

/// Builds all outdated objects, after setting up the toolchain if necessary.
pub(crate) fn build(workspace: &Workspace) -> Result<Objects> {
    let toolchain = setup::toolchain(workspace, Verbosity::Changes)?;
    let mut command = toolchain.cargo(&toolchain.compiler.cargo, "build", workspace);
    let built = cargo::build(&mut command).with_context(|| {
        format!(
            "could not compile the kernel programs with {}",
            toolchain.compiler
        )
    })?;
    let directory = workspace.objects();
    fs::create_dir_all(&directory)
        .with_context(|| format!("could not create {}", directory.display()))?;
    let publish = |name: &str| {
        let object = built.iter().find(|program| program.name == name);
        let object = object.with_context(|| format!("cargo built no kernel object {name}"))?;
        let public = directory.join(name);
        copy_if_different(&object.path, &public)
            .with_context(|| format!("could not write {}", public.display()))?;
        Ok::<_, anyhow::Error>(public)
    };
    Ok(Objects {
        heartbeat: publish("heartbeat")?,
        rig: publish("rig")?,
    })
}

/// Copies the file if it differs. An unchanged object keeps its time, so that nothing is rebuilt
/// for it.
fn copy_if_different(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // The file is renamed into place, so that a parallel build never reads half of it.
    let partial = to.with_extension("partial");
    fs::write(&partial, new)?;
    fs::rename(&partial, to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_only_what_changed() {
        let directory = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (from, to) = (directory.join("from"), directory.join("to"));
        fs::write(&from, "one").unwrap();
        copy_if_different(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"one");

        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        fs::File::options()
            .write(true)
            .open(&to)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        copy_if_different(&from, &to).unwrap();
        assert_eq!(to.metadata().unwrap().modified().unwrap(), long_ago);

        fs::write(&from, "two").unwrap();
        copy_if_different(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
        fs::remove_dir_all(&directory).unwrap();
    }
}
