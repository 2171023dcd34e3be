//! The address watch: one thread that waits for the kernel's messages about addresses, and for
//! other hosts on the link that claim one.
//!
//! The watch decides nothing. Each message becomes a [`ResourceCommand`], and the resource manager
//! checks the address itself.

use std::{
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::pipe2,
};

use crate::{
    messages::ResourceCommand,
    net::{AddressWatch, Claims},
    pulse::{mailbox::Post, realtime::Granter},
};

/// The number of datagrams and packets that are read at a time.
const BATCH: usize = 64;
/// The pause after a batch of packets: a flood must not keep a real-time thread running.
const PAUSE: Duration = Duration::from_millis(10);

/// The running thread. Dropping this ends the thread.
#[derive(Debug)]
pub(super) struct Watcher {
    claims: Option<Arc<Claims>>,
    /// Closing this descriptor wakes the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Listens in the network namespace of the calling thread, with a real-time `priority` if one
    /// is given and permitted. Only claims to `addresses` are reported.
    pub(super) fn start(
        commands: Post<ResourceCommand>,
        addresses: &[IpAddr],
        priority: Option<u8>,
        granter: Granter,
    ) -> Result<Self> {
        let watch = AddressWatch::open()?;
        let claims = Claims::open()
            .and_then(|claims| claims.listen_for(addresses).map(|()| Arc::new(claims)))
            .inspect_err(|error| {
                log::warn!("claims of other hosts to a VIP are not noticed: {error:#}");
            })
            .ok();
        let (woken, stop) = pipe2(OFlag::O_CLOEXEC).context("could not make a pipe")?;
        let mut body = Body {
            watch,
            claims: claims.clone(),
            woken,
            commands,
        };
        let thread = std::thread::Builder::new()
            .name("addresses".to_owned())
            .spawn(move || {
                if let Some(priority) = priority {
                    // The pulse has already logged a refusal.
                    let _ = granter.fifo(priority);
                }
                drop(granter);
                body.run();
            })
            .context("could not start the thread that watches the addresses")?;
        Ok(Self {
            claims,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Reports claims to these addresses from now on.
    pub(super) fn listen_for(&self, addresses: &[IpAddr]) {
        let Some(claims) = &self.claims else { return };
        if let Err(error) = claims.listen_for(addresses) {
            log::warn!("claims of other hosts to a new VIP are not noticed: {error:#}");
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            log::error!("the thread that watches the addresses had panicked");
        }
    }
}

struct Body {
    watch: AddressWatch,
    claims: Option<Arc<Claims>>,
    woken: OwnedFd,
    commands: Post<ResourceCommand>,
}

/// The sources that have data to read.
struct Ready {
    stop: bool,
    changes: bool,
    claims: bool,
}

impl Body {
    fn run(&mut self) {
        // Earlier changes count as lost.
        let mut lost = true;
        loop {
            match self.forward(lost) {
                Ok(true) => lost = false,
                Ok(false) => return,
                Err(error) => {
                    log::error!("removed addresses are added again late from now on: {error:#}");
                    return;
                }
            }
        }
    }

    /// Forwards the next messages. Returns false at the end of the thread.
    fn forward(&mut self, lost: bool) -> Result<bool> {
        let ready = match lost {
            true => Ready {
                stop: false,
                changes: true,
                claims: false,
            },
            false => self.wait()?,
        };
        if ready.stop {
            return Ok(false);
        }
        if ready.changes {
            let mut changes = self.watch.changes(BATCH)?;
            changes.lost |= lost;
            self.commands.send(ResourceCommand::Changed(changes));
        }
        if let (true, Some(claims)) = (ready.claims, &self.claims) {
            let mut received = claims.received(BATCH);
            // One claim of several says all.
            received.sort_by_key(|claim| (claim.address, claim.interface));
            received.dedup_by_key(|claim| (claim.address, claim.interface));
            for claim in received {
                self.commands.send(ResourceCommand::Claimed(claim));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(true)
    }

    fn wait(&self) -> Result<Ready> {
        let of = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let claims = self.claims.iter().flat_map(|claims| claims.descriptors());
        let own: [BorrowedFd<'_>; 2] = [self.woken.as_fd(), self.watch.as_fd()];
        let mut fds: Vec<PollFd<'_>> = own.into_iter().chain(claims).map(of).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("could not wait for changes of addresses"),
        }
        let is = |fd: &PollFd<'_>| fd.any().unwrap_or_default();
        Ok(Ready {
            stop: is(&fds[0]),
            changes: is(&fds[1]),
            claims: fds[2..].iter().any(is),
        })
    }
}
