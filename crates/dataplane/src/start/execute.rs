//! Carries a plan out, in its order, and undoes it in reverse on a failure.
//!
//! Undone means that nothing of the instance is left, as before its first start. The addresses that
//! the guard keeps go first: where one of them cannot be removed, everything stays.

use anyhow::{Context as _, Result};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use heartbeat_common::time::Boottime;

use super::{
    observe::Observation,
    plan::{Action, Ingress, Keep, Plan},
};
use crate::{
    attach::{
        lookup::check_interface,
        sockets::{self, Scope, SocketGuard},
        tc::{self, TcWay},
        xdp::{self, Former, Wanted},
    },
    maps::{
        access::{array, rows_of},
        fill, row_allocator,
        view::PeerRows,
    },
    object::{
        self,
        programs::{self, Programs},
    },
    pins::{
        Pins,
        names::{tc_pin, xdp_pin},
    },
    setup::{Attachment, Setup},
};

/// What a start made.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) ebpf: Ebpf,
    pub(crate) setup: Setup,
    pub(crate) pins: Pins,
    /// Of each link, in the setup's order; `None` where its interface is missing.
    pub(crate) attached: Vec<Option<Attachment>>,
    /// When the acceptor votes; in the past if it does already.
    pub(crate) votes_from: Boottime,
    /// Of each row of a peer its place in the map.
    pub(crate) places: Vec<u32>,
    /// Why there are no programs for the guard at the sockets.
    pub(crate) no_sockets: Option<String>,
    pub(crate) socket_guard: SocketGuard,
}

/// `object` is the fingerprint of the programs; `sweep` removes the guarded addresses.
pub(crate) fn execute(
    plan: &Plan,
    setup: Setup,
    pins: Pins,
    object: u64,
    seen: &Observation,
    sweep: impl Fn() -> Result<()>,
) -> Result<Started> {
    pins.remove_all_but(|name| plan.keep.keeps(name))?;
    let ebpf = match make_maps(&setup, &pins, plan.keep, seen.sockets.as_ref().ok()) {
        Ok(ebpf) => ebpf,
        Err(error) => {
            // The guard goes with the pins, so it stays if what it guards could not be removed.
            sweep().and_then(|()| pins.remove())?;
            return Err(error);
        }
    };
    let mut execution = Execution {
        object,
        seen,
        programs: None,
        used: Vec::new(),
        made: Started {
            ebpf,
            attached: vec![None; setup.links.len()],
            setup,
            pins,
            votes_from: Boottime::default(),
            places: Vec::new(),
            no_sockets: seen.sockets.as_ref().err().cloned(),
            socket_guard: SocketGuard::Idle,
        },
    };
    for action in &plan.actions {
        if let Err(error) = execution.carry_out(action) {
            match sweep() {
                Ok(()) => execution.undo(),
                Err(error) => {
                    log::error!("could not remove the addresses of an earlier run: {error:#}");
                }
            }
            return Err(error);
        }
    }
    Ok(execution.made)
}

/// Makes the maps, but for those that are kept and found pinned. `scope` is that of the guard at
/// the sockets.
fn make_maps(setup: &Setup, pins: &Pins, keep: Keep, scope: Option<&Scope>) -> Result<Ebpf> {
    let entries = u32::try_from(row_allocator::capacity(setup)).context("too many peers")?;
    let cookie = scope.map_or(0, |scope| scope.cookie());
    let mut loader = EbpfLoader::new();
    loader
        .override_global("NETNS_COOKIE", &cookie, true)
        .map_max_entries("peers", entries)
        .map_max_entries("watch", entries)
        .verifier_log_level(VerifierLogLevel::STATS);
    for (name, pin) in keep.maps() {
        loader.map_pin_path(name, pins.path(pin));
    }
    loader
        .load(object::object()?)
        .context("could not create the BPF maps (root, or CAP_BPF and CAP_NET_ADMIN, is needed)")
}

/// A plan that is being carried out.
struct Execution<'a> {
    object: u64,
    seen: &'a Observation,
    made: Started,
    /// The pinned programs, once they are there.
    programs: Option<Programs>,
    /// The pins of all links that are needed, in the order in which they were attached.
    used: Vec<String>,
}

