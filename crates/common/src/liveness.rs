//! The liveness vector in a heartbeat. The kernel writes it into replies, and into probes that
//! leave.

use crate::{maps::Local, packet::Packet, wire::offset};

/// Writes the liveness vector of this node at `now`.
#[inline(always)]
pub(crate) fn describe_local<P: Packet>(
    packet: &mut P,
    local: &Local,
    payload: usize,
    now: u64,
) -> Option<()> {
    let liveness = local.liveness(now);
    packet.write(payload + offset::STATE, liveness.state)?;
    packet.write(payload + offset::HEALTH, liveness.health)?;
    packet.write(payload + offset::LOAD, liveness.load)?;
    packet.write(payload + offset::GROUPS_OWNED, liveness.groups_owned)?;
    packet.write(
        payload + offset::CONFIG_GENERATION,
        liveness.config_generation,
    )?;
    packet.write(payload + offset::PULSE_AGE, liveness.pulse_age_us)?;
    packet.write(payload + offset::REASON_AGE, liveness.control_age_us)?;
    packet.write(payload + offset::REPORT, liveness.report)?;
    let voter_set = liveness.voter_set;
    packet.write(payload + offset::CONFIG_VERSION, voter_set.version)?;
    packet.write(payload + offset::CLAIMING_VERSION, voter_set.claiming)?;
    packet.write(payload + offset::VOTERS, voter_set.voters)
}
