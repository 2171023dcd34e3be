//! An owner whose agent was stopped loses its address and gets it back. The neighbours learn each
//! time where the address is.

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

/// The time after which an owner announces its address no longer. Later announcements can only come
/// from the return.
const SETTLED: Duration = Duration::from_secs(3);
/// The most that neighbours may take. Without an announcement they take far longer.
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
