//! Runs the configured commands on events.
//!
//! Each hook has a queue and a task of its own. Its events run one after the other, in order, and a
//! hanging hook delays neither other hooks nor the agent. `docs/operate/hooks.md` documents the
//! environment.

mod alert;

use std::{
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use crate::{
    config::{Hook, HookEvent},
    helper,
    process::{self, Program, SAFE_PATH, Setting},
};

/// The number of events that may wait for one hook. Further events are dropped, and reported.
const QUEUE: usize = 64;

/// The variables of a hook, `HEARTBEAT_…`, beside `HEARTBEAT_EVENT`.
pub type Variables = Vec<(&'static str, String)>;

/// The result of one run of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub on: HookEvent,
    pub exec: String,
    /// Absent if the hook was killed or could not start.
    pub status: Option<i32>,
    pub message: String,
}

#[derive(Debug)]
pub struct Hooks {
    workers: Vec<Worker>,
    /// The number of events so far.
    fired: AtomicU64,
    ended: mpsc::UnboundedSender<Ended>,
}

/// An event that waits for a hook.
#[derive(Clone, Debug)]
struct Waiting {
    on: HookEvent,
    variables: Variables,
    /// The number of the event on this node: 1, 2, 3, ...
    sequence: u64,
}

/// One hook, its queue, and the task that empties it.
#[derive(Debug)]
struct Worker {
    hook: Arc<Hook>,
    queue: mpsc::Sender<Waiting>,
    task: JoinHandle<()>,
}

impl Hooks {
    /// Starts the hooks; each result goes to `ended`. Must be called inside a tokio runtime.
    pub fn start(hooks: &[Hook], ended: mpsc::UnboundedSender<Ended>) -> Self {
        let workers = hooks.iter().map(|hook| {
            let (queue, mut inbox) = mpsc::channel::<Waiting>(QUEUE);
            let (hook, ended) = (Arc::new(hook.clone()), ended.clone());
            let run_by = Arc::clone(&hook);
            let task = tokio::spawn(async move {
                while let Some(waiting) = inbox.recv().await {
                    let _ = ended.send(run(&run_by, waiting).await);
                }
            });
            Worker { hook, queue, task }
        });
        Self {
            workers: workers.collect(),
            fired: AtomicU64::new(0),
            ended: ended.clone(),
        }
    }

    /// Waits for queued and running hooks, for at most `patience`.
    pub async fn finish(self, patience: Duration) {
        let until = Instant::now() + patience;
        for Worker { queue, task, .. } in self.workers {
            drop(queue);
            // A hook that is still running ends with the runtime.
            let _ = tokio::time::timeout_at(until, task).await;
        }
    }

    /// Queues `on` for every hook that is configured for it. Never blocks.
    pub fn fire(&self, on: HookEvent, variables: &Variables) {
        let waiting = Waiting {
            on,
            variables: variables.clone(),
            sequence: self.fired.fetch_add(1, Relaxed) + 1,
        };
        let workers = self.workers.iter();
        let workers = workers.filter(|worker| worker.hook.on.contains(&on));
        for Worker { hook, queue, .. } in workers {
            if queue.try_send(waiting.clone()).is_err() {
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

async fn run(hook: &Hook, waiting: Waiting) -> Ended {
    let Waiting {
        on,
        variables,
        sequence,
    } = waiting;
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(SAFE_PATH));
    let mut environment = vec![
        ("PATH".into(), path),
        ("HEARTBEAT_EVENT".into(), on.as_str().into()),
    ];
    let alert = alert::variables(on, &variables, sequence).into_iter();
    environment.extend(alert.map(|(name, value)| (name.into(), value.into())));
    environment.extend(
        variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    let program = Program {
        path: hook.program.clone(),
        args: hook.args.clone(),
        environment,
        keep: 0,
        resource: None,
        setting: Setting::default(),
    };
    let (status, message) = match helper::run(&program, hook.timeout).await {
        Err(error) => (None, format!("could not start: {error}")),
        Ok(process::Ended { status: None, .. }) => {
            let limit = show(hook.timeout);
            (
                None,
                format!("killed: not done within its timeout of {limit}"),
            )
        }
        Ok(process::Ended {
            status: Some(status),
            ..
        }) => match status.code() {
            Some(0) => (Some(0), "ok".to_owned()),
            Some(code) => (Some(code), format!("exited with status {code}")),
            None => (None, status.to_string()),
        },
    };
    Ended {
        on,
        exec: exec(hook),
        status,
        message,
    }
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

    fn takeover(variables: Variables) -> Waiting {
        Waiting {
            on: HookEvent::Takeover,
            variables,
            sequence: 1,
        }
    }

    #[tokio::test]
    async fn hook_receives_only_its_variables() {
        let script = r#"test "$HEARTBEAT_EVENT/$HEARTBEAT_VIP" = takeover/web &&
            test "$CRM_alert_kind/$CRM_alert_rsc" = resource/web && test -z "$HOME""#;
        let variables = vec![("HEARTBEAT_VIP", "web".to_owned())];
        let ended = run(&hook(script, Duration::from_secs(20)), takeover(variables)).await;
        assert_eq!((ended.status, ended.message.as_str()), (Some(0), "ok"));
    }

    #[tokio::test]
    async fn reports_failure_and_absence() {
        let failing = hook("exit 3", Duration::from_secs(20));
        assert_eq!(run(&failing, takeover(vec![])).await.status, Some(3));
        let absent = Hook {
            program: PathBuf::from("/nonexistent/hook"),
            ..failing
        };
        let ended = run(&absent, takeover(vec![])).await;
        assert!(ended.status.is_none() && ended.message.contains("could not start"));
    }

    #[tokio::test]
    async fn hanging_hook_is_killed_with_its_children() {
        let file = std::env::temp_dir().join(format!("heartbeat-hook-{}", std::process::id()));
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let ended = run(&hook(&script, Duration::from_millis(500)), takeover(vec![])).await;
        assert!(ended.message.contains("timeout"), "{}", ended.message);
        let child: i32 = std::fs::read_to_string(&file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        std::fs::remove_file(file).unwrap();
        tokio::task::spawn_blocking(move || eventually(|| has_ended(child).then_some(())))
            .await
            .unwrap();
    }

    #[test]
    fn hook_does_not_outlive_the_agents_runtime() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let file = std::env::temp_dir().join(format!("heartbeat-outlive-{}", std::process::id()));
        let script = format!("echo $$ > {}; sleep 60", file.display());
        let (sender, _ended) = mpsc::unbounded_channel();
        let hooks = {
            let _inside = runtime.enter();
            Hooks::start(&[hook(&script, Duration::from_secs(60))], sender)
        };
        hooks.fire(HookEvent::Takeover, &vec![]);
        let pid = eventually(|| {
            std::fs::read_to_string(&file)
                .ok()?
                .trim()
                .parse::<i32>()
                .ok()
        });
        std::fs::remove_file(file).unwrap();
        drop(runtime);
        eventually(|| has_ended(pid).then_some(()));
    }

    fn has_ended(pid: i32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
            || !std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        let until = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            assert!(std::time::Instant::now() < until, "not within 10 s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[tokio::test]
    async fn full_queue_drops_and_reports_an_event() {
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
