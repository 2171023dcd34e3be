//! Checks of disks: a good one, a missing one, and one that hangs.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use heartbeat_common::wire::Health;
use heartbeat_user::{
    config::{HealthCheck, HealthKind, Meaning},
    health::State,
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::Uid,
};

use tokio::sync::Mutex;

use crate::support::{Node, PATIENCE, SHORT, Scratch, check, eventually, skip};

const MEGABYTE: u64 = 1 << 20;

/// Lets one test run at a time, since the tests count threads.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn directory_passes_while_writable_and_stays_empty() {
    let _turn = TURN.lock().await;
    let scratch = Scratch::new();
    let directory = scratch.path("data");
    fs::create_dir(&directory).unwrap();
    let mut node = Node::new(&[check(HealthKind::Disk(directory.clone()))]);
    node.is(State::Well).await;
    // The rename affects only the path: a file being written stays where it is.
    fs::rename(&directory, scratch.path("elsewhere")).unwrap();
    let turn = node.turns(false).await;
    assert!(
        turn.message.contains("data/.heartbeat-health-here"),
        "{turn:?}"
    );
    fs::rename(scratch.path("elsewhere"), &directory).unwrap();
    node.turns(true).await;
    drop(node);
    eventually("nothing is left", || {
        (fs::read_dir(&directory).unwrap().count() == 0).then_some(())
    })
    .await;
}

/// Counts the threads of this process that write to disks.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name == "health-disk\n").count()
}

/// A file system on a loop device, mounted for the calling thread and the threads that it starts.
struct Volume {
    scratch: Scratch,
    /// Thaws the file system when its input is closed, also by the kernel after a kill of this
    /// process.
    thaw: Option<Child>,
}

impl Volume {
    /// Must be called by a thread of its own, which gets a mount namespace.
    fn new() -> Result<Self, String> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)
            .map_err(|errno| format!("cannot make a mount namespace: {errno}"))?;
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .map_err(|errno| format!("cannot keep mounts to itself: {errno}"))?;
        let scratch = Scratch::new();
        let (image, directory) = (scratch.path("image"), scratch.path("disk"));
        fs::create_dir(&directory).unwrap();
        File::create(&image)
            .unwrap()
            .set_len(16 * MEGABYTE)
            .unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        // The device is released with the mount.
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&directory))?;
        Ok(Self {
            scratch,
            thaw: None,
        })
    }

    fn directory(&self) -> std::path::PathBuf {
        self.scratch.path("disk")
    }

    fn freeze(&mut self) {
        let thaw = Command::new("sh")
            .args(["-c", "read -r line; exec fsfreeze -u \"$0\""])
            .arg(self.directory())
            .stdin(Stdio::piped())
            .spawn();
        self.thaw = Some(thaw.unwrap());
        run(Command::new("fsfreeze").arg("-f").arg(self.directory())).unwrap();
    }

    fn thaw(&mut self) {
        if let Some(mut thaw) = self.thaw.take() {
            drop(thaw.stdin.take());
            let _ = thaw.wait();
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.thaw();
        // A thread that wrote to it may still have it open.
        let until = Instant::now() + PATIENCE;
        while umount2(&self.directory(), MntFlags::empty()).is_err() && Instant::now() < until {
            thread::sleep(SHORT);
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = command.get_program().display().to_string();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{shown}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

#[test]
fn hanging_disk_fails_and_blocks_one_thread() {
    let test = "hanging_disk_fails_and_blocks_one_thread";
    if !Uid::effective().is_root() {
        return skip(test, "needs root");
    }
    // The join also follows a panic, so that the device is gone when the test ends.
    let played = thread::spawn(|| {
        let mut volume = Volume::new()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(hang(&mut volume));
        Ok::<_, String>(())
    });
    if let Err(reason) = played.join().unwrap() {
        skip(test, &reason);
    }
}

async fn hang(volume: &mut Volume) {
    let _turn = TURN.lock().await;
    eventually("no other test's thread", || (threads() == 0).then_some(())).await;
    let disk = HealthCheck {
        timeout: Duration::from_secs(1),
        rise: 2,
        ..check(HealthKind::Disk(volume.directory()))
    };
    let other = HealthCheck {
        name: "other".to_owned(),
        ..check(HealthKind::Exec(vec!["/bin/false".to_owned()]))
    };
    let mut node = Node::new(std::slice::from_ref(&disk));
    node.is(State::Well).await;
    assert_eq!(threads(), 1);
    volume.freeze();
    let turn = node.turns(false).await;
    assert!(turn.message.contains("longer than 1s"), "{turn:?}");
    eventually("it goes on hanging", || {
        node.status().message.contains("hangs since").then_some(())
    })
    .await;
    assert_eq!(threads(), 1, "never more than one");

    // The other checks continue, and so do later ones.
    let changed = HealthCheck {
        meaning: Meaning::Degraded,
        timeout: Duration::from_millis(100),
        ..disk
    };
    node.checks.replace(&[changed, other]);
    assert_eq!(node.turns(false).await.name, "other");
    assert_eq!(node.health(), Health::of(0, false).and(Health::of(1, true)));
    assert_eq!(threads(), 1, "the thread that hangs is not given up");

    volume.thaw();
    let turn = node.turns(true).await;
    assert_eq!(turn.number, 0);
    drop(node);
    eventually("nothing is left", || {
        is_empty(&volume.directory()).then_some(())
    })
    .await;
}

fn is_empty(directory: &Path) -> bool {
    let names = fs::read_dir(directory).unwrap().flatten();
    names
        .filter(|entry| entry.file_name() != "lost+found")
        .count()
        == 0
}