impl Execution<'_> {
    fn carry_out(&mut self, action: &Action) -> Result<()> {
        let Started {
            ebpf, setup, pins, ..
        } = &mut self.made;
        match action {
            Action::Fill => self.fill(),
            Action::LoadPrograms => programs::load(ebpf, pins),
            Action::ForgetReplies => self.forget_replies(),
            Action::LoadSocketPrograms => {
                self.load_socket_programs();
                Ok(())
            }
            Action::PinMaps => pin_maps(ebpf, pins),
            Action::GuardSockets => {
                self.guard_sockets();
                Ok(())
            }
            Action::UnpinStranger(pin) => pins.unpin(pin),
            Action::Tc {
                program,
                interface,
                way,
            } => self.attach_tc(program, interface, *way),
            Action::Xdp {
                program,
                interface,
                wanted,
                former,
            } => self.attach_xdp(*program, interface, *wanted, former),
            Action::RemoveUnusedLinks => {
                let used = |name: &str| self.used.iter().any(|pin| pin == name);
                pins.remove_all_but(|name| !name.starts_with("link_") || used(name))
            }
            Action::Abstain => {
                self.made.votes_from = fill::abstain(ebpf, setup)?;
                Ok(())
            }
        }
    }

    fn fill(&mut self) -> Result<()> {
        let Started {
            ebpf,
            setup,
            places,
            votes_from,
            ..
        } = &mut self.made;
        *places = row_allocator::place(ebpf, setup)?;
        *votes_from = fill::fill(ebpf, setup, self.object, places, self.seen)?;
        Ok(())
    }

    fn forget_replies(&self) -> Result<()> {
        let map = array(&self.made.ebpf, "peers")?;
        let places = self.made.places.clone();
        PeerRows::map_writable(map.fd(), rows_of(map)?, places)?.forget_replies();
        Ok(())
    }

    /// Without these programs the agent runs all the same.
    fn load_socket_programs(&mut self) {
        let Started { ebpf, pins, .. } = &mut self.made;
        if let Err(error) = sockets::load(ebpf, pins) {
            self.made.no_sockets = Some(format!("{error:#}"));
        }
    }

    fn guard_sockets(&mut self) {
        let Started {
            pins, no_sockets, ..
        } = &self.made;
        self.made.socket_guard = sockets::guard(pins, no_sockets.as_deref());
        self.used.extend(sockets::link_pins());
    }

    fn attach_tc(&mut self, name: &'static str, interface: &str, way: TcWay) -> Result<()> {
        // It may have gone since it was looked for; whoever follows interfaces waits for it.
        if check_interface(interface).is_err() {
            return Ok(());
        }
        let pins = self.made.pins.clone();
        let programs = self.programs()?;
        let program = match name {
            "guard_egress" => &mut programs.guard_egress,
            _ => &mut programs.stamp_probe,
        };
        tc::attach_by(way, program, name, interface, &pins)?;
        self.used.push(tc_pin(name, interface));
        Ok(())
    }

    fn attach_xdp(
        &mut self,
        program: Ingress,
        interface: &str,
        wanted: Wanted,
        former: &[Former],
    ) -> Result<()> {
        if check_interface(interface).is_err() {
            return Ok(());
        }
        let pins = self.made.pins.clone();
        let programs = self.programs()?;
        let (what, responder) = match program {
            Ingress::Guard => ("guard", &mut programs.guard_ingress),
            Ingress::Responder(_) => ("responder", &mut programs.responder),
        };
        let attached = xdp::attach_after(former, responder, interface, wanted, &pins)?;
        log::info!(
            "{interface}: {what} attached in {} mode",
            attached.how.name()
        );
        self.used.push(xdp_pin(interface, attached.how));
        if let Ingress::Responder(link) = program {
            self.made.attached[link] = Some(attached);
        }
        Ok(())
    }

    fn programs(&mut self) -> Result<&mut Programs> {
        if self.programs.is_none() {
            self.programs = Some(Programs::open(&self.made.pins)?);
        }
        self.programs.as_mut().context("the programs are gone")
    }

    /// Takes the programs off in reverse, so that the guard goes last, then removes everything
    /// else.
    fn undo(self) {
        let pins = &self.made.pins;
        for pin in self.used.iter().rev().filter(|pin| pins.path(pin).exists()) {
            if let Err(error) = pins.unpin(pin) {
                log::error!("{error:#}");
            }
        }
        pins.remove_or_tell();
    }
}

fn pin_maps(ebpf: &Ebpf, pins: &Pins) -> Result<()> {
    // Names with a dot are the object's own data sections.
    for (name, map) in ebpf.maps().filter(|(name, _)| !name.starts_with('.')) {
        let path = pins.path(&name.to_lowercase());
        // Else the loader has pinned it, or found it pinned.
        if !path.exists() {
            map.pin(path)
                .with_context(|| format!("could not pin the map `{name}`"))?;
        }
    }
    Ok(())
}
