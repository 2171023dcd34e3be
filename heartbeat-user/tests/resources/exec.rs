//! Resources that are plain commands.

use std::{fs, time::Duration};

use heartbeat_core::resource::{Action, ExitCode, Outcome};
use heartbeat_user::{
    config::{Exec, Execution, Limit, LimitKind, ResourceKind, StopSignal},
    process::{Process, process_end},
};
use nix::sys::signal::{Signal, kill};

use crate::support::{Host, PATIENCE, eventually, gone, resource, service};

const RUNS: &str = "note leader $$; exec sleep 600";
const ERROR: Outcome = Outcome::Exited(ExitCode::GENERIC_ERROR);

#[tokio::test]
async fn program_runs_as_long_as_its_resource() {
    let host = Host::new();
    let thing = service(&host.script("run", RUNS), None);
    assert_eq!(
        host.act(&thing, Action::Probe).await.outcome,
        Outcome::NOT_RUNNING
    );
    let started = host.act(&thing, Action::Start).await;
    assert_eq!(started.outcome, Outcome::OK, "{}", started.message);
    let leader = host.noted("leader").await;
    assert_eq!(started.message, format!("runs as process {}", leader.pid));
    assert_eq!(host.act(&thing, Action::Monitor).await.outcome, Outcome::OK);
    let again = host.act(&thing, Action::Start).await;
    assert_eq!(
        again.message,
        format!("runs already as process {}", leader.pid)
    );
    assert_eq!(host.act(&thing, Action::Stop).await.outcome, Outcome::OK);
    gone(leader).await;
    assert_eq!(
        host.act(&thing, Action::Monitor).await.outcome,
        Outcome::NOT_RUNNING
    );
    assert_eq!(host.act(&thing, Action::Stop).await.outcome, Outcome::OK);
    assert!(!host.path("state/exec/thing.pid").exists());
}

#[tokio::test]
async fn restarted_agent_finds_the_program_again() {
    let host = Host::new();
    let thing = service(&host.script("run", RUNS), None);
    host.act(&thing, Action::Start).await;
    let leader = host.noted("leader").await;
    let later = host.restarted();
    let seen = later.act(&thing, Action::Probe, PATIENCE).await;
    assert_eq!(seen.outcome, Outcome::OK);
    let stopped = later.act(&thing, Action::Stop, PATIENCE).await;
    assert_eq!(stopped.outcome, Outcome::OK);
    gone(leader).await;
}

#[tokio::test]
async fn program_end_is_noticed() {
    let host = Host::new();
    let thing = service(&host.script("run", RUNS), None);
    host.act(&thing, Action::Start).await;
    let leader = host.noted("leader").await;
    let waited = tokio::time::timeout(Duration::from_millis(50), host.agents.ended(&thing));
    assert!(waited.await.is_err(), "it has not ended yet");
    kill(leader.pid, Signal::SIGKILL).unwrap();
    let waited = tokio::time::timeout(PATIENCE, host.agents.ended(&thing));
    waited.await.expect("noticed");
    gone(leader).await;
    let seen = host.act(&thing, Action::Monitor).await;
    assert_eq!(seen.outcome, Outcome::NOT_RUNNING);
}

#[tokio::test]
async fn program_that_ignores_the_signal_is_killed_and_counts_as_stopped() {
    let host = Host::new();
    let script = "trap '' TERM; sleep 600 & note child $!; note leader $$; while :; do wait; done";
    let thing = service(&host.script("run", script), None);
    host.act(&thing, Action::Start).await;
    let (leader, child) = (host.noted("leader").await, host.noted("child").await);
    let stopped = host
        .agents
        .act(&thing, Action::Stop, Duration::from_millis(300))
        .await;
    assert_eq!(stopped.outcome, Outcome::OK);
    assert_eq!(
        stopped.message,
        "did not stop within 0.3 s after SIGTERM: killed"
    );
    assert!(!leader.lives() && !child.lives());
    gone(leader).await;
}

#[tokio::test]
async fn remaining_children_are_found_and_stopped() {
    let host = Host::new();
    let script = "sleep 600 & note child $!; note leader $$; wait";
    let thing = service(&host.script("run", script), None);
    host.act(&thing, Action::Start).await;
    let (leader, child) = (host.noted("leader").await, host.noted("child").await);
    kill(leader.pid, Signal::SIGKILL).unwrap();
    process_end(leader).await.unwrap();
    let seen = host.act(&thing, Action::Monitor).await;
    assert_eq!(seen.outcome, ERROR, "{}", seen.message);
    assert!(child.lives());
    assert_eq!(host.act(&thing, Action::Stop).await.outcome, Outcome::OK);
    assert!(!child.lives());
}

