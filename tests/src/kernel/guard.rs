//! The guard's programs on the running kernel, one frame at a time, and a double of their maps for
//! the functions of `heartbeat-common` from which they were compiled.

#[path = "../../../crates/common/tests/guard/tables.rs"]
mod tables;

use std::{
    fmt, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    ptr,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, HashMap as KernelMap, MapData},
    programs::{CgroupSkb, ProgramError, SchedClassifier, TcAttachType, Xdp},
};
use heartbeat_common::{
    guard::{self, Direction},
    maps::{Address, GuardRow, MAX_VIPS},
    packet::SlicePacket,
    verdict::Action,
};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use super::programs::shortest;

pub use tables::Guarded;

/// The programs that the guard is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// `guard_ingress`, at XDP.
    Ingress,
    /// `responder`, at XDP, for what is no heartbeat.
    Responder,
    /// `guard_egress`, at TC.
    Egress,
    /// `guard_received`, at sockets.
    Received,
    /// `guard_sent`, at sockets.
    Sent,
}

/// The attachment point of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    Xdp,
    Tc,
    Socket,
}

/// In a test run a program at a socket is given what is behind the Ethernet header.
const ETHERNET: usize = ETHERNET_LEN as usize;

impl Point {
    pub const ALL: [Self; 5] = [
        Self::Ingress,
        Self::Responder,
        Self::Egress,
        Self::Received,
        Self::Sent,
    ];

    pub const fn direction(self) -> Direction {
        match self {
            Self::Ingress | Self::Responder | Self::Received => Direction::In,
            Self::Egress | Self::Sent => Direction::Out,
        }
    }

    const fn hook(self) -> Hook {
        match self {
            Self::Ingress | Self::Responder => Hook::Xdp,
            Self::Egress => Hook::Tc,
            Self::Received | Self::Sent => Hook::Socket,
        }
    }

    /// Whether the program sees packets like a socket: without Ethernet header and tags, and no
    /// ARP.
    pub fn is_at_sockets(self) -> bool {
        self.hook() == Hook::Socket
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Ingress => "guard_ingress",
            Self::Responder => "responder",
            Self::Egress => "guard_egress",
            Self::Received => "guard_received",
            Self::Sent => "guard_sent",
        }
    }

    /// include/uapi/linux/bpf.h (XDP) and include/uapi/linux/pkt_cls.h (TC). At TC whatever passes
    /// must go on to the programs that come after.
    fn action(self, code: u32) -> Result<Action> {
        const TC_ACT_UNSPEC: u32 = -1_i32 as u32;
        Ok(match (self.hook(), code) {
            (Hook::Xdp, 1) | (Hook::Tc, 2) | (Hook::Socket, 0) => Action::Drop,
            (Hook::Xdp, 2) | (Hook::Tc, TC_ACT_UNSPEC) | (Hook::Socket, 1) => Action::Pass,
            _ => bail!("{self:?} returned {code}"),
        })
    }

    /// Pads `frame` to the minimum of a test run.
    pub fn pad(self, frame: &mut Vec<u8>) {
        let least = match self.hook() {
            Hook::Xdp => shortest(super::Program::Receive, frame),
            Hook::Tc | Hook::Socket => shortest(super::Program::Stamp, frame),
        };
        if frame.len() < least {
            frame.resize(least, 0);
        }
    }
}

impl Guarded {
    /// The verdict of the function on `frame` at `now`.
    pub fn judge(&mut self, point: Point, frame: &[u8], now: u64) -> Action {
        self.clock = now;
        let at_sockets = point.is_at_sockets();
        let mut copy = frame[if at_sockets { ETHERNET } else { 0 }..].to_vec();
        let packet = SlicePacket(&mut copy);
        match (point.direction(), at_sockets) {
            (Direction::In, false) => guard::arriving(&packet, self),
            (Direction::Out, false) => guard::leaving(&packet, self),
            (Direction::In, true) => guard::received(&packet, self),
            (Direction::Out, true) => guard::sent(&packet, self),
        }
    }
}

/// The programs in the kernel, and their maps.
pub struct KernelGuard {
    guard: Array<MapData, GuardRow>,
    vips: KernelMap<MapData, Address, u32>,
    ebpf: Ebpf,
}

impl fmt::Debug for KernelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The object with all its instructions is not worth printing.
        f.debug_struct("KernelGuard").finish_non_exhaustive()
    }
}

impl KernelGuard {
    /// Loads the programs.
    pub fn open() -> Result<Self> {
        Self::open_in(0)
    }

    /// Loads the programs for an agent in the network namespace with this cookie; 0 stands for all.
    pub fn open_in(namespace: u64) -> Result<Self> {
        Self::load(&super::object()?, namespace)
    }

