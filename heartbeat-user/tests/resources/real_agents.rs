//! The agents of package `resource-agents`.

use std::{io::Write as _, time::Duration};

use heartbeat_core::resource::{Action, Outcome};
use heartbeat_user::config::Ocf;

use crate::support::{Host, ocf};

#[tokio::test]
async fn dummy_starts_and_stops() {
    if !std::path::Path::new("/usr/lib/ocf/resource.d/heartbeat/Dummy").exists() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP dummy_starts_and_stops: there is no ocf:heartbeat:Dummy; run `cargo xtask setup \
             --test`"
        );
        return;
    }
    let host = Host::of_distribution();
    let resource = ocf(Ocf {
        provider: "heartbeat".to_owned(),
        agent: "Dummy".to_owned(),
        params: Vec::new(),
        check_level: 0,
    });
    let outcome = async |action| {
        let done = host.act(&resource, action).await;
        (done.outcome, done.message)
    };
    let seen = outcome(Action::Probe).await;
    assert_eq!(
        seen,
        (Outcome::NOT_RUNNING, String::new()),
        "a probe is no complaint"
    );
    assert_eq!(outcome(Action::Start).await.0, Outcome::OK);
    assert!(host.path("scratch/Dummy-thing.state").exists());
    assert_eq!(outcome(Action::Monitor).await.0, Outcome::OK);
    assert_eq!(outcome(Action::Stop).await.0, Outcome::OK);
    let (seen, message) = outcome(Action::Monitor).await;
    assert_eq!(seen, Outcome::NOT_RUNNING);
    assert_eq!(message, "No process state file found");

    let timeouts = host.agents.timeouts(&resource).await;
    assert_eq!(timeouts.start, Duration::from_secs(20));
    assert_eq!(timeouts.interval, Some(Duration::from_secs(10)));
    assert_eq!(host.agents.validate(&resource).await, Vec::<String>::new());
}
