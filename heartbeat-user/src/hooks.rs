//! Runs the configured commands when something happens.
//!
//! Each hook has a queue and a task of its own: its events run one after the other, in order, and
//! a hook that hangs holds up no other, nor anything else. `docs/operations.md` documents the
//! environment.

use std::{ffi::OsString, process::Stdio, sync::Arc, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
};

use crate::config::{Hook, HookEvent};

/// Events that may wait for one hook; more are dropped, and reported.
const QUEUE: usize = 64;
const SAFE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a hook is told, as `HEARTBEAT_…` variables beside `HEARTBEAT_EVENT`.
pub type Variables = Vec<(&'static str, String)>;

/// How one run of a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub on: HookEvent,
    pub exec: String,
    /// Absent if it was killed or could not start.
    pub status: Option<i32>,
    pub message: String,
}

#[derive(Debug)]
pub struct Hooks {
    queues: Vec<(Hook, mpsc::Sender<(HookEvent, Variables)>)>,
    ended: mpsc::UnboundedSender<Ended>,
}

impl Hooks {
    /// Must be called inside a tokio runtime. How runs end is sent to `ended`.
    pub fn start(hooks: &[Hook], ended: mpsc::UnboundedSender<Ended>) -> Self {
        let queues = hooks.iter().map(|hook| {
            let (sender, mut inbox) = mpsc::channel::<(HookEvent, Variables)>(QUEUE);
            let (hook, ended) = (Arc::new(hook.clone()), ended.clone());
            let worker = Arc::clone(&hook);
            tokio::spawn(async move {
                while let Some((on, variables)) = inbox.recv().await {
                    let _ = ended.send(run(&worker, on, variables).await);
                }
            });
            ((*hook).clone(), sender)
        });
        Self {
            queues: queues.collect(),
            ended: ended.clone(),
        }
    }

    /// Queues every hook that waits for `on`. Never blocks.
    pub fn fire(&self, on: HookEvent, variables: &Variables) {
        for (hook, queue) in self.queues.iter().filter(|(hook, _)| hook.on.contains(&on)) {
            if queue.try_send((on, variables.clone())).is_err() {
                let message = format!("dropped: {QUEUE} events already wait for this hook");
                let _ = self.ended.send(Ended {
                    on,
                    exec: exec(hook),
                    status: None,
                    message,
                });
            }
        }
    }
}

fn exec(hook: &Hook) -> String {
    hook.program.display().to_string()
}

async fn run(hook: &Hook, on: HookEvent, variables: Variables) -> Ended {
    let ended = |status, message| Ended {
        on,
        exec: exec(hook),
        status,
        message,
    };
    let mut command = Command::new(&hook.program);
    command
        .args(&hook.args)
        .env_clear()
        .env(
            "PATH",
            std::env::var_os("PATH").unwrap_or_else(|| OsString::from(SAFE_PATH)),
        )
        .env("HEARTBEAT_EVENT", on.as_str())
        .envs(variables)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own, so that a timeout ends its children too.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return ended(None, format!("could not start: {error}")),
    };
    let group = child.id();
    let result = tokio::time::timeout(hook.timeout, child.wait()).await;
    match result {
        Ok(Ok(status)) => match status.code() {
            Some(0) => ended(Some(0), "ok".to_owned()),
            Some(code) => ended(Some(code), format!("exited with status {code}")),
            None => ended(None, status.to_string()),
        },
        Ok(Err(error)) => ended(None, format!("could not wait for it: {error}")),
        Err(_) => {
            kill_group(&mut child, group).await;
            ended(
                None,
                format!(
                    "killed: not done within its timeout of {}",
                    show(hook.timeout)
                ),
            )
        }
    }
}

async fn kill_group(child: &mut Child, group: Option<u32>) {
    if let Some(group) = group.and_then(|group| i32::try_from(group).ok()) {
        // The child was not waited for yet, so its number cannot be another's by now.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait().await;
}

fn show(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn hook(script: &str, timeout: Duration) -> Hook {
        Hook {
            on: vec![HookEvent::Takeover],
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".to_owned(), script.to_owned()],
            timeout,
        }
    }

    #[tokio::test]
    async fn tells_what_happened_and_nothing_else() {
        let script = r#"test "$HEARTBEAT_EVENT/$HEARTBEAT_VIP" = takeover/web && test -z "$HOME""#;
        let variables = vec![("HEARTBEAT_VIP", "web".to_owned())];
        let ended = run(
            &hook(script, Duration::from_secs(20)),
            HookEvent::Takeover,
            variables,
        )
        .await;
        assert_eq!((ended.status, ended.message.as_str()), (Some(0), "ok"));
    }

    #[tokio::test]
    async fn reports_failure_and_absence() {
        let failing = hook("exit 3", Duration::from_secs(20));
        assert_eq!(
            run(&failing, HookEvent::Takeover, vec![]).await.status,
            Some(3)
        );
        let absent = Hook {
            program: PathBuf::from("/nonexistent/hook"),
            ..failing
        };
        let ended = run(&absent, HookEvent::Takeover, vec![]).await;
        assert!(ended.status.is_none() && ended.message.contains("could not start"));
    }

    #[tokio::test]
    async fn a_hanging_hook_is_killed_with_its_children() {
        let file = std::env::temp_dir().join(format!("heartbeat-hook-{}", std::process::id()));
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let ended = run(
            &hook(&script, Duration::from_millis(500)),
            HookEvent::Takeover,
            vec![],
        )
        .await;
        assert!(ended.message.contains("timeout"), "{}", ended.message);
        let child: i32 = std::fs::read_to_string(&file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        std::fs::remove_file(file).unwrap();
        let gone = || match std::fs::read_to_string(format!("/proc/{child}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the hook's child {child} still runs");
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_says_so() {
        let (sender, mut ended) = mpsc::unbounded_channel();
        let hooks = Hooks::start(&[hook("sleep 60", Duration::from_secs(60))], sender);
        for _ in 0..QUEUE + 2 {
            hooks.fire(HookEvent::Takeover, &vec![]);
        }
        let first = ended.recv().await.unwrap();
        assert!(first.message.contains("dropped"), "{}", first.message);
        hooks.fire(HookEvent::PeerUp, &vec![]);
    }
}