#[tokio::test]
async fn another_process_with_a_reused_id_is_left_alone() {
    let host = Host::new();
    let thing = service(&host.script("run", RUNS), None);
    host.act(&thing, Action::Start).await;
    let leader = host.noted("leader").await;
    let record = host.path("state/exec/thing.pid");
    let genuine = fs::read_to_string(&record).unwrap();
    let (of, before) = (
        format!(" {} ", leader.started.0),
        format!(" {} ", leader.started.0 - 1),
    );
    fs::write(&record, genuine.replace(&of, &before)).unwrap();
    let seen = host.act(&thing, Action::Probe).await.outcome;
    let stopped = host.act(&thing, Action::Stop).await.outcome;
    assert_eq!((seen, stopped), (Outcome::NOT_RUNNING, Outcome::OK));
    assert!(leader.lives());

    let (_, stat) = genuine.split_once('\n').unwrap();
    fs::write(&record, format!("another-boot\n{stat}")).unwrap();
    assert_eq!(
        host.act(&thing, Action::Probe).await.outcome,
        Outcome::NOT_RUNNING
    );
    fs::write(&record, "").unwrap();
    assert_eq!(
        host.act(&thing, Action::Probe).await.outcome,
        Outcome::NOT_RUNNING
    );
    fs::write(&record, genuine).unwrap();
    assert_eq!(host.act(&thing, Action::Stop).await.outcome, Outcome::OK);
    assert!(!leader.lives());
}

#[tokio::test]
async fn program_that_ends_at_once_counts_as_not_started() {
    let host = Host::new();
    let thing = service(&host.script("run", "exit 5"), None);
    let started = host.act(&thing, Action::Start).await;
    assert_eq!(started.outcome, ERROR);
    assert!(
        started.message.contains("exit status: 5"),
        "{}",
        started.message
    );
    assert_eq!(
        host.act(&thing, Action::Monitor).await.outcome,
        Outcome::NOT_RUNNING
    );
    let absent = host
        .act(&service("/nonexistent/run", None), Action::Start)
        .await;
    assert_eq!(absent.outcome, Outcome::Exited(ExitCode::NOT_INSTALLED));
    assert!(
        absent.message.contains("/nonexistent/run"),
        "{}",
        absent.message
    );
    let findings = host
        .agents
        .validate(&service("/nonexistent/run", None))
        .await;
    assert_eq!(findings.len(), 1, "{findings:?}");
}

#[tokio::test]
async fn start_ends_with_the_first_successful_check() {
    let host = Host::new();
    let run = host.script(
        "run",
        "note leader $$; sleep 0.4; : > $D/ready; exec sleep 600",
    );
    let check = host.script("check", "[ -e $D/ready ] || { echo not yet; exit 3; }");
    let thing = service(&run, Some(&check));
    assert_eq!(host.act(&thing, Action::Start).await.outcome, Outcome::OK);
    assert!(host.path("ready").exists());
    assert_eq!(host.act(&thing, Action::Monitor).await.outcome, Outcome::OK);
    fs::remove_file(host.path("ready")).unwrap();
    let seen = host.act(&thing, Action::Monitor).await;
    assert_eq!(seen.outcome, ERROR);
    assert_eq!(seen.message, "exited with status 3: not yet");
    assert_eq!(host.act(&thing, Action::Stop).await.outcome, Outcome::OK);

    let never = service(
        &host.script("run", RUNS),
        Some(&host.script("check", "exit 1")),
    );
    let started = host
        .agents
        .act(&never, Action::Start, Duration::from_millis(500))
        .await;
    assert_eq!(started.outcome, Outcome::TimedOut);
    let leader: Process = host.noted("leader").await;
    assert_eq!(host.act(&never, Action::Stop).await.outcome, Outcome::OK);
    gone(leader).await;
}

#[tokio::test]
async fn exit_codes_of_commands_are_errors_except_seven_of_the_check() {
    let host = Host::new();
    let line = |name: &str, script: &str| vec![host.script(name, script)];
    let thing = resource(ResourceKind::Exec(Exec::Commands {
        start: line("start", ": > $D/on"),
        stop: line("stop", "rm $D/on || exit 6"),
        check: line(
            "check",
            "[ -e $D/broken ] && exit 5; [ -e $D/on ] || exit 7",
        ),
    }));
    let outcome = async |action| host.act(&thing, action).await.outcome;
    assert_eq!(outcome(Action::Probe).await, Outcome::NOT_RUNNING);
    assert_eq!(outcome(Action::Start).await, Outcome::OK);
    assert_eq!(outcome(Action::Monitor).await, Outcome::OK);
    assert_eq!(outcome(Action::Stop).await, Outcome::OK);
    let stopped = host.act(&thing, Action::Stop).await;
    assert_eq!(stopped.outcome, ERROR);
    assert!(
        stopped.message.starts_with("exited with status 6: "),
        "{}",
        stopped.message
    );
    fs::write(host.path("broken"), "").unwrap();
    assert_eq!(outcome(Action::Monitor).await, ERROR);
}

