//! The guard at the sockets: two programs on the root of the cgroup2 hierarchy. They see every
//! packet that a socket of this host sends or receives, on any interface.
//!
//! The guard at the sockets reads the same rows as the guard on the interfaces. It covers packets
//! that pass no guarded interface: those of local processes, containers, tunnels and other cards.
//! On a kernel or host without the needed features, the agent logs that and runs without it.

use std::{
    fs::File,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, ProgramError, ProgramType, links::FdLink,
    },
    sys::{BpfHelper, is_helper_supported},
};
use heartbeat_sys::{host::cgroup, net::namespace};

use super::{
    errors::{errno, reason},
    links,
};
use crate::{
    object::{kernel, programs},
    pins::{
        Pins,
        link::{pin_link, unpin},
    },
};

/// The programs, each with the direction of its packets.
const PROGRAMS: [(&str, CgroupSkbAttachType); 2] = [
    ("guard_received", CgroupSkbAttachType::Ingress),
    ("guard_sent", CgroupSkbAttachType::Egress),
];

/// The state of the guard at the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketGuard {
    /// Nothing is guarded.
    Idle,
    /// The guard is attached to the hierarchy with this mount point.
    Attached(PathBuf),
    /// The guard is not attached, for this reason.
    Missing(String),
}

/// The network namespaces whose sockets the programs guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The namespace with this cookie.
    Namespace(u64),
    /// All namespaces: the kernel cannot distinguish them.
    All,
}

impl Scope {
    /// Finds the scope that this host's kernel and the agent's namespace allow.
    pub(crate) fn find() -> Result<Self> {
        let helper = BpfHelper::BPF_FUNC_get_netns_cookie;
        let can_tell = is_helper_supported(ProgramType::CgroupSkb, helper)
            .context("could not ask the kernel what cgroup programs may do")?;
        Self::of(can_tell, namespace::is_initial(), namespace::cookie()?)
    }

    /// `can_tell`: whether the programs can read the namespace of a packet.
    fn of(can_tell: bool, is_initial: bool, cookie: u64) -> Result<Self> {
        if can_tell {
            return Ok(Self::Namespace(cookie));
        }
        if !is_initial {
            bail!(
                "Linux {} does not tell at a socket which network namespace it is in (6.15 does), \
                and this agent's is not the host's: run the agent in the host's, or a newer kernel",
                kernel::release()
            );
        }
        Ok(Self::All)
    }

    /// The scope as the programs read it: 0 stands for all namespaces.
    pub(crate) const fn cookie(self) -> u64 {
        match self {
            Self::Namespace(cookie) => cookie,
            Self::All => 0,
        }
    }
}

/// The pins of the links, wherever the links are attached.
pub(crate) fn link_pins() -> [String; 2] {
    PROGRAMS.map(|(name, _)| link_pin(name))
}

fn link_pin(name: &str) -> String {
    format!("link_{name}")
}

/// Makes the kernel verify those of the programs that are not pinned yet, and pins them.
pub(crate) fn load(ebpf: &mut Ebpf, pins: &Pins) -> Result<()> {
    for (name, _) in PROGRAMS {
        let pin = pins.path(&programs::pin(name));
        if pin.exists() {
            continue;
        }
        let program: &mut CgroupSkb = ebpf
            .program_mut(name)
            .with_context(|| format!("the object has no program `{name}`"))?
            .try_into()?;
        program
            .load()
            .with_context(|| format!("the kernel refused the program `{name}`"))?;
        program
            .pin(&pin)
            .with_context(|| format!("could not pin the program `{name}`"))?;
    }
    Ok(())
}

/// Attaches the pinned programs, or puts them into the links of an earlier run. Each packet meets
/// the old program or the new one. Returns the path of the hierarchy.
pub(crate) fn attach(pins: &Pins) -> Result<PathBuf> {
    let path = cgroup::mount_point()?;
    let root = File::open(&path).with_context(|| format!("could not open {}", path.display()))?;
    for (name, kind) in PROGRAMS {
        let mut program = CgroupSkb::from_pin(pins.path(&programs::pin(name)), kind)
            .with_context(|| format!("could not open the pinned program `{name}`"))?;
        let pin = pins.path(&link_pin(name));
        attach_one(&mut program, kind, (&root, &path), &pin)?;
    }
    if !cgroup::is_whole(&path) {
        log::warn!(
            "{} is not the root of the host's cgroups: the guard at the sockets sees only \
            processes below it; start the agent outside of a cgroup namespace",
            path.display()
        );
    }
    Ok(path)
}

/// Attaches the guard to the sockets, and returns its state. `unavailable` is the reason why its
/// programs could not be loaded, if there is one.
pub(crate) fn guard(pins: &Pins, unavailable: Option<&str>) -> SocketGuard {
    let attached = match unavailable {
        Some(why) => Err(why.to_owned()),
        None => attach(pins).map_err(|error| format!("{error:#}")),
    };
    match attached {
        Ok(root) => {
            log::info!("{}: guard attached to the sockets", root.display());
            SocketGuard::Attached(root)
        }
        Err(why) => {
            log::warn!(
                "no guard at the sockets: local processes and containers reach an address here for \
                as long as it stays, also without the lease: {why}"
            );
            SocketGuard::Missing(why)
        }
    }
}

