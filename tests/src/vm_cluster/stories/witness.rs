//! Two members and a witness without an agent.

use std::time::Duration;

use anyhow::Result;

use super::common::{handed_over, served_throughout};
use crate::vm_cluster::{
    rig::{Rig, TAKEOVER, now},
    setup::NODES,
};

const WITNESS: &str = NODES[2];

pub(super) fn owner_dies(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let since = now();
    rig.pass(Duration::from_millis(500))?;
    rig.power_off(&owner)?;
    let successor = rig.successor(&owner, 2 * TAKEOVER)?;
    rig.pass(Duration::from_secs(1))?;
    handed_over(rig, since, &owner, &successor)
}

pub(super) fn reset(rig: &mut Rig) -> Result<()> {
    let owner = rig.owner()?;
    let since = now();
    rig.power_off(WITNESS)?;
    "2010-01-01T00:00:00".clone_into(&mut rig.node_mut(WITNESS)?.clock);
    rig.power_on(&[WITNESS])?;
    rig.await_votes()?;
    served_throughout(rig, since, &owner)
}