    fn load(object: &Path, namespace: u64) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("peers", 1)
            .map_max_entries("watch", 1)
            .override_global("NETNS_COOKIE", &namespace, true)
            .load_file(object)
            .with_context(|| format!("could not load {}", object.display()))?;
        for point in Point::ALL {
            let name = point.program();
            let program = ebpf
                .program_mut(name)
                .with_context(|| format!("no {name}"))?;
            let loaded: Result<(), ProgramError> = match point.hook() {
                Hook::Xdp => <&mut Xdp>::try_from(program)?.load(),
                Hook::Tc => <&mut SchedClassifier>::try_from(program)?.load(),
                Hook::Socket => <&mut CgroupSkb>::try_from(program)?.load(),
            };
            loaded.with_context(|| format!("the kernel refused {name}"))?;
        }
        let mut take = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("no map {name}"))
        };
        Ok(Self {
            guard: take("guard")?.try_into()?,
            vips: take("vips")?.try_into()?,
            ebpf,
        })
    }

    /// Makes the maps equal to `guarded`.
    pub fn install(&mut self, guarded: &Guarded) -> Result<()> {
        let old: Vec<Address> = self.vips.keys().collect::<Result<_, _>>()?;
        for address in &old {
            self.vips.remove(address)?;
        }
        for index in 0..MAX_VIPS {
            let row = guarded.rows.get(index).copied().unwrap_or_default();
            self.guard.set(index as u32, row, 0)?;
        }
        for (address, index) in &guarded.index {
            self.vips.insert(address, *index as u32, 0)?;
        }
        Ok(())
    }

    /// The first `count` rows in the kernel.
    pub fn rows(&self, count: usize) -> Result<Vec<GuardRow>> {
        (0..count as u32)
            .map(|index| Ok(self.guard.get(&index, 0)?))
            .collect()
    }

    /// Gives `frame` to a program, which must not change it.
    pub fn run(&self, point: Point, frame: &[u8]) -> Result<Action> {
        let mut out = vec![0; frame.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let name = point.program();
        let program = self
            .ebpf
            .program(name)
            .with_context(|| format!("no {name}"))?;
        let result = match point.hook() {
            Hook::Xdp => <&Xdp>::try_from(program)?.test_run(options),
            Hook::Tc => <&SchedClassifier>::try_from(program)?.test_run(options),
            Hook::Socket => <&CgroupSkb>::try_from(program)?.test_run(options),
        };
        let result = result
            .with_context(|| format!("could not test-run {name} with {} bytes", frame.len()))?;
        // The kernel puts an empty Ethernet header back in front of a socket's packet.
        let kept = if point.is_at_sockets() { ETHERNET } else { 0 };
        ensure!(
            result.data_size_out as usize == frame.len() && out[kept..] == frame[kept..],
            "{name} changed a frame"
        );
        point.action(result.return_value)
    }

    /// Attaches `guard_egress` to an interface of the calling thread's namespace.
    pub fn attach_egress(&mut self, interface: &str) -> Result<()> {
        let name = Point::Egress.program();
        let program: &mut SchedClassifier = self
            .ebpf
            .program_mut(name)
            .with_context(|| format!("no {name}"))?
            .try_into()?;
        program
            .attach(interface, TcAttachType::Egress)
            .with_context(|| format!("cannot attach {name} to {interface}"))?;
        Ok(())
    }
}

/// Sends frames of which only the Ethernet header lies in the packet's linear part.
#[derive(Debug)]
pub struct Scatterer {
    socket: OwnedFd,
    ifindex: u32,
}

/// `PACKET_VNET_HDR`, include/uapi/linux/if_packet.h.
const PACKET_VNET_HDR: libc::c_int = 15;
/// `struct virtio_net_hdr`, include/uapi/linux/virtio_net.h.
const VNET_HDR_LEN: usize = 10;
/// Its `hdr_len`: bytes that the kernel is to keep in the linear part.
const VNET_HDR_LINEAR: usize = 2;
/// A packet that fits into one page is kept in one piece.
const LONG: usize = 6_000;
const ETHERNET_LEN: u16 = 14;

impl Scatterer {
    /// On an interface of the calling thread's namespace; it must take frames of 6,000 bytes.
    pub fn on(interface: &str) -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .context("cannot open a packet socket")?;
        let on: libc::c_int = 1;
        // SAFETY: the kernel reads an int from a valid pointer during the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_VNET_HDR,
                ptr::from_ref(&on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        Errno::result(result).context("cannot set PACKET_VNET_HDR")?;
        Ok(Self {
            socket,
            ifindex: if_nametoindex(interface)
                .with_context(|| format!("there is no interface {interface}"))?,
        })
    }

    /// Sends `frame`, padded; `Drop` if a program at egress did not let it through.
    pub fn send(&self, frame: &[u8]) -> Result<Action> {
        let mut packet = vec![0; VNET_HDR_LEN];
        packet[VNET_HDR_LINEAR..VNET_HDR_LINEAR + 2].copy_from_slice(&ETHERNET_LEN.to_le_bytes());
        packet.extend(frame);
        packet.resize(VNET_HDR_LEN + LONG, 0);
        let to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: 0,
            sll_ifindex: self.ifindex as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the kernel reads the packet and the address, each of the given length, during the
        // call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                ptr::from_ref(&to).cast(),
                size_of_val(&to) as libc::socklen_t,
            )
        };
        match usize::try_from(sent) {
            Ok(len) if len == packet.len() => Ok(Action::Pass),
            Ok(len) => bail!("sent {len} bytes of {}", packet.len()),
            Err(_) => match Errno::last() {
                Errno::ENOBUFS => Ok(Action::Drop),
                errno => Err(io::Error::from(errno)).context("cannot send a frame"),
            },
        }
    }
}