#[tokio::test]
async fn failed_start_shows_the_programs_own_message() {
    let host = Host::new();
    let script = "echo '\"root\" execution of the server is not permitted.' >&2
        echo 'Start it under an unprivileged user.'; exit 1";
    let thing = service(&host.script("run", script), None);
    let started = host.act(&thing, Action::Start).await;
    assert_eq!(started.outcome, ERROR);
    let lines: Vec<_> = started.message.lines().collect();
    assert!(
        lines[0].ends_with("ended at once (exit status: 1); it wrote last:"),
        "{lines:?}"
    );
    assert_eq!(
        lines[1..],
        [
            "\"root\" execution of the server is not permitted.",
            "Start it under an unprivileged user."
        ]
    );
    // A program without output may have gone to the background.
    let silent = service(&host.script("silent", "exit 0"), None);
    let started = host.act(&silent, Action::Start).await;
    assert!(
        started
            .message
            .contains("needs `start`, `stop` and `check`"),
        "{}",
        started.message
    );
}

#[tokio::test]
async fn program_runs_with_the_configured_setting() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can start programs of other users");
        return;
    }
    let host = Host::new();
    let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap();
    let script = "echo \"$(id -u) $(pwd) $HOME $GREETING $(ulimit -n)\"; echo again >>/dev/stderr
        exec sleep 600";
    let mut thing = service(&host.script("run", script), None);
    thing.execution = Execution {
        user: Some("daemon".to_owned()),
        environment: vec![("GREETING".to_owned(), "hello".to_owned())],
        directory: Some("/usr".into()),
        limits: vec![Limit {
            kind: LimitKind::Nofile,
            value: Some(77),
        }],
        ..Execution::default()
    };
    let started = host.act(&thing, Action::Start).await;
    assert_eq!(started.outcome, Outcome::OK, "{}", started.message);
    let home = daemon.dir.display();
    let wanted = format!("{} /usr {home} hello 77\nagain\n", daemon.uid);
    eventually("its output", || {
        (host.read("output/thing.log") == wanted).then_some(())
    })
    .await;
    // The check and the commands run as the same user.
    thing.kind = ResourceKind::Exec(Exec::Commands {
        start: vec![host.script("start", "id -un >&2; exit 1")],
        stop: vec!["/bin/true".to_owned()],
        check: vec!["/bin/true".to_owned()],
    });
    let failed = host.act(&thing, Action::Start).await;
    assert_eq!(failed.message, "exited with status 1: daemon");
    thing.kind = service("/bin/true", None).kind;
    assert_eq!(host.act(&thing, Action::Stop).await.outcome, Outcome::OK);
}

#[tokio::test]
async fn program_of_an_unknown_user_is_not_run() {
    let host = Host::new();
    let mut thing = service(&host.script("run", RUNS), None);
    thing.execution.user = Some("hb-nobody".to_owned());
    let started = host.act(&thing, Action::Start).await;
    assert_eq!(started.outcome, Outcome::NotStarted);
    assert!(
        started
            .message
            .contains("this host has no user hb-nobody: create it"),
        "{}",
        started.message
    );
}

#[tokio::test]
async fn stop_signal_ends_a_program_that_ignores_sigterm() {
    let host = Host::new();
    let script = "trap '' TERM; trap 'echo bye; exit 0' INT; note leader $$
        while :; do sleep 0.05; done";
    let mut thing = service(&host.script("run", script), None);
    thing.execution.stop_signal = StopSignal::Int;
    host.act(&thing, Action::Start).await;
    let leader = host.noted("leader").await;
    let stopped = host.act(&thing, Action::Stop).await;
    assert_eq!((stopped.outcome, &*stopped.message), (Outcome::OK, ""));
    gone(leader).await;
    assert_eq!(host.read("output/thing.log"), "bye\n");
}

#[tokio::test]
async fn program_end_is_reported_with_status_and_last_lines() {
    let host = Host::new();
    let thing = service(
        &host.script("run", "echo 'disk is full'; note leader $$; sleep 600"),
        None,
    );
    host.act(&thing, Action::Start).await;
    let leader = host.noted("leader").await;
    let later = host.restarted();
    kill(leader.pid, Signal::SIGKILL).unwrap();
    let ended = tokio::time::timeout(PATIENCE, host.agents.ended(&thing));
    let message = ended.await.expect("noticed");
    let pid = leader.pid;
    assert_eq!(
        message,
        format!("process {pid} has ended (signal: 9 (SIGKILL)); it wrote last:\ndisk is full")
    );
    // Another agent was not its parent, and reads the same file.
    let seen = later.act(&thing, Action::Monitor, PATIENCE).await;
    assert!(
        seen.message.contains(&format!("process {pid} has ended"))
            && seen.message.ends_with("it wrote last:\ndisk is full"),
        "{}",
        seen.message
    );
    assert_eq!(host.act(&thing, Action::Stop).await.outcome, Outcome::OK);
    // The next run has a file of its own.
    let quiet = service(&host.script("run", RUNS), None);
    host.act(&quiet, Action::Start).await;
    assert_eq!(host.read("output/thing.log"), "");
    assert_eq!(host.act(&quiet, Action::Stop).await.outcome, Outcome::OK);
}
