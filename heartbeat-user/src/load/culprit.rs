//! Finds the real-time tasks of others that ran most when this agent got no processor.
//!
//! The search reads the times of all tasks of the host, which takes some milliseconds. It runs only
//! after a stall, and never on a task for which another waits.

use std::{
    collections::HashMap,
    fmt, fs, thread,
    time::{Duration, Instant},
};

/// Time between the two samples. While a real-time task runs on all processors this thread gets
/// none either, and the second sample comes later.
const APART: Duration = Duration::from_millis(300);
/// The kernel counts in 1/USER_HZ, which is 100 on all our platforms.
const TICK: Duration = Duration::from_millis(10);
/// Per cent of the time below which a task delays no other.
const LITTLE: u128 = 10;
/// Limit for the tasks in the report.
const NAMED: usize = 3;

/// Fields of `/proc/PID/task/TID/stat` after the name, from 0; proc_pid_stat(5) numbers them from
/// 3.
mod field {
    pub(super) const USER_TIME: usize = 14 - 3;
    pub(super) const SYSTEM_TIME: usize = 15 - 3;
    pub(super) const PRIORITY: usize = 40 - 3;
    pub(super) const POLICY: usize = 41 - 3;
}

/// A sample of a real-time task.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Task {
    name: String,
    policy: &'static str,
    priority: u32,
    /// Processor time since the task's start.
    ran: Duration,
}

/// A real-time task, and its share of the processor time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    name: String,
    pid: u32,
    policy: &'static str,
    priority: u32,
    per_cent: u128,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            pid,
            policy,
            priority,
            per_cent,
        } = self;
        write!(f, "{} (task {pid}, {policy}", name.escape_debug())?;
        if *priority > 0 {
            write!(f, " {priority}")?;
        }
        write!(f, ") ran for {per_cent} % of the time")
    }
}

/// Returns a list of the other processes' real-time tasks that take the processors now, or `None`.
/// Takes some hundred milliseconds.
pub fn find() -> Option<String> {
    let (began, before) = (Instant::now(), tasks());
    thread::sleep(APART);
    let after = tasks();
    let culprits = compare(&before, &after, began.elapsed());
    let words: Vec<_> = culprits.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Compares two samples and returns the tasks that ran most, the worst first.
fn compare(
    before: &HashMap<u32, Task>,
    after: &HashMap<u32, Task>,
    apart: Duration,
) -> Vec<Culprit> {
    let ran = |(pid, task): (&u32, &Task)| {
        let before = before.get(pid)?.ran;
        let ran = task.ran.saturating_sub(before);
        Some(Culprit {
            name: task.name.clone(),
            pid: *pid,
            policy: task.policy,
            priority: task.priority,
            per_cent: (ran.as_millis() * 100 / apart.as_millis().max(1)).min(100),
        })
    };
    let mut culprits: Vec<_> = after.iter().filter_map(ran).collect();
    culprits.retain(|culprit| culprit.per_cent >= LITTLE);
    culprits.sort_by_key(|culprit| (std::cmp::Reverse(culprit.per_cent), culprit.pid));
    culprits.truncate(NAMED);
    culprits
}

/// Returns the real-time tasks of all other processes, by their ids.
fn tasks() -> HashMap<u32, Task> {
    let own = std::process::id();
    let numbers = |path: &str| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
    };
    let mut tasks = HashMap::new();
    for pid in numbers("/proc").filter(|pid| *pid != own) {
        for tid in numbers(&format!("/proc/{pid}/task")) {
            // The task may have ended.
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"));
            if let Some(task) = stat.ok().as_deref().and_then(real_time) {
                tasks.insert(tid, task);
            }
        }
    }
    tasks
}

/// Parses the `stat` line of a task. Returns `None` unless the task is a real-time one.
fn real_time(stat: &str) -> Option<Task> {
    // The name is in parentheses, and may contain some itself.
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<_> = after.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let policy = match number(field::POLICY)? as i32 {
        libc::SCHED_FIFO => "SCHED_FIFO",
        libc::SCHED_RR => "SCHED_RR",
        libc::SCHED_DEADLINE => "SCHED_DEADLINE",
        _ => return None,
    };
    let ticks = number(field::USER_TIME)?.checked_add(number(field::SYSTEM_TIME)?)?;
    Some(Task {
        name: name.to_owned(),
        policy,
        priority: number(field::PRIORITY)? as u32,
        ran: TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a `stat` line as of a kernel, with the given fields.
    fn stat(name: &str, ticks: [u64; 2], priority: u32, policy: i32) -> String {
        let [user, system] = ticks;
        format!(
            "77 ({name}) R 1 77 77 0 -1 4194304 90 0 0 0 {user} {system} 0 0 -51 0 1 0 5000 \
             2375680 200 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 {priority} {policy} 0 0 \
             0\n"
        )
    }

    fn sample(tasks: &[(u32, &str)]) -> HashMap<u32, Task> {
        let task = |(pid, stat): &(u32, &str)| Some((*pid, real_time(stat)?));
        tasks.iter().filter_map(task).collect()
    }

    #[test]
    fn real_time_task_that_ran_most_is_named_first() {
        let before = [
            (1, &*stat("a) b (c", [100, 0], 50, libc::SCHED_FIFO)),
            (2, &*stat("tone", [7, 0], 99, libc::SCHED_RR)),
            (3, &*stat("idle", [900, 900], 1, libc::SCHED_FIFO)),
            (4, &*stat("build", [0, 0], 0, libc::SCHED_OTHER)),
        ];
        let after = [
            (1, &*stat("a) b (c", [160, 35], 50, libc::SCHED_FIFO)),
            (2, &*stat("tone", [57, 0], 99, libc::SCHED_RR)),
            (3, &*stat("idle", [900, 905], 1, libc::SCHED_FIFO)),
            (4, &*stat("build", [100, 0], 0, libc::SCHED_OTHER)),
            // The task is new in the second sample, so its running time is unknown.
            (5, &*stat("new", [50, 0], 0, libc::SCHED_DEADLINE)),
        ];
        let culprits = compare(&sample(&before), &sample(&after), Duration::from_secs(1));
        let said: Vec<_> = culprits.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "a) b (c (task 1, SCHED_FIFO 50) ran for 95 % of the time",
                "tone (task 2, SCHED_RR 99) ran for 50 % of the time",
            ]
        );
    }

    #[test]
    fn name_that_writes_to_a_terminal_is_escaped() {
        let before = [(1, &*stat("\u{1b}[31m", [0, 0], 50, libc::SCHED_FIFO))];
        let after = [(1, &*stat("\u{1b}[31m", [100, 0], 50, libc::SCHED_FIFO))];
        let culprits = compare(&sample(&before), &sample(&after), Duration::from_secs(1));
        assert!(culprits[0].to_string().starts_with("\\u{1b}[31m (task 1"));
    }

    #[test]
    fn tasks_of_this_host_can_be_read() {
        // Any tasks will do. The kernel's migration threads are real-time ones, but a container
        // does not show them.
        assert!(tasks().values().all(|task| !task.name.is_empty()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"(\d+ \()?(?s).{0,40}\)?( -?\d{0,20}){0,50}") {
            real_time(&text);
        }
    }
}
