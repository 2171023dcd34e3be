//! Agents of the Open Cluster Framework, as a test writes them.

use std::time::Duration;

use heartbeat_core::resource::{Action, ExitCode, Outcome};
use heartbeat_user::{
    process::SAFE_PATH,
    resources::{INTERVAL, TIMEOUT, Timeouts},
};

use crate::support::{Host, PATIENCE, ocf};

const DESCRIBED: &str = r#"
if [ $1 = meta-data ]; then
    echo asked >> $D/asked
    cat <<END
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="described" version="1">
<parameters>
<parameter name="config" required="1"><shortdesc>Its file</shortdesc><content type="string"/></parameter>
<parameter name="port"><content type="integer" default="80"/></parameter>
</parameters>
<actions>
<action name="start" timeout="41s"/><action name="stop" timeout="61"/>
<action name="monitor" timeout="21s" interval="11s" depth="0"/>
<action name="monitor" timeout="22s" interval="12s" depth="10"/>
</actions>
</resource-agent>
END
exit 0
fi
[ $1 = validate-all ] && { echo "ocf-exit-reason:no such file" >&2; exit 5; }
exit 0"#;

#[tokio::test]
async fn agent_environment_is_exact() {
    let host = Host::new();
    let mut agent = host.agent("told", r"tr '\0' '\n' < /proc/$$/environ | sort > $D/$1");
    agent.params = vec![("config".to_owned(), "/etc/a b".to_owned())];
    agent.check_level = 10;
    let mut resource = ocf(agent);
    resource.monitor_interval = Some(Duration::from_millis(7500));
    for (action, name, interval, level) in [
        (Action::Start, "start", 0, 0),
        (Action::Stop, "stop", 0, 0),
        (Action::Probe, "monitor", 0, 0),
        (Action::Monitor, "monitor", 7500, 10),
    ] {
        let done = host
            .agents
            .act(&resource, action, Duration::from_millis(30_500))
            .await;
        assert_eq!(done.outcome, Outcome::OK, "{}", done.message);
        let mut wanted = vec![
            format!("HA_RSCTMP={}", host.path("scratch").display()),
            "LC_ALL=C".to_owned(),
            format!("OCF_CHECK_LEVEL={level}"),
            "OCF_RA_VERSION_MAJOR=1".to_owned(),
            "OCF_RA_VERSION_MINOR=1".to_owned(),
            format!("OCF_RESKEY_CRM_meta_interval={interval}"),
            format!("OCF_RESKEY_CRM_meta_name={name}"),
            "OCF_RESKEY_CRM_meta_on_node=here".to_owned(),
            "OCF_RESKEY_CRM_meta_timeout=30500".to_owned(),
            "OCF_RESKEY_config=/etc/a b".to_owned(),
            "OCF_RESOURCE_INSTANCE=thing".to_owned(),
            "OCF_RESOURCE_PROVIDER=test".to_owned(),
            "OCF_RESOURCE_TYPE=told".to_owned(),
            format!("OCF_ROOT={}", host.path("ocf").display()),
            format!("PATH={SAFE_PATH}"),
        ];
        wanted.sort();
        assert_eq!(
            host.read(name).lines().collect::<Vec<_>>(),
            wanted,
            "{action}"
        );
    }
    assert!(host.path("scratch").is_dir());
}

#[tokio::test]
async fn exit_codes_are_kept_with_the_reason() {
    let host = Host::new();
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 42, 190, 191, 255] {
        let script = format!("echo 'ocf-exit-reason:code {code}' >&2; echo noise >&2; exit {code}");
        let resource = ocf(host.agent("coded", &script));
        for action in Action::ALL {
            let done = host.act(&resource, action).await;
            assert_eq!(done.outcome, Outcome::Exited(ExitCode(code)), "{action}");
            assert_eq!(done.message, format!("code {code}"));
        }
    }
    let resource = ocf(host.agent("crashing", "kill -SEGV $$"));
    let done = host.act(&resource, Action::Monitor).await;
    assert_eq!(done.outcome, Outcome::Killed(libc::SIGSEGV));
}

#[tokio::test]
async fn hanging_agent_times_out() {
    let host = Host::new();
    let resource = ocf(host.agent("hanging", "note child $$; echo waiting >&2; sleep 600"));
    for action in [Action::Start, Action::Stop] {
        let done = host
            .agents
            .act(&resource, action, Duration::from_millis(700))
            .await;
        assert_eq!(done.outcome, Outcome::TimedOut, "{action}");
        let (killed, said) = done.message.split_once('\n').unwrap();
        assert!(
            killed.starts_with("not done after ") && killed.contains(" s: killed"),
            "{killed}"
        );
        assert_eq!(said, "waiting");
        assert!(done.took < PATIENCE / 2, "{:?}", done.took);
    }
}

