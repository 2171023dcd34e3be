//! An Apache for each node: its files, its processes, and a watch that no two nodes run one at a
//! time.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_common::time::Boottime;
use nix::sys::signal::Signal;

use crate::{
    Cluster,
    node::Node,
    sandbox::{Sandbox, SandboxProcess, Watch},
    sys,
};

const PROGRAM: &str = "apache2";
/// The directories that each node has for itself.
const PLACES: [&str; 4] = ["/etc", "/run", "/var/log", "/srv"];
/// A configuration that Apache needs and its package lacks. The resource agent insists on
/// `/var/run`. The few processes include one for pages while another hangs.
const CONFIGURATION: &str = r#"
ServerRoot /etc/apache2
ServerName localhost
PidFile /var/run/apache2/apache2.pid
ErrorLog /var/log/apache2/error.log
Listen 80
User www-data
Group www-data
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_host_module /usr/lib/apache2/modules/mod_authz_host.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule status_module /usr/lib/apache2/modules/mod_status.so
StartServers 2
MinSpareServers 2
GracefulShutdownTimeout 1
DocumentRoot /srv
<Directory /srv>
    Require all granted
</Directory>
<Location /server-status>
    SetHandler server-status
    Require local
</Location>
"#;
/// A distribution that the resource agent does not know. On Debian it would run `apache2ctl`, whose
/// package starts an Apache on the host when it is installed.
const RELEASE: &str = "ID=rig\n";

/// The reason why a real Apache cannot run here.
pub fn missing() -> Option<&'static str> {
    [
        (
            "/usr/lib/ocf/resource.d/heartbeat/apache",
            "resource-agents is not installed",
        ),
        ("/usr/sbin/apache2", "apache2-bin is not installed"),
        ("/usr/bin/curl", "curl is not installed"),
        ("/usr/bin/unshare", "util-linux is not installed"),
    ]
    .into_iter()
    .find_map(|(path, reason)| (!Path::new(path).exists()).then_some(reason))
}

/// The Apache of a node.
impl Node {
    /// Gives the node a sandbox with the files of an Apache whose page is the node's name.
    pub fn furnish(&mut self) -> Result<()> {
        let root = self.own("");
        for place in PLACES {
            make(&self.own(place), 0o755)?;
        }
        let copied = Command::new("cp")
            .args(["-a", "/etc/."])
            .arg(self.own("/etc"))
            .status()?;
        ensure!(copied.success(), "cannot copy /etc for {}", self.name);
        let release = self.own("/etc/os-release");
        // The file is a link out of the node's own directories.
        fs::remove_file(&release)?;
        fs::write(release, RELEASE)?;
        make(&self.own("/etc/apache2"), 0o755)?;
        make(&self.own("/var/log/apache2"), 0o755)?;
        fs::write(self.apache_config(), CONFIGURATION)?;
        let page = format!("<html>\n{}\n", self.name);
        fs::write(self.own("/srv/index.html"), page)?;
        self.set_sandbox(Sandbox::new(&root, &PLACES)?);
        Ok(())
    }

    /// The path on the host of a file in the node's own directories.
    fn own(&self, path: &str) -> PathBuf {
        self.dir().join(format!("own{path}"))
    }

    pub fn apache_config(&self) -> PathBuf {
        self.own("/etc/apache2/apache2.conf")
    }

    /// All processes of its Apache.
    pub fn apache(&self) -> Result<Vec<SandboxProcess>> {
        self.sandbox()?.watch().running(PROGRAM)
    }

    /// The parent of all other Apache processes.
    pub fn apache_parent(&self) -> Result<SandboxProcess> {
        let all = self.apache()?;
        let parent = all
            .iter()
            .find(|one| all.iter().all(|other| other.pid != one.parent));
        let parent = parent.with_context(|| format!("no Apache on {}: {all:?}", self.name))?;
        Ok(*parent)
    }

    /// Sends `signal` to all of its Apache.
    pub fn signal_apache(&self, signal: Signal) -> Result<()> {
        let all = self.apache()?;
        ensure!(!all.is_empty(), "no Apache on {}", self.name);
        all.into_iter().try_for_each(|one| one.signal(signal))
    }
}

fn make(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

/// A watch that samples whether two nodes run an Apache at the same time.
#[derive(Debug)]
pub struct ApacheWatch {
    seen: Arc<Mutex<Vec<Boottime>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl ApacheWatch {
    const PERIOD: Duration = Duration::from_millis(25);

    pub fn start(cluster: &Cluster) -> Result<Self> {
        let nodes = cluster.nodes().iter();
        let nodes = nodes.filter_map(|node| node.sandbox().ok());
        let watches: Vec<Watch> = nodes.map(Sandbox::watch).collect();
        let (seen, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = thread::Builder::new().name("lookout".to_owned()).spawn({
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            move || poll(&watches, &seen, &stop)
        })?;
        Ok(Self {
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// Checks that no two nodes ran an Apache at the same time since `since`.
    pub fn never_two(&self, since: Boottime) -> Result<()> {
        let thread = self.thread.as_ref();
        ensure!(
            thread.is_some_and(|thread| !thread.is_finished()),
            "nobody looked"
        );
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let late: Vec<_> = seen.iter().filter(|at| **at >= since).collect();
        ensure!(late.is_empty(), "two nodes had an Apache at {late:?}");
        Ok(())
    }
}

impl Drop for ApacheWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn poll(watches: &[Watch], seen: &Mutex<Vec<Boottime>>, stop: &AtomicBool) -> Result<()> {
    let everywhere = || -> Result<Vec<Vec<SandboxProcess>>> {
        watches.iter().map(|watch| watch.running(PROGRAM)).collect()
    };
    while !stop.load(Ordering::Relaxed) {
        let first = everywhere()?;
        let having = |all: &[Vec<SandboxProcess>]| all.iter().filter(|one| !one.is_empty()).count();
        if having(&first) > 1 {
            // A process that ran before and after the sample of the others ran at the same time as
            // they.
            let mut still = everywhere()?;
            let between = sys::boottime();
            for (now, before) in still.iter_mut().zip(&first) {
                now.retain(|one| before.contains(one));
            }
            if having(&still) > 1 {
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(between);
            }
        }
        thread::sleep(ApacheWatch::PERIOD);
    }
    Ok(())
}