fn attach_one(
    program: &mut CgroupSkb,
    kind: CgroupSkbAttachType,
    (root, path): (&File, &Path),
    pin: &Path,
) -> Result<()> {
    // The number of a cgroup is the inode number of its directory.
    let number = root.metadata()?.ino();
    if pin.exists() && links::cgroup_of_pin(pin)? == number {
        return links::renew(pin, program.fd()?.as_fd());
    }
    let id = program
        .attach(root, kind, CgroupAttachMode::Single)
        .map_err(|error| refusal(&error, path))?;
    let link: FdLink = program
        .take_link(id)?
        .try_into()
        .map_err(|_| anyhow!("the program was attached, but not by a link"))?;
    // The pin of a link on a removed cgroup, or on another hierarchy's root.
    if pin.exists() {
        unpin(pin)?;
    }
    pin_link(link, pin)
}

/// The reason why the kernel refused to attach a program.
fn refusal(error: &ProgramError, root: &Path) -> anyhow::Error {
    let root = root.display();
    match errno(error) {
        Some(libc::EPERM) => anyhow!(
            "the kernel allows no further program on {root} (EPERM): a program without the flag \
            `multi` is attached there, or this process lacks CAP_NET_ADMIN; see `bpftool cgroup \
            show {root}`, and detach the program without `multi`, or attach it with `multi`"
        ),
        _ => anyhow!("could not attach to {root}: {}", reason(error)),
    }
}

/// Whether both programs are still attached.
pub(crate) fn are_attached(pins: &Pins) -> bool {
    link_pins().iter().all(|name| {
        let pin = pins.path(name);
        links::cgroup_of_pin(&pin).is_ok_and(|cgroup| cgroup != 0)
    })
}

/// Notices when another process detaches the programs.
#[derive(Debug)]
pub struct SocketWatch {
    pins: Pins,
    state: SocketGuard,
}

impl SocketWatch {
    /// Watches the programs of these pins, after an attachment with this result.
    pub(crate) fn new(pins: Pins, state: SocketGuard) -> Self {
        Self { pins, state }
    }

    /// The state at the last check.
    pub fn state(&self) -> &SocketGuard {
        &self.state
    }

    /// Attaches the programs again if they are missing. Returns the state if it changed.
    pub fn check(&mut self) -> Option<&SocketGuard> {
        match &self.state {
            // A reload may have attached the programs.
            SocketGuard::Idle if !are_attached(&self.pins) => return None,
            SocketGuard::Attached(_) if are_attached(&self.pins) => return None,
            // There is nothing to attach, and the reason was logged before.
            SocketGuard::Missing(_) if !are_loaded(&self.pins) => return None,
            _ => {}
        }
        let found = match attach(&self.pins) {
            Ok(root) => SocketGuard::Attached(root),
            Err(error) => SocketGuard::Missing(format!("{error:#}")),
        };
        let is_known = matches!(found, SocketGuard::Missing(_)) && found == self.state;
        self.state = found;
        (!is_known).then_some(&self.state)
    }
}

fn are_loaded(pins: &Pins) -> bool {
    let mut names = PROGRAMS.iter().map(|(name, _)| programs::pin(name));
    names.all(|name| pins.path(&name).exists())
}

/// The features that the guard at the sockets needs and this host lacks, as far as an unprivileged
/// process can see them.
pub fn lacks() -> Option<String> {
    let kernel_has_it =
        std::fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("\tcgroup2\n"));
    match cgroup::find() {
        Ok(Some(root)) if !cgroup::is_whole(&root) => {
            return Some(format!(
                "{} is not the root of the host's cgroups: only processes below it are guarded",
                root.display()
            ));
        }
        Ok(None) if !kernel_has_it => {
            return Some(format!("Linux {} has no cgroup2", kernel::release()));
        }
        _ => {}
    }
    // A process without the right to ask gets the answer at the start.
    let helper = BpfHelper::BPF_FUNC_get_netns_cookie;
    let can_tell = is_helper_supported(ProgramType::CgroupSkb, helper).ok()?;
    let lack = Scope::of(can_tell, namespace::is_initial(), 0).err()?;
    Some(lack.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya::sys::SyscallError;

    #[test]
    fn root_that_another_program_has_alone_is_told_with_the_remedy() {
        let said = |errno| {
            let error = ProgramError::SyscallError(SyscallError {
                call: "bpf_link_create",
                io_error: std::io::Error::from_raw_os_error(errno),
            });
            refusal(&error, Path::new("/sys/fs/cgroup")).to_string()
        };
        let alone = said(libc::EPERM);
        for part in ["(EPERM)", "`bpftool cgroup show /sys/fs/cgroup`", "`multi`"] {
            assert!(alone.contains(part), "{alone}");
        }
        let full = said(libc::E2BIG);
        assert!(
            full.starts_with("could not attach to /sys/fs/cgroup: bpf_link_create"),
            "{full}"
        );
    }

    #[test]
    fn old_kernel_guards_sockets_in_the_hosts_namespace_alone() {
        let cookie = |can_tell, is_initial| {
            let scope = Scope::of(can_tell, is_initial, 7);
            scope.ok().map(Scope::cookie)
        };
        assert_eq!(cookie(true, true), Some(7));
        assert_eq!(cookie(true, false), Some(7));
        assert_eq!(cookie(false, true), Some(0));
        assert_eq!(cookie(false, false), None);
    }
}
