//! All stories, in the order of a run. Stories with the same arrangement follow each other, since a
//! new one restarts the agents.

mod cables;
mod cards;
mod clocks;
mod common;
mod migration;
mod moves;
mod pauses;
mod power;
mod serving;
mod upgrade;
mod witness;

use super::{
    setup::{Cards, Setup, WIDE_DRIFT},
    story::Story,
};

const WITNESS: Setup = Setup {
    witness: true,
    ..Setup::MEMBERS
};
const WIDE: Setup = Setup {
    drift: WIDE_DRIFT,
    ..Setup::MEMBERS
};

/// A story of both forms, with three members and plain cards.
const fn short(name: &'static str, run: fn(&mut super::rig::Rig) -> anyhow::Result<()>) -> Story {
    Story {
        name,
        short: true,
        setup: Setup::MEMBERS,
        run,
    }
}

/// The same in the long form only.
const fn long(name: &'static str, run: fn(&mut super::rig::Rig) -> anyhow::Result<()>) -> Story {
    Story {
        short: false,
        ..short(name, run)
    }
}

const UPGRADE: &str = "upgrade_node_by_node";

/// All stories.
pub(super) const ALL: [Story; 29] = [
    short("quorum_and_serving", serving::quorum_and_serving),
    short("twenty_planned_moves", moves::twenty_planned_moves),
    short("owner_paused", pauses::owner_paused),
    short(
        "paused_owner_without_heartbeats_is_silent",
        pauses::without_heartbeats,
    ),
    long(
        "paused_owner_without_agent_is_silent",
        pauses::without_agent,
    ),
    long("owner_migrated_live", migration::live),
    long("paused_owner_migrated", migration::paused),
    short("owner_unplugged", cables::owner_unplugged),
    long("owner_loses_carrier", cables::owner_loses_carrier),
    short("owner_not_heard", cables::owner_not_heard),
    long("owner_hears_nothing", cables::owner_hears_nothing),
    short("three_way_partition", cables::three_way_partition),
    short("clocks_set_by_years", clocks::set_by_years),
    short("clock_rates_beyond_drift_overlap", clocks::beyond_drift),
    short("owner_power_off", power::owner_power_off),
    long("member_power_off", power::member_power_off),
    short("two_nodes_reset", power::two_nodes_reset),
    long("all_nodes_reset", power::all_nodes_reset),
    short("state_lost_and_clock_set_back", clocks::state_lost),
    long("agents_restarted_one_by_one", upgrade::restarted_one_by_one),
    long("real_time_kernel_runs_the_agent", serving::real_time_kernel),
    Story {
        setup: WIDE,
        ..long("clock_rates_within_drift", clocks::within_drift)
    },
    Story {
        setup: WITNESS,
        ..long("owner_dies_beside_a_witness", witness::owner_dies)
    },
    Story {
        setup: WITNESS,
        ..long("witness_reset_with_its_clock_set_back", witness::reset)
    },
    Story {
        setup: Setup::on(Cards::Bond),
        ..long("address_on_a_bond", cards::bond)
    },
    Story {
        setup: Setup::on(Cards::Bond),
        ..long("native_xdp_on_a_bond", cards::native_on_bond)
    },
    Story {
        setup: Setup::on(Cards::Vlan),
        ..long("address_on_a_vlan", cards::vlan)
    },
    Story {
        setup: Setup::on(Cards::Bridge),
        ..long("address_on_a_bridge", cards::bridge)
    },
    long(UPGRADE, upgrade::node_by_node),
];

/// Whether the story needs an older agent.
pub(super) fn is_upgrade(story: &Story) -> bool {
    story.name == UPGRADE
}
