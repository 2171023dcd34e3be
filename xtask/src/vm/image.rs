//! The initramfs for all kernels: one directory packed into a file.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{
    PROGRAMS,
    packages::{Kernel, Packages},
};
use crate::{launch::Built, process, workspace::Workspace};

const INIT: &str = include_str!("init.sh");
/// Modules for the tests, in the order of `init.sh`, if the kernel does not have them built in.
const MODULES: [&str; 17] = [
    "llc",
    "stp",
    "bridge",
    "veth",
    "sch_ingress",
    "cls_bpf",
    // VLAN interfaces.
    "garp",
    "mrp",
    "8021q",
    // Network cards.
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// Packs everything into one file. `programs` are the tests, each with its name.
pub(super) fn make(
    workspace: &Workspace,
    packages: &Packages,
    built: &Built,
    programs: &[(String, PathBuf)],
) -> Result<PathBuf> {
    let root = workspace.vm().join("image");
    let image = Image::new(&root, &packages.busybox)?;
    image.write("init", INIT.as_bytes(), 0o755)?;
    image.copy(&packages.busybox, "bin/busybox")?;
    for kernel in &packages.kernels {
        let builtin = kernel.builtin()?;
        for module in MODULES.iter().filter(|name| !has_module(&builtin, name)) {
            image.module(
                &kernel.modules,
                module,
                &format!("modules/{}", kernel.release),
            )?;
        }
    }
    image.copy(&built.objects.heartbeat, "heartbeat/heartbeat.bpf")?;
    image.copy(&built.objects.rig, "heartbeat/rig.bpf")?;
    image.program(&built.heartbeat, "heartbeat/heartbeat")?;
    for (name, path) in programs {
        image.program(path, &format!("heartbeat/{name}"))?;
    }
    let tc = process::find("tc").context("no `tc`: install iproute2")?;
    // This `tc` is apart from busybox's own.
    image.program(&tc, "sbin/tc")?;
    let list = PROGRAMS.map(|(name, filter)| format!("{name} {filter}\n"));
    image.write("heartbeat/programs", list.concat().as_bytes(), 0o644)?;
    image.pack(&workspace.vm().join("image.cpio"))
}

/// A directory that becomes an initramfs.
pub(super) struct Image<'a> {
    root: &'a Path,
    busybox: &'a Path,
}

