//! The guard at the sockets: two programs on the root of the cgroup2 hierarchy, which see every
//! packet that a socket of this host gets or sends, by whatever interface it comes or goes.
//!
//! It goes by the same rows as the guard on the interfaces, and reaches what passes none of those:
//! local processes, containers, tunnels, other cards. Where kernel or host do not have what it
//! needs, that is told, and the agent runs without it.

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

/// The programs, each with the packets that it sees.
const PROGRAMS: [(&str, CgroupSkbAttachType); 2] = [
    ("guard_received", CgroupSkbAttachType::Ingress),
    ("guard_sent", CgroupSkbAttachType::Egress),
];

/// Whether the guard reaches the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketGuard {
    /// Nothing is guarded.
    Idle,
    /// On the hierarchy that is mounted there.
    Attached(PathBuf),
    /// Why it is not there.
    Missing(String),
}

/// The network namespaces whose sockets the programs look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The one with this cookie.
    Namespace(u64),
    /// All: the kernel cannot tell them apart.
    All,
}

impl Scope {
    /// Which this host's kernel and the agent's place allow.
    pub(crate) fn find() -> Result<Self> {
        let helper = BpfHelper::BPF_FUNC_get_netns_cookie;
        let can_tell = is_helper_supported(ProgramType::CgroupSkb, helper)
            .context("could not ask the kernel what cgroup programs may do")?;
        Self::of(can_tell, namespace::is_initial(), namespace::cookie()?)
    }

    /// `can_tell`: whether the kernel tells the programs which namespace a packet is in.
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

    /// What the programs are told: 0 stands for all.
    pub(crate) const fn cookie(self) -> u64 {
        match self {
            Self::Namespace(cookie) => cookie,
            Self::All => 0,
        }
    }
}

/// The pins of the links, whatever they are on.
pub(crate) fn link_pins() -> [String; 2] {
    PROGRAMS.map(|(name, _)| link_pin(name))
}

fn link_pin(name: &str) -> String {
    format!("link_{name}")
}

/// Lets the kernel verify those of the programs that are not pinned yet, and pins them.
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

/// Attaches the pinned programs, or gives what an earlier run attached the new ones, without a
/// packet in between that meets none. Returns where the hierarchy is.
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

/// Has the guard reach the sockets, and says whether it does. `unavailable` is why there are no
/// programs for it, if there are none.
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
    // The number of a cgroup is that of its directory.
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
    // That of a cgroup that has gone, or of another hierarchy's root.
    if pin.exists() {
        unpin(pin)?;
    }
    pin_link(link, pin)
}

/// Why the kernel did not let a program in.
fn refusal(error: &ProgramError, root: &Path) -> anyhow::Error {
    let root = root.display();
    match errno(error) {
        Some(libc::EPERM) => anyhow!(
            "the kernel lets no further program onto {root} (EPERM): another is attached there \
            that wants to be alone, or this process lacks CAP_NET_ADMIN; `bpftool cgroup show \
            {root}` names those that are there: detach the one whose flags are not `multi`, or \
            have it attached with `multi`"
        ),
        _ => anyhow!("could not attach to {root}: {}", reason(error)),
    }
}

/// Whether both programs are where they were put.
pub(crate) fn are_attached(pins: &Pins) -> bool {
    link_pins().iter().all(|name| {
        let pin = pins.path(name);
        links::cgroup_of_pin(&pin).is_ok_and(|cgroup| cgroup != 0)
    })
}

/// Notices when somebody takes the programs off.
#[derive(Debug)]
pub struct SocketWatch {
    pins: Pins,
    state: SocketGuard,
}

impl SocketWatch {
    /// Of what was attached from these pins, with this result.
    pub(crate) fn new(pins: Pins, state: SocketGuard) -> Self {
        Self { pins, state }
    }

    /// As it was found last.
    pub fn state(&self) -> &SocketGuard {
        &self.state
    }

    /// Puts the programs back if they are not where they were put. Returns what there is to tell,
    /// if anything is.
    pub fn check(&mut self) -> Option<&SocketGuard> {
        match &self.state {
            // A reload may have attached them.
            SocketGuard::Idle if !are_attached(&self.pins) => return None,
            SocketGuard::Attached(_) if are_attached(&self.pins) => return None,
            // Nothing to attach; that was told.
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

/// What this host lacks for the guard at the sockets, as far as can be seen without rights.
pub fn lacks() -> Option<String> {
    let kernel_has_it =
        std::fs::read_to_string("/proc/filesystems").is_ok_and(|all| all.contains("\tcgroup2\n"));
    match cgroup::find() {
        Ok(Some(root)) if !cgroup::is_whole(&root) => {
            return Some(format!(
                "{} is not the root of the host's cgroups: only processes below it are reached",
                root.display()
            ));
        }
        Ok(None) if !kernel_has_it => {
            return Some(format!("Linux {} has no cgroup2", kernel::release()));
        }
        _ => {}
    }
    // Who may not ask learns it at the start.
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
    fn a_root_that_another_program_has_alone_is_told_with_the_remedy() {
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
    fn an_old_kernel_guards_sockets_in_the_hosts_namespace_alone() {
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
