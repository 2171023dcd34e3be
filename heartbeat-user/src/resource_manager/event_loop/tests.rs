//! Tests of a resource manager without a thread. The tests take the place of the executors.

use std::time::Duration;

use heartbeat_core::{
    group::AcquisitionTimeline,
    index::{GroupIndex, ResourceIndex},
    index_vec::IndexVec,
    resource::{Action, Outcome, ResourcePlan},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::{
    config::{Config, Group},
    messages::ActionRequest,
    pulse::Directives,
};

fn group(resources: &[&str]) -> Group {
    let mut text = "[cluster]\nname = \"x\"\n[[link]]\ninterface = \"eth0\"\n".to_owned();
    for id in 1..=3 {
        text += &format!("[[node]]\nname = \"n{id}\"\nid = {id}\naddresses = [\"10.0.0.{id}\"]\n");
    }
    text += "[[group]]\nname = \"web\"\n";
    for name in resources {
        text += &format!(
            "[[group.resource]]\nname = \"{name}\"\ntype = \"exec\"\nrun = [\"/bin/{name}\"]\n"
        );
    }
    let config = Config::parse(&text, "x.toml".as_ref(), Some("n1"), "n1");
    config.expect("a good configuration").groups[GroupIndex(0)].clone()
}

fn plan() -> ResourcePlan {
    let second = Duration::from_secs(1);
    ResourcePlan {
        start_timeout: second,
        stop_timeout: second,
        monitor_timeout: second,
        monitor_interval: None,
        migration_threshold: None,
        failure_timeout: None,
    }
}

/// Sends a command, and answers each action with `outcome`. Returns all actions.
fn play<R: FnMut(ResourceEvent)>(
    body: &mut EventLoop<R>,
    work: &mut UnboundedReceiver<ActionRequest>,
    command: ResourceCommand,
    outcome: impl Fn(ResourceIndex, Action) -> Outcome,
) -> Vec<(ResourceIndex, Action)> {
    let mut acts = Vec::new();
    body.handle(command);
    body.carry_out();
    while let Ok(next) = work.try_recv() {
        if let ActionRequest::Act {
            reference,
            number,
            action,
            ..
        } = next
        {
            acts.push((reference.resource, action));
            body.handle(ResourceCommand::Done {
                reference,
                number,
                action,
                outcome: outcome(reference.resource, action),
                message: String::new(),
            });
            body.carry_out();
        }
    }
    acts
}

fn body<R: FnMut(ResourceEvent)>(resources: &[&str], ends: Ends<R>) -> EventLoop<R> {
    EventLoop::new(
        None,
        Netlink::open().expect("a socket"),
        IndexVec::new(),
        [Run::new(&group(resources), false)].into(),
        ends,
    )
}

#[test]
fn failure_has_the_message_of_its_own_action() {
    let (directives, _inbox) = Directives::new().expect("a mailbox");
    let (sender, mut work) = unbounded_channel();
    let (told, failures) = std::sync::mpsc::channel();
    let ends = Ends {
        directives,
        work: sender,
        report: move |event| {
            if let ResourceEvent::Failed {
                resource,
                action,
                message,
                ..
            } = event
            {
                let _ = told.send((resource, action, message));
            }
        },
    };
    let mut body = body(&["one"], ends);
    let well = |_: ResourceIndex, action| match action {
        Action::Probe => Outcome::NOT_RUNNING,
        _ => Outcome::OK,
    };
    let begin = ResourceCommand::Begin {
        group: GroupIndex(0),
        plans: vec![plan()].into(),
    };
    play(&mut body, &mut work, begin, well);
    let start = || ResourceCommand::Start {
        group: GroupIndex(0),
        timeline: AcquisitionTimeline::default(),
        decided: clock::now(),
    };
    play(&mut body, &mut work, start(), well);
    let ended = |message: &str| ResourceCommand::Ended {
        reference: ResourceRef {
            group: GroupIndex(0),
            resource: ResourceIndex(0),
        },
        message: message.to_owned(),
    };
    // The message of the start is not the message of the process's end.
    body.groups[GroupIndex(0)].messages[ResourceIndex(0)].text = "runs as process 7".to_owned();
    let acts = play(&mut body, &mut work, ended(""), well);
    assert_eq!(
        acts,
        [
            (ResourceIndex(0), Action::Stop),
            (ResourceIndex(0), Action::Start)
        ]
    );
    let one = || "one".to_owned();
    assert_eq!(
        failures.try_recv(),
        Ok((one(), Action::Monitor, String::new()))
    );
    play(&mut body, &mut work, ended("disk full"), well);
    let failure = (one(), Action::Monitor, "disk full".to_owned());
    assert_eq!(failures.try_recv(), Ok(failure));
    assert!(failures.try_recv().is_err());
}

#[test]
fn shortened_blocked_group_is_cleaned_up_by_a_remaining_resource() {
    let (directives, _inbox) = Directives::new().expect("a mailbox");
    let (sender, mut work) = unbounded_channel();
    let ends = Ends {
        directives,
        work: sender,
        report: |_| {},
    };
    let mut body = body(&["one", "two"], ends);
    let well = |_: ResourceIndex, action| match action {
        Action::Probe => Outcome::NOT_RUNNING,
        _ => Outcome::OK,
    };
    let stubborn = |resource, action| match (resource, action) {
        (ResourceIndex(1), Action::Stop) => Outcome::TimedOut,
        (_, action) => well(resource, action),
    };
    let now = clock::now();
    let begin = ResourceCommand::Begin {
        group: GroupIndex(0),
        plans: vec![plan(); 2].into(),
    };
    play(&mut body, &mut work, begin, well);
    let start = ResourceCommand::Start {
        group: GroupIndex(0),
        timeline: AcquisitionTimeline::default(),
        decided: now,
    };
    play(&mut body, &mut work, start, well);
    // The change needs a stop of resource 1, which fails.
    let shorter = ResourceCommand::Replan {
        vips: IndexVec::new(),
        groups: [group(&["one"])].into(),
    };
    let acts = play(&mut body, &mut work, shorter, stubborn);
    assert_eq!(acts, [(ResourceIndex(1), Action::Stop)]);
    let cleanup = ResourceCommand::Cleanup {
        group: GroupIndex(0),
        resource: Some(ResourceIndex(0)),
    };
    let acts = play(&mut body, &mut work, cleanup, well);
    assert_eq!(
        acts,
        [
            (ResourceIndex(1), Action::Probe),
            (ResourceIndex(0), Action::Stop)
        ]
    );
    assert_eq!(body.groups[GroupIndex(0)].resources.len(), 1);
}
