//! The environment of a program, and the ways to end it.

use std::{
    fs,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use heartbeat_user::process::{self, KEEP_BYTES, Program, process_end};

use crate::support::{Host, PATIENCE, gone};

const SHORT: Duration = Duration::from_millis(500);

async fn run(host: &Host, script: &str, limit: Duration) -> process::Ended {
    process::run(&Program::new(host.script("program", script)), limit)
        .await
        .unwrap()
}

#[tokio::test]
async fn program_inherits_nothing_from_the_agent() {
    let host = Host::new();
    let leak = fs::File::open("/dev/zero").unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    // SAFETY: no handler is installed, and nothing in this process sends or awaits the signal. The
    // second takes no pointer and makes this thread only nicer.
    unsafe {
        libc::signal(libc::SIGUSR2, libc::SIG_IGN);
        libc::setpriority(libc::PRIO_PROCESS, 0, 12);
    }
    let script = r#"
        tr '\0' '\n' < /proc/$$/environ > $D/environment
        ls -l /proc/$$/fd > $D/descriptors
        # Without a child: a shell that waits for one may block signals.
        while read -r line; do echo "$line"; done < /proc/$$/status > $D/status
        cat /proc/$$/stat > $D/stat
        pwd > $D/directory; umask >> $D/directory"#;
    let ended = run(&host, script, PATIENCE).await;
    assert!(ended.status.unwrap().success(), "{ended:?}");
    let path = format!("PATH={}\nLC_ALL=C\n", process::SAFE_PATH);
    let mut environment: Vec<_> = path.lines().collect();
    environment.sort_unstable();
    let text = host.read("environment");
    let mut given: Vec<_> = text.lines().collect();
    given.sort_unstable();
    assert_eq!(given, environment);
    assert_eq!(host.read("directory"), "/\n0022\n");
    let descriptors = host.read("descriptors");
    assert!(!descriptors.contains("/dev/zero"), "{descriptors}");
    assert!(descriptors.contains("0 -> /dev/null"), "{descriptors}");
    let status = host.read("status");
    for mask in ["SigBlk", "SigIgn"] {
        assert!(
            status.contains(&format!("{mask}:\t0000000000000000")),
            "{status}"
        );
    }
    let stat = host.read("stat");
    let (head, rest) = stat.rsplit_once(") ").unwrap();
    let pid = head.split(' ').next().unwrap();
    let field = |number: usize| rest.split(' ').nth(number - 3).unwrap();
    assert_eq!(
        (field(5), field(6)),
        (pid, pid),
        "group and session are its own"
    );
    assert_eq!(field(7), "0", "no terminal");
    assert_eq!(field(41), "0", "SCHED_OTHER");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(field(19), "0", "nice");
    }
    assert!(leak.as_raw_fd() > 2);
}

#[tokio::test]
async fn hanging_program_is_killed_with_its_children() {
    let host = Host::new();
    let script = "trap '' TERM; note leader $$; sleep 600 & note child $!
        while :; do wait; done";
    let began = Instant::now();
    let ended = run(&host, script, SHORT).await;
    assert!(ended.status.is_none() && ended.took >= SHORT);
    assert!(began.elapsed() < PATIENCE);
    for name in ["leader", "child"] {
        let text = host.read(&format!("{name}.pid"));
        let proc = format!("/proc/{}/stat", text.trim());
        let stat = fs::read_to_string(proc).unwrap_or_default();
        assert!(
            stat.is_empty() || stat.contains(") Z "),
            "{name} lives: {stat}"
        );
    }
}

#[tokio::test]
async fn program_that_handles_sigterm_may_finish() {
    let host = Host::new();
    let script = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done";
    let ended = run(&host, script, SHORT).await;
    assert!(ended.status.is_none());
    assert_eq!(ended.stdout, "bye\n");
}

#[tokio::test]
async fn program_does_not_inherit_the_agents_oom_protection() {
    const SCORE: &str = "/proc/self/oom_score_adj";
    let before = fs::read_to_string(SCORE).unwrap();
    // The write needs CAP_SYS_RESOURCE, which a container's root may lack.
    let spared = fs::write(SCORE, "-900").is_ok();
    let host = Host::new();
    let script = "cat /proc/$$/oom_score_adj > $D/score";
    let ended = run(&host, script, PATIENCE).await;
    fs::write(SCORE, before.trim()).unwrap();
    assert!(ended.status.unwrap().success(), "{ended:?}");
    let expected = if spared { "0" } else { before.trim() };
    assert_eq!(host.read("score").trim(), expected);
}

#[tokio::test]
async fn dropped_run_is_killed() {
    let host = Host::new();
    let script = host.script("program", "sleep 600 & note child $!; note leader $$; wait");
    let running = tokio::spawn(async move {
        let _ = process::run(&Program::new(script), PATIENCE * 10).await;
    });
    let (leader, child) = (host.noted("leader").await, host.noted("child").await);
    running.abort();
    gone(leader).await;
    process_end(child).await.unwrap();
}

#[tokio::test]
async fn large_output_does_not_block_and_its_end_is_kept() {
    let host = Host::new();
    let script =
        "yes | head -c 8000000; yes n | head -c 8000000 >&2; echo end; echo over >&2; exit 3";
    let ended = run(&host, script, PATIENCE).await;
    assert_eq!(ended.status.unwrap().code(), Some(3));
    assert_eq!(
        (ended.stdout.len(), ended.stderr.len()),
        (KEEP_BYTES, KEEP_BYTES)
    );
    assert!(ended.stdout.ends_with("y\nend\n") && ended.stderr.ends_with("n\nover\n"));
}

#[tokio::test]
async fn child_with_open_output_delays_nothing() {
    let host = Host::new();
    let ended = run(&host, "sleep 600 & note child $!; echo started", PATIENCE).await;
    assert_eq!(ended.stdout, "started\n");
    assert!(ended.took < PATIENCE / 2, "{:?}", ended.took);
    assert!(
        host.noted("child").await.lives(),
        "what it leaves is its own affair"
    );
}

#[tokio::test]
async fn program_has_no_terminal_and_no_input() {
    let host = Host::new();
    let script = "read line && exit 1; (: < /dev/tty) 2> /dev/null && exit 2; exit 0";
    let ended = run(&host, script, PATIENCE).await;
    assert_eq!(ended.status.unwrap().code(), Some(0));
}
