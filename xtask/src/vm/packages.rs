//! The kernels for the tests, and the programs that boot them: Debian's packages, unpacked.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    apt::Apt,
    process,
    setup::Verbosity,
    unpacked::{self, Store},
    workspace::Workspace,
};

/// A series of kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    /// The name of the directory with the unpacked kernel.
    name: &'static str,
    /// The begin of the release.
    release: &'static str,
    /// The packages that may depend on the latest kernel of the series.
    metapackages: &'static [&'static str],
}

pub(super) const OLD: Series = Series {
    name: "6.1",
    release: "6.1",
    metapackages: &["linux-image-cloud-amd64"],
};
pub(super) const NEW: Series = Series {
    name: "6.12",
    release: "6.12",
    metapackages: &["linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"],
};
/// The kernel with `PREEMPT_RT`.
pub(super) const REAL_TIME: Series = Series {
    name: "6.12-rt",
    release: "6.12",
    metapackages: &["linux-image-6.12-rt-amd64", "linux-image-rt-amd64"],
};

const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// The kernels, QEMU and busybox.
#[derive(Debug)]
pub(super) struct Packages {
    pub(super) kernels: Vec<Kernel>,
    pub(super) busybox: PathBuf,
    pub(super) qemu: Qemu,
}

#[derive(Debug)]
pub(super) struct Kernel {
    /// The release in the form of `uname -r`.
    pub(super) release: String,
    /// The bootable image.
    pub(super) image: PathBuf,
    /// The modules, in directories below.
    pub(super) modules: PathBuf,
}

#[derive(Debug)]
pub(super) enum Qemu {
    Installed(PathBuf),
    /// The directory with its unpacked package, and with the dependencies that this system lacks.
    Unpacked(PathBuf),
}

/// Downloads the missing packages: the latest kernel of each of `wanted`, QEMU and busybox.
pub(super) fn provide(
    workspace: &Workspace,
    wanted: &[Series],
    verbosity: Verbosity,
) -> Result<Packages> {
    let mut store = Store::new(workspace.vm());
    let mut kernels = Vec::new();
    for series in wanted {
        let unpacked = store.ensure(series.name, |apt| Ok(vec![latest(apt, series)?]))?;
        kernels.push(Kernel::find(&unpacked)?);
    }
    let busybox = store.ensure("busybox", |_| Ok(vec!["busybox-static".to_owned()]))?;
    let qemu = match process::find(QEMU) {
        Some(path) => Qemu::Installed(path),
        None => Qemu::Unpacked(store.ensure("qemu", |apt| apt.with_missing(&[QEMU_PACKAGE]))?),
    };
    if verbosity == Verbosity::Everything {
        for kernel in &kernels {
            println!("kernel for tests in QEMU: {}", kernel.release);
        }
        println!("{QEMU}: {}", qemu.path().display());
    }
    Ok(Packages {
        kernels,
        busybox: busybox.join("bin/busybox"),
        qemu,
    })
}

impl Kernel {
    fn find(unpacked: &Path) -> Result<Self> {
        let boot = unpacked.join("boot");
        let entries = fs::read_dir(&boot)
            .with_context(|| format!("no {}: remove {}", boot.display(), unpacked.display()))?;
        let release = entries.flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_prefix("vmlinuz-")?.to_owned())
        });
        let release = release.with_context(|| format!("no kernel in {}", boot.display()))?;
        let modules = ["lib/modules", "usr/lib/modules"]
            .map(|directory| unpacked.join(directory).join(&release))
            .into_iter()
            .find(|directory| directory.exists());
        Ok(Self {
            image: boot.join(format!("vmlinuz-{release}")),
            modules: modules.with_context(|| format!("no modules of {release}"))?,
            release,
        })
    }

    /// The list of the kernel's built-in modules.
    pub(super) fn builtin(&self) -> Result<String> {
        let list = self.modules.join("modules.builtin");
        fs::read_to_string(&list).with_context(|| format!("could not read {}", list.display()))
    }
}

impl Qemu {
    fn path(&self) -> PathBuf {
        match self {
            Self::Installed(path) => path.clone(),
            Self::Unpacked(root) => root.join("usr/bin").join(QEMU),
        }
    }

    /// A command for QEMU without further arguments. The program is ended after `limit` seconds.
    pub(super) fn command(&self, limit: &str) -> Command {
        let mut command = Command::new("timeout");
        command.arg(limit).arg(self.path());
        self.prepare(command)
    }

    /// A command for QEMU without further arguments.
    pub(super) fn plain(&self) -> Command {
        self.prepare(Command::new(self.path()))
    }

    /// Adds the places of unpacked libraries and firmware to `command`.
    fn prepare(&self, mut command: Command) -> Command {
        if let Self::Unpacked(root) = self {
            let libraries = unpacked::libraries(root);
            command.env("QEMU_MODULE_DIR", libraries[0].join("qemu"));
            // This fails for a path with a colon. QEMU then reports the missing library.
            if let Ok(paths) = env::join_paths(&libraries) {
                command.env("LD_LIBRARY_PATH", paths);
            }
            for firmware in ["seabios", "qemu"] {
                command.arg("-L").arg(root.join("usr/share").join(firmware));
            }
        }
        command
    }
}

/// The package of the latest kernel of `series`.
fn latest(apt: &mut Apt, series: &Series) -> Result<String> {
    let Series {
        name,
        release,
        metapackages,
    } = series;
    let prefix = format!("linux-image-{release}.");
    for update in [false, true] {
        if update {
            apt.update()?;
        }
        for metapackage in *metapackages {
            let depends = apt.depends(metapackage);
            if let Some(package) = depends.into_iter().find(|name| name.starts_with(&prefix)) {
                return Ok(package);
            }
        }
    }
    bail!(
        "this system's package lists have no kernel {name} ({}): the tests in QEMU are for Debian \
         12",
        metapackages.join(", ")
    )
}
