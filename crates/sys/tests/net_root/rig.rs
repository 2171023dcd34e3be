//! The rig: namespaces, a capture, waiting.

use heartbeat_common::prefix::Prefix;
use heartbeat_sys::net::Netlink;
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{
        socket::{MsgFlags, recv, setsockopt, sockopt},
        time::TimeVal,
    },
    unistd::{Uid, gettid},
};
use std::{
    any::Any,
    io::{self, Write},
    net::IpAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::Command,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub(super) const PATIENCE: Duration = Duration::from_secs(5);
pub(super) const NODE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// The node's namespace has hb0, the peer's namespace has its other end hb1.
pub(super) struct Rig {
    pub(super) node: Namespace,
    pub(super) peer: Namespace,
}

impl Rig {
    /// `None`, after a message with the reason, where the rig cannot be built.
    pub(super) fn new() -> Option<Self> {
        if !Uid::effective().is_root() {
            return skip("needs root");
        }
        if Command::new("ip").arg("-V").output().is_err() {
            return skip("needs `ip` of iproute2");
        }
        let (node, peer) = match (Namespace::new(), Namespace::new()) {
            (Ok(node), Ok(peer)) => (node, peer),
            (Err(errno), _) | (_, Err(errno)) => {
                return skip(&format!("cannot make a network namespace: {errno}"));
            }
        };
        let peer_thread = peer.thread_id;
        node.run(move || {
            ip("link set lo up");
            ip(&format!(
                "link add hb0 address 02:00:00:00:00:01 type veth \
                 peer name hb1 address 02:00:00:00:00:02 netns {peer_thread}"
            ));
            ip("address add 10.9.0.1/24 dev hb0");
            ip("address add fd09::1/64 dev hb0 nodad");
            ip("link set hb0 up");
        });
        peer.run(|| {
            ip("address add 10.9.0.2/24 dev hb1");
            ip("address add fd09::2/64 dev hb1 nodad");
            ip("link set hb1 up");
        });
        node.run(|| {
            let mut netlink = Netlink::open().expect("rtnetlink");
            eventually("hb0 has a carrier", || {
                netlink
                    .interface("hb0")
                    .is_ok_and(|interface| interface.carrier)
            });
        });
        Some(Self { node, peer })
    }
}

/// Prints past the test harness, which hides the output of a passing test.
pub(super) fn skip(reason: &str) -> Option<Rig> {
    let _ = writeln!(io::stderr(), "SKIP {reason}");
    None
}

/// A network namespace with a thread that runs jobs in it.
pub(super) struct Namespace {
    thread_id: i32,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

pub(super) type Job = Box<dyn FnOnce() + Send>;

impl Namespace {
    pub(super) fn new() -> Result<Self, Errno> {
        let (ready, made) = mpsc::channel();
        let (jobs, work) = mpsc::channel::<Job>();
        let thread = thread::spawn(move || {
            let result = unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid().as_raw());
            ready.send(result).expect("the test waits");
            for job in work {
                job();
            }
        });
        let thread_id = made.recv().expect("the thread answers")?;
        Ok(Self {
            thread_id,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `job` in the namespace. A panic of the job becomes the caller's.
    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel::<Result<T, Box<dyn Any + Send>>>();
        let job = move || drop(done.send(catch_unwind(AssertUnwindSafe(job))));
        self.jobs
            .as_ref()
            .expect("not dropped")
            .send(Box::new(job))
            .expect("the thread runs");
        result
            .recv()
            .expect("the job ends")
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// All frames that pass one interface.
pub(super) struct Capture(OwnedFd);

impl Capture {
    pub(super) fn on(interface: &str) -> Self {
        let index = Netlink::open()
            .expect("rtnetlink")
            .interface(interface)
            .expect("it is there")
            .index;
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, libc::c_int::from(all)) };
        assert!(fd >= 0, "packet socket: {}", Errno::last());
        // SAFETY: the descriptor is new, and nothing else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all its fields are integers, for which zero is a value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_protocol = all;
        to.sll_ifindex = index.cast_signed();
        // SAFETY: the pointer is to `to`, with its length.
        let bound = unsafe { libc::bind(fd, (&raw const to).cast(), size_of_val(&to) as u32) };
        assert_eq!(bound, 0, "bind: {}", Errno::last());
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000)).expect("timeout");
        Self(socket)
    }

    /// The next frame that `wanted` accepts.
    pub(super) fn wait_for(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut bytes = [0; 2048];
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(len) = recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::empty())
                && wanted(&bytes[..len])
            {
                return bytes[..len].to_vec();
            }
        }
        panic!("{what}: not seen within {PATIENCE:?}");
    }
}

/// Runs `ip` in the namespace of the calling thread, and returns what it printed.
pub(super) fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("`ip` can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

pub(super) fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
