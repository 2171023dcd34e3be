//! The messages of commands to a user who may not run them.

use std::{
    env, fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    Cluster,
    e2e::{Program, SOON, shortcuts::options},
    needs,
    workdir::WorkDir,
};

use nix::unistd::{Gid, Group};

/// A user other than root.
const OTHER: u32 = 65_534;

/// Files for root alone, `private`, and files for all users.
struct Files {
    dir: WorkDir,
}

impl Files {
    fn new() -> Result<Self> {
        let files = Self {
            dir: WorkDir::new(false)?,
        };
        let binary = env::var_os("HEARTBEAT_BIN").context("HEARTBEAT_BIN is not set")?;
        fs::copy(binary, files.path("heartbeat"))?;
        let dir = files.dir.path().display();
        let nodes = (1..=3).map(|id| {
            format!("[[node]]\nname = \"n{id}\"\nid = {id}\naddresses = [\"192.0.2.{id}\"]\n")
        });
        let text = format!(
            "[cluster]\nname = \"web\"\nnode = \"n1\"\nkey = \"{dir}/key\"\n[paths]\n\
             run = \"{dir}/run\"\nstate = \"{dir}/state\"\n[[link]]\ninterface = \"lo\"\n{}",
            nodes.collect::<String>()
        );
        files.write("private.toml", &text, 0o600)?;
        files.write("public.toml", &text, 0o644)?;
        files.write("key", "1 000102030405060708090a0b0c0d0e0f\n", 0o600)?;
        files.allow("heartbeat", 0o755)?;
        files.allow("", 0o755)?;
        Ok(files)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn allow(&self, name: &str, mode: u32) -> Result<()> {
        let permissions = fs::Permissions::from_mode(mode);
        Ok(fs::set_permissions(self.path(name), permissions)?)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        fs::write(Path::new(&self.path(name)), text)?;
        self.allow(name, mode)
    }

    /// A command that runs as a user other than root.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("heartbeat"));
        command.args(arguments).uid(OTHER).gid(OTHER);
        command
    }
}

#[test]
fn command_of_a_user_without_rights_says_to_run_it_as_root() -> Result<()> {
    needs!(Cluster);
    let files = Files::new()?;
    let (private, public) = (files.path("private.toml"), files.path("public.toml"));
    let key = files.path("new-key");
    let witness =
        "witness --iface lo --key KEY --cluster web --id 3 --peer 1=192.0.2.1 --peer 2=192.0.2.2";
    let rows = [
        ("status", private.as_str()),
        ("events", &private),
        ("check", &private),
        ("reload", &private),
        ("stop", &private),
        ("standby", &private),
        ("run", &private),
        ("check", &public),
        ("run", &public),
        ("keygen --rotate", &public),
        ("load --iface lo", &public),
        ("unload", ""),
        (witness, ""),
    ];
    for (words, config) in rows {
        let words = words.replace("KEY", &files.path("key"));
        let mut arguments: Vec<&str> = words.split(' ').collect();
        if !config.is_empty() {
            arguments.extend(["--config", config]);
        }
        let ended = Program::run(None, files.command(&arguments), SOON)?;
        ended.refusal(&["as root"]).with_context(|| words.clone())?;
        for misleading in ["heartbeat keygen", "write it", "nothing is loaded"] {
            ensure!(!ended.err.contains(misleading), "{words}: {ended:#?}");
        }
    }
    let ended = Program::run(None, files.command(&["keygen", "--output", &key]), SOON)?;
    ended.refusal(&["as root"])
}

#[test]
fn group_of_control_may_read_and_change_nothing() -> Result<()> {
    needs!(Cluster);
    let readers = Group::from_gid(Gid::from_raw(OTHER))?.context("no group of this number")?;
    Cluster::run(options(), |cluster| {
        let a = cluster.node("a")?;
        let table = format!("[control]\ngroup = \"{}\"\n[paths]", readers.name);
        a.reconfigure("[paths]", &table)?;
        cluster.start_agents()?;
        cluster.wait_well(SOON, "a")?;
        let a = cluster.node("a")?;
        let socket = fs::metadata(a.control.socket())?;
        ensure!((socket.mode() & 0o7777, socket.uid(), socket.gid()) == (0o660, 0, OTHER));

        // The rig's directories are root's.
        let program = cluster.dir().join("heartbeat");
        let binary = env::var_os("HEARTBEAT_BIN").context("HEARTBEAT_BIN is not set")?;
        fs::copy(binary, &program)?;
        for path in [cluster.dir(), a.dir(), &a.dir().join("run"), &program] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        fs::set_permissions(a.config(), fs::Permissions::from_mode(0o644))?;
        let run = |group: u32, arguments: &[&str]| {
            let mut command = Command::new(&program);
            command.args(arguments).arg("--config").arg(a.config());
            command.uid(OTHER).gid(group);
            Program::run(None, command, SOON)
        };
        for arguments in [
            ["status", "--json"],
            ["events", "--json"],
            ["explain", "service"],
        ] {
            run(OTHER, &arguments)?.success()?;
        }
        for arguments in [["standby", "a"].as_slice(), &["stop"], &["reload"]] {
            run(OTHER, arguments)?.refusal(&["is for root"])?;
        }
        run(OTHER - 1, &["status"])?.refusal(&["only root may connect", "[control]"])?;
        ensure!(a.control.status()?.state == "active");
        ensure!(a.logged()?.contains("refused a command from uid 65534"));
        Ok(())
    })
}
