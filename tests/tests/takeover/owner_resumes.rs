//! An owner whose agent stood still loses its address and gets it back; the neighbours must learn where it
//! is each time.

use std::time::Duration;

use anyhow::Result;
use heartbeat_tests::{
    Fault,
    e2e::{
        MILLISECOND, SOON,
        availability::wait_served,
        shortcuts::{options, wait_holder, with_cluster},
    },
    needs,
    wait::observe,
};

/// Longer than an owner announces its address after a takeover: what the neighbours learn later can
/// only come from its return.
const SETTLED: Duration = Duration::from_secs(3);
/// Far less than neighbours take to find out by themselves.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn owner_that_resumes_announces_its_address_again() -> Result<()> {
    needs!(Cluster);
    with_cluster(options(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        observe(SETTLED, || Ok(()))?;
        cluster.inject("a", Fault::Stop)?;
        wait_served(&client, "b", SOON)?;
        observe(SETTLED, || Ok(()))?;
        cluster.heal("a", Fault::Stop)?;
        wait_served(&client, "a", AT_ONCE)?;
        wait_holder(cluster, Some("a"))
    })
}
