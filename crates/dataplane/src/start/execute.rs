//! Carries out a plan in its order, and undoes it in reverse on a failure.
//!
//! After an undo nothing of the instance is left, as before its first start. The addresses behind
//! the guard are removed first. If one of them cannot be removed, everything stays. An evicted
//! program of another owner does not come back.

use anyhow::{Context as _, Result};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use heartbeat_common::{index::RowPlace, maps::GuardRow, time::Boottime};

use super::{
    observe::Observation,
    plan::{Action, Foreign, Ingress, Keep, Plan},
};
use crate::{
    attach::{
        filter,
        lookup::check_interface,
        sockets::{self, Scope, SocketGuard},
        tc::{self, TcWay},
        xdp::{self, Former},
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
        directory::Claim,
        names::{tc_pin, xdp_pin},
    },
    setup::{Attachment, Setup, XdpMode},
};

/// The inputs of an execution.
pub(crate) struct Inputs<'a> {
    /// The fingerprint of the programs.
    pub(crate) object: u64,
    pub(crate) pins: Pins,
    /// The claim to the pin directory, if the directory exists.
    pub(crate) claim: Option<Claim>,
    /// Removes the addresses that an earlier run left: those guarded now that may no longer be
    /// served, and all addresses of these rows.
    pub(crate) sweep: &'a Sweep<'a>,
}

pub(crate) type Sweep<'a> = dyn Fn(&[Option<Boottime>], &[GuardRow]) -> Result<()> + 'a;

/// The results of a start.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) ebpf: Ebpf,
    pub(crate) claim: Claim,
    pub(crate) made: Made,
}

/// The results of the actions so far.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) setup: Setup,
    pub(crate) pins: Pins,
    /// The attachment of each link, in the setup's order; `None` where the interface is missing.
    pub(crate) attached: Vec<Option<Attachment>>,
    /// The time from which the acceptor votes; in the past if it votes already.
    pub(crate) votes_from: Boottime,
    /// The place in the map of each row of a peer.
    pub(crate) places: Vec<RowPlace>,
    /// The reason why there are no programs for the guard at the sockets.
    pub(crate) no_sockets: Option<String>,
    pub(crate) socket_guard: SocketGuard,
}

pub(crate) fn execute(
    plan: &Plan,
    setup: Setup,
    seen: &Observation,
    inputs: Inputs<'_>,
) -> Result<Started> {
    let mut execution = Execution {
        plan,
        seen,
        object: inputs.object,
        sweep: inputs.sweep,
        claim: inputs.claim,
        ebpf: None,
        programs: None,
        used: Vec::new(),
        made: Made {
            attached: vec![None; setup.links.len()],
            setup,
            pins: inputs.pins,
            votes_from: Boottime::default(),
            places: Vec::new(),
            no_sockets: seen.sockets.as_ref().err().cloned(),
            socket_guard: SocketGuard::Idle,
        },
    };
    for action in &plan.actions {
        if let Err(error) = execution.carry_out(action) {
            execution.undo(action);
            return Err(error);
        }
    }
    Ok(Started {
        ebpf: execution.ebpf.context("the plan made no maps")?,
        claim: execution.claim.context("the plan claimed no pins")?,
        made: execution.made,
    })
}

/// Makes the maps, except for the kept ones, which are opened by their pins. `scope` is the scope
/// of the guard at the sockets.
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

/// A plan during its execution.
struct Execution<'a> {
    plan: &'a Plan,
    seen: &'a Observation,
    object: u64,
    sweep: &'a Sweep<'a>,
    claim: Option<Claim>,
    /// The maps and the object's programs, after `MakeMaps`.
    ebpf: Option<Ebpf>,
    /// The pinned programs, after `LoadPrograms`.
    programs: Option<Programs>,
    /// The pins of all needed links, in the order of their attachment.
    used: Vec<String>,
    made: Made,
}

