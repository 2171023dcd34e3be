//! The kernel programs, by their pins. The verifier takes about a second for all of them, so
//! programs that an earlier run of the same object left are not loaded again.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};
use aya_obj::programs::XdpAttachType;
use heartbeat_common::siphash::{SipHash, SipKey};

use crate::pins::Pins;

/// The programs that answer, stamp and guard. The program for ends of processes is loaded on
/// demand.
pub(crate) const NAMES: [&str; 4] = ["responder", "stamp_probe", "guard_ingress", "guard_egress"];

/// The programs of an instance.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) responder: Xdp,
    pub(crate) guard_ingress: Xdp,
    pub(crate) stamp_probe: SchedClassifier,
    pub(crate) guard_egress: SchedClassifier,
}

pub(crate) fn pin(name: &str) -> String {
    format!("prog_{name}")
}

/// Lets the kernel verify the programs of the object, and pins them.
pub(crate) fn load(ebpf: &mut Ebpf, pins: &Pins) -> Result<()> {
    for name in NAMES {
        let program = ebpf
            .program_mut(name)
            .with_context(|| format!("the object has no program `{name}`"))?;
        load_one(program).with_context(|| format!("the kernel refused the program `{name}`"))?;
        program
            .pin(pins.path(&pin(name)))
            .with_context(|| format!("could not pin the program `{name}`"))?;
    }
    Ok(())
}

fn load_one(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

impl Programs {
    /// Opens the pinned programs.
    pub(crate) fn open(pins: &Pins) -> Result<Self> {
        let path = |name| pins.path(&pin(name));
        let failed = |name| format!("could not open the pinned program `{name}`");
        let xdp = |name| {
            Xdp::from_pin(path(name), XdpAttachType::Interface).with_context(|| failed(name))
        };
        let egress = |name| SchedClassifier::from_pin(path(name)).with_context(|| failed(name));
        Ok(Self {
            responder: xdp("responder")?,
            guard_ingress: xdp("guard_ingress")?,
            stamp_probe: egress("stamp_probe")?,
            guard_egress: egress("guard_egress")?,
        })
    }
}

/// A number that distinguishes one object from another.
pub(crate) fn fingerprint(object: &[u8]) -> u64 {
    // A hash without a secret will do: nothing depends on the absence of collisions made on
    // purpose.
    let mut hasher = SipHash::new(SipKey { k0: 0, k1: 0 });
    for chunk in object.chunks(size_of::<u64>()) {
        let mut word = [0; size_of::<u64>()];
        word[..chunk.len()].copy_from_slice(chunk);
        hasher.write(u64::from_le_bytes(word));
    }
    hasher.finish()
}
