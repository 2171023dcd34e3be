//! An address is announced again when its link comes back.

use std::time::{Duration, Instant};

use anyhow::Result;
use heartbeat_tests::{
    Options,
    e2e::{
        SOON,
        python::Script,
        shortcuts::{options, wait_holder, with_cluster},
    },
    needs, wait_until,
};
use serde_json::Value;

/// The length of a burst of announcements after a takeover. A silence of this length is its end.
const BURST: Duration = Duration::from_millis(2_500);

#[test]
fn address_is_announced_again_when_its_link_comes_back() -> Result<()> {
    needs!(Cluster, Scapy);
    let two_links = Options {
        links: 2,
        ..options()
    };
    with_cluster(two_links, |cluster| {
        wait_holder(cluster, Some("a"))?;
        let vip = cluster.vip().to_string();
        let owner: Value = cluster.node("a")?.ns.mac("hb0")?.into();
        let mut ear = Script::start(
            cluster.client_namespace(),
            "announcements.py",
            &["hb0", &vip],
        )?;
        let mut heard = || -> Result<usize> {
            let all: Vec<Value> = serde_json::from_str(&ear.order("")?)?;
            Ok(all.iter().filter(|one| one["mac"] == owner).count())
        };
        // A lease that a busy machine loses and regains begins another burst, so its end is
        // awaited, too.
        let mut quiet_since = Instant::now();
        wait_until(SOON, "it announces the address no more", || {
            if heard()? > 0 {
                quiet_since = Instant::now();
            }
            Ok(quiet_since.elapsed() > BURST)
        })?;

        // Heartbeats pass on the other link, and so short a fault moves nothing.
        cluster.switch().set_port_up("a-hb0", false)?;
        wait_until(SOON, "the link of the owner is away", || {
            let link = cluster
                .node("a")?
                .tool("ip", ["-o", "link", "show", "hb0"])?;
            Ok(link.contains("NO-CARRIER"))
        })?;
        cluster.switch().set_port_up("a-hb0", true)?;
        wait_until(SOON, "the owner announces its address again", || {
            Ok(heard()? > 0)
        })?;
        wait_holder(cluster, Some("a"))
    })
}