#[tokio::test]
async fn unusable_agent_has_a_distinct_result() {
    let host = Host::new();
    let missing = host
        .act(&ocf(host.no_agent("missing")), Action::Start)
        .await;
    assert_eq!(missing.outcome, Outcome::Exited(ExitCode::NOT_INSTALLED));
    assert!(
        missing.message.contains("ocf/resource.d/test/missing"),
        "{}",
        missing.message
    );

    let mut known = host.no_agent("apache");
    known.provider = "heartbeat".to_owned();
    let known = host.act(&ocf(known), Action::Probe).await;
    assert!(
        known.message.contains("package resource-agents "),
        "{}",
        known.message
    );

    let agent = host.agent("plain", "exit 0");
    let path = host.path("ocf/resource.d/test/plain");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let plain = host.act(&ocf(agent), Action::Start).await;
    assert_eq!(plain.outcome, Outcome::Exited(ExitCode::NO_PERMISSION));
    assert!(plain.message.contains("executable"), "{}", plain.message);

    let agent = host.agent("foreign", "");
    std::fs::write(host.path("source"), "#!/no/such/shell\n").unwrap();
    let installed = std::process::Command::new("install")
        .args(["-m", "755"])
        .args([
            host.path("source"),
            host.path("ocf/resource.d/test/foreign"),
        ])
        .status();
    assert!(installed.unwrap().success());
    let foreign = host.act(&ocf(agent), Action::Start).await;
    assert_eq!(foreign.outcome, Outcome::Exited(ExitCode::NOT_INSTALLED));
    assert!(
        foreign.message.contains("interpreter"),
        "{}",
        foreign.message
    );
}

#[tokio::test]
async fn timeouts_are_configured_or_advised_or_default() {
    let host = Host::new();
    let secs = Duration::from_secs;
    let mut resource = ocf(host.agent("described", DESCRIBED));
    let described = Timeouts {
        start: secs(41),
        stop: secs(61),
        monitor: secs(21),
        interval: Some(secs(11)),
    };
    assert_eq!(host.agents.timeouts(&resource).await, described);
    resource.start_timeout = Some(secs(3));
    resource.monitor_interval = Some(Duration::ZERO);
    let configured = Timeouts {
        start: secs(3),
        interval: None,
        ..described
    };
    assert_eq!(host.agents.timeouts(&resource).await, configured);
    assert_eq!(host.read("asked"), "asked\n", "it is asked once");

    let mut deep = host.no_agent("described");
    deep.check_level = 10;
    let timeouts = host.agents.timeouts(&ocf(deep)).await;
    assert_eq!(
        (timeouts.monitor, timeouts.interval),
        (secs(22), Some(secs(12)))
    );

    let default = Timeouts {
        start: TIMEOUT,
        stop: TIMEOUT,
        monitor: TIMEOUT,
        interval: Some(INTERVAL),
    };
    for (name, script) in [
        ("silent", "exit 0"),
        ("garbled", "echo '<resource-agent'; exit 0"),
        ("other", "echo '<html/>'; exit 0"),
    ] {
        let resource = ocf(host.agent(name, script));
        assert_eq!(host.agents.timeouts(&resource).await, default, "{name}");
    }
    let absent = ocf(host.no_agent("late"));
    assert_eq!(host.agents.timeouts(&absent).await, default);
    let late = ocf(host.agent("late", DESCRIBED));
    assert_eq!(
        host.agents.timeouts(&late).await,
        described,
        "it may come later"
    );
}

#[tokio::test]
async fn parameters_are_validated_by_the_agent_and_its_metadata() {
    let host = Host::new();
    let mut agent = host.agent("described", DESCRIBED);
    agent.params = vec![("prot".to_owned(), "80".to_owned())];
    let findings = host.agents.validate(&ocf(agent)).await;
    let [unknown, needed, own] = &findings[..] else {
        panic!("{findings:?}")
    };
    assert_eq!(unknown, "it has no parameter `prot`; did you mean `port`?");
    assert_eq!(needed, "it needs the parameter `config` (Its file)");
    assert_eq!(own, "validate-all: not installed (5): no such file");
    let findings = host.agents.validate(&ocf(host.no_agent("missing"))).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
}

#[tokio::test]
async fn end_of_the_pidfile_process_is_noticed() {
    let host = Host::new();
    let mut resource = ocf(host.agent("daemon", "sleep 600 & note daemon $!"));
    resource.pidfile = Some(host.path("daemon.pid"));
    assert_eq!(
        host.act(&resource, Action::Start).await.outcome,
        Outcome::OK
    );
    let daemon = host.noted("daemon").await;
    let end = async {
        // Only an end after the start of the watch can be noticed.
        let waited = tokio::time::timeout(Duration::from_millis(50), host.agents.ended(&resource));
        assert!(waited.await.is_err());
        nix::sys::signal::kill(daemon.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    let watched = host.agents.ended(&resource);
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(end, watched) });
    both.await.expect("noticed");
}

#[tokio::test]
async fn agent_gets_the_operators_variables_and_the_ocf_ones() {
    let host = Host::new();
    let script = "echo \"$PGHOST $OCF_RESOURCE_INSTANCE $PATH\" >&2; exit 1";
    let mut resource = ocf(host.agent("environment", script));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    resource.execution.environment = vec![pair("PATH", "/opt/bin:/bin"), pair("PGHOST", "/srv")];
    let done = host.act(&resource, Action::Start).await;
    assert_eq!(done.message, "/srv thing /opt/bin:/bin");
}