impl<'a> Image<'a> {
    /// An empty image. An older one at `root` is removed.
    pub(super) fn new(root: &'a Path, busybox: &'a Path) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        Ok(Self { root, busybox })
    }

    pub(super) fn write(&self, to: &str, content: &[u8], mode: u32) -> Result<()> {
        let to = self.place(to)?;
        fs::write(&to, content)
            .and_then(|()| fs::set_permissions(&to, fs::Permissions::from_mode(mode)))
            .with_context(|| format!("could not write {}", to.display()))
    }

    pub(super) fn copy(&self, from: &Path, to: &str) -> Result<()> {
        fs::copy(from, self.place(to)?)
            .map(drop)
            .with_context(|| format!("could not copy {}", from.display()))
    }

    /// Copies a program without its debugging information, and the libraries that it needs.
    pub(super) fn program(&self, from: &Path, to: &str) -> Result<()> {
        let mut strip = Command::new("strip");
        strip
            .args(["--strip-debug", "-o"])
            .arg(self.place(to)?)
            .arg(from);
        process::run(&mut strip)?;
        let needed = process::output(Command::new("ldd").arg(from))?;
        for library in needed.lines().filter_map(library) {
            let to = library.trim_start_matches('/');
            if !self.root.join(to).exists() {
                self.copy(Path::new(library), to)?;
            }
        }
        Ok(())
    }

    /// Copies the modules `names` of `kernel` and their dependencies to the directory `to`. Returns
    /// the names of the copied ones in the order of loading. Built-in modules are left out.
    pub(super) fn modules(&self, kernel: &Kernel, names: &[&str], to: &str) -> Result<Vec<String>> {
        let builtin = kernel.builtin()?;
        let mut copied = Vec::new();
        for name in names {
            self.with_dependencies(kernel, &builtin, name, to, &mut copied)?;
        }
        Ok(copied)
    }

    fn with_dependencies(
        &self,
        kernel: &Kernel,
        builtin: &str,
        name: &str,
        to: &str,
        copied: &mut Vec<String>,
    ) -> Result<()> {
        if has_module(builtin, name) || copied.iter().any(|module| module == name) {
            return Ok(());
        }
        self.module(&kernel.modules, name, to)?;
        let content = fs::read(self.root.join(format!("{to}/{name}.ko")))?;
        for dependency in dependencies(&content) {
            self.with_dependencies(kernel, builtin, &dependency, to, copied)?;
        }
        copied.push(name.to_owned());
        Ok(())
    }

    /// The module `name`, uncompressed.
    fn module(&self, modules: &Path, name: &str, to: &str) -> Result<()> {
        let Some(file) = find_module(modules, name)? else {
            bail!("no module {name} in {}", modules.display());
        };
        let to = format!("{to}/{name}.ko");
        if file.extension() == Some(OsStr::new("ko")) {
            return self.copy(&file, &to);
        }
        let content = Command::new(self.busybox)
            .arg("xzcat")
            .arg(&file)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("could not run {}", self.busybox.display()))?;
        if !content.status.success() {
            bail!("could not unpack {} ({})", file.display(), content.status);
        }
        self.write(&to, &content.stdout, 0o644)
    }

    fn place(&self, to: &str) -> Result<PathBuf> {
        let to = self.root.join(to);
        let directory = to.parent().unwrap_or(self.root);
        fs::create_dir_all(directory)
            .with_context(|| format!("could not create {}", directory.display()))?;
        Ok(to)
    }

    pub(super) fn pack(&self, to: &Path) -> Result<PathBuf> {
        let script = r#"find . | "$1" cpio -o -H newc >"$2""#;
        let mut pack = Command::new("sh");
        pack.args(["-c", script, "pack"]).arg(self.busybox).arg(to);
        process::run(pack.current_dir(self.root))?;
        Ok(to.to_owned())
    }
}

/// The path in a line of ldd: `libc.so.6 => /lib/libc.so.6 (0x…)` or `/lib64/ld-linux.so.2 (0x…)`.
fn library(line: &str) -> Option<&str> {
    let path = line.split_whitespace().find(|word| word.starts_with('/'))?;
    Some(path)
}

/// Whether `list`, a kernel's `modules.builtin`, has the module `name`.
fn has_module(list: &str, name: &str) -> bool {
    let file = format!("/{name}.ko");
    list.lines().any(|line| line.ends_with(&file))
}

/// The modules that a module needs: the entry `depends=one,two` of its section `.modinfo`.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let begin = module.windows(key.len()).position(|window| window == key);
    let rest = begin.map_or(&[][..], |at| &module[at + key.len()..]);
    let value = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = value.split(|byte| *byte == b',');
    let names = names.filter(|name| !name.is_empty());
    names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

fn find_module(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_module(&path, name)? {
                return Ok(Some(found));
            }
        } else if [format!("{name}.ko"), format!("{name}.ko.xz")]
            .iter()
            .any(|file| entry.file_name() == OsStr::new(file))
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_prints() {
        let printed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<_> = printed.lines().filter_map(library).collect();
        assert_eq!(
            found,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }

    #[test]
    fn machine_loads_the_modules_that_it_is_given() {
        let init = INIT.replace("\\\n    ", "");
        assert!(init.contains(&format!("for module in {}; do", MODULES.join(" "))));
    }

    #[test]
    fn dependencies_are_read_from_a_modules_section() {
        let module = b"\x7fELF\0license=GPL\0depends=virtio,virtio_ring\0retpoline=Y\0";
        assert_eq!(dependencies(module), ["virtio", "virtio_ring"]);
        assert!(dependencies(b"\0depends=\0name=x\0").is_empty());
        assert!(dependencies(b"no module").is_empty());
    }

    #[test]
    fn builtin_module_is_known_by_its_whole_name() {
        let list = "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/virtio/virtio.ko\n";
        assert!(has_module(list, "virtio") && has_module(list, "virtio_pci"));
        assert!(!has_module(list, "pci") && !has_module(list, "virtio_net"));
    }
}
