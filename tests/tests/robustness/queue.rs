//! An interface that sends nothing any more, because its queue is full: the node is mute, knows it, and stops serving.

use anyhow::{Result, ensure};
use heartbeat_tests::{
    e2e::{
        Chronicle, MILLISECOND, SOON,
        books::wait_served,
        ownership::overlaps,
        scene::{patient, play, wait_status},
    },
    skip::rig_runs,
};

#[test]
fn a_node_whose_queue_is_full_gives_up_and_comes_back() -> Result<()> {
    if !rig_runs("a_node_whose_queue_is_full_gives_up_and_comes_back") {
        return Ok(());
    }
    play(patient(), |cluster| {
        let client = cluster.client(MILLISECOND)?;
        wait_served(&client, "a", SOON)?;
        let mut chronicle = Chronicle::begin(cluster)?;
        let a = cluster.node("a")?;
        // About one probe in a second leaves, and what waits fills the socket's buffer.
        a.tool(
            "tc",
            ["qdisc", "add", "dev", "hb0", "root", "tbf", "rate", "1kbit", "burst", "1600", "limit", "100000000"],
        )?;
        wait_served(&client, "b", SOON)?;
        wait_status(a, "its probes are refused", |status| status.pulse.send_errors > 0)?;
        // It is refused what it sends again and again.
        let before = a.control.status()?.pulse.send_errors;
        wait_status(a, "more are", |status| status.pulse.send_errors > before + 100)?;
        let logged = a.logged()?.matches("probes could not be sent").count();
        ensure!(logged == 1, "it says so {logged} times");

        a.tool("tc", ["qdisc", "del", "dev", "hb0", "root"])?;
        cluster.wait_well(SOON, "a")?;
        wait_served(&client, "a", SOON)?;
        for name in ["a", "b", "c"] {
            chronicle.listen(cluster, name)?;
        }
        // Who could not ask knows nothing of the others, and they hear each other.
        let wrong: Vec<_> = chronicle.verdicts().into_iter().filter(|verdict| verdict.author != "a").collect();
        ensure!(wrong.is_empty(), "called dead: {wrong:#?}");
        let acquisitions = chronicle.acquisitions("service");
        client.with_records(|records| {
            let answers = records.iter().flat_map(|record| record.answers());
            let twice = overlaps(answers, &acquisitions);
            ensure!(twice.is_empty(), "two served at once: {twice:#?}");
            Ok(())
        })
    })
}