impl Execution<'_> {
    fn carry_out(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Claim => {
                self.claim = Some(self.made.pins.claim(self.claim.take())?);
                Ok(())
            }
            Action::Sweep => (self.sweep)(&self.plan.inherited, &self.seen.stale),
            Action::RemoveLeftovers => {
                let keep = self.plan.keep;
                self.made.pins.remove_all_but(|name| keep.keeps(name))
            }
            Action::MakeMaps => self.make_maps(),
            Action::Fill => self.fill(),
            Action::LoadPrograms => programs::load(ebpf(&mut self.ebpf)?, &self.made.pins),
            Action::ForgetReplies => self.forget_replies(),
            Action::LoadSocketPrograms => self.load_socket_programs(),
            Action::PinMaps => pin_maps(ebpf(&mut self.ebpf)?, &self.made.pins),
            Action::GuardSockets => {
                self.guard_sockets();
                Ok(())
            }
            Action::UnpinStranger(pin) => self.made.pins.unpin(pin),
            Action::Evict {
                interface,
                existing,
            } => xdp::evict(interface, existing),
            Action::Refuse { interface, foreign } => refuse(interface, foreign),
            Action::Tc {
                program,
                interface,
                way,
            } => self.attach_tc(program, interface, *way),
            Action::Xdp {
                program,
                interface,
                mode,
                former,
            } => self.attach_xdp(*program, interface, *mode, former),
            Action::RemoveUnusedLinks => {
                let used = |name: &str| self.used.iter().any(|pin| pin == name);
                let pins = &self.made.pins;
                pins.remove_all_but(|name| !name.starts_with("link_") || used(name))
            }
            Action::Abstain => {
                self.made.votes_from = fill::abstain(ebpf(&mut self.ebpf)?, &self.made.setup)?;
                Ok(())
            }
        }
    }

    fn make_maps(&mut self) -> Result<()> {
        let Made { setup, pins, .. } = &self.made;
        let scope = self.seen.sockets.as_ref().ok();
        self.ebpf = Some(make_maps(setup, pins, self.plan.keep, scope)?);
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let ebpf = ebpf(&mut self.ebpf)?;
        let Made {
            setup,
            places,
            votes_from,
            ..
        } = &mut self.made;
        *places = row_allocator::place(ebpf, setup)?;
        *votes_from = fill::fill(ebpf, setup, self.object, places, self.seen)?;
        Ok(())
    }

    fn forget_replies(&mut self) -> Result<()> {
        let map = array(ebpf(&mut self.ebpf)?, "peers")?;
        let places = self.made.places.clone();
        PeerRows::map_writable(map.fd(), rows_of(map)?, places)?.forget_replies();
        Ok(())
    }

    /// A failure is not fatal: the agent also runs without these programs.
    fn load_socket_programs(&mut self) -> Result<()> {
        let loaded = sockets::load(ebpf(&mut self.ebpf)?, &self.made.pins);
        if let Err(error) = loaded {
            self.made.no_sockets = Some(format!("{error:#}"));
        }
        Ok(())
    }

    fn guard_sockets(&mut self) {
        let Made {
            pins, no_sockets, ..
        } = &self.made;
        self.made.socket_guard = sockets::guard(pins, no_sockets.as_deref());
        self.used.extend(sockets::link_pins());
    }

    fn attach_tc(&mut self, name: &'static str, interface: &str, way: TcWay) -> Result<()> {
        // The interface may be gone meanwhile. The interface monitor then waits for it.
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
        mode: XdpMode,
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
        let attached = xdp::attach_after(former, responder, interface, mode, &pins)?;
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

    /// Undoes the actions before `failed`, and the effects of `failed` itself.
    fn undo(self, failed: &Action) {
        if failed.changes_nothing() {
            // Only the directory is removed, if this start has made it.
            if self.claim.is_some() {
                self.made.pins.remove_if_empty();
            }
            return;
        }
        let none = vec![None; self.plan.inherited.len()];
        match (self.sweep)(&none, &self.seen.stale) {
            Ok(()) => self.take_off(),
            Err(error) => {
                log::error!("could not remove the addresses of an earlier run: {error:#}");
            }
        }
    }

    /// Detaches the programs in reverse order, so that the guard goes last, then removes everything
    /// else.
    fn take_off(self) {
        let pins = &self.made.pins;
        for pin in self.used.iter().rev().filter(|pin| pins.path(pin).exists()) {
            if let Err(error) = pins.unpin(pin) {
                log::error!("{error:#}");
            }
        }
        pins.remove_or_log();
    }
}

/// The result of `MakeMaps`.
fn ebpf(made: &mut Option<Ebpf>) -> Result<&mut Ebpf> {
    made.as_mut().context("there are no maps yet")
}

fn refuse(interface: &str, foreign: &Foreign) -> Result<()> {
    match foreign {
        Foreign::Program(existing) => xdp::refuse(interface, existing),
        Foreign::Filter(other) => Err(filter::refusal(interface, other)),
    }
}

fn pin_maps(ebpf: &Ebpf, pins: &Pins) -> Result<()> {
    // Names with a dot belong to the object's own data sections.
    for (name, map) in ebpf.maps().filter(|(name, _)| !name.starts_with('.')) {
        let path = pins.path(&name.to_lowercase());
        // An existing pin was made, or found, by the loader.
        if !path.exists() {
            map.pin(path)
                .with_context(|| format!("could not pin the map `{name}`"))?;
        }
    }
    Ok(())
}
