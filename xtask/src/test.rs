//! `cargo xtask test`: the crates' own tests as the user, then package `heartbeat-tests` as root.
//!
//! Standard output carries the output of the test programs, and ends with a line `N passed, N
//! failed`.

use std::{
    env,
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    cargo::{self, Profile, Program},
    cli::TestOptions,
    haproxy,
    launch::Built,
    modules::{self, Module},
    objects, promtool, root,
    setup::{self, Verbosity},
    tally::Tally,
    vm,
    workspace::Workspace,
};

/// The package whose tests need root, and an otherwise idle machine: they measure time.
const RIG: &str = "heartbeat-tests";
const RIG_DIRECTORY: &str = "tests";
/// The modules of the package that load the machine, or need better timing than parallel modules
/// allow.
const ALONE: [&str; 18] = [
    "kernel::differential",
    "kernel::timer",
    "limits::real_time_hogs",
    "limits::soak",
    "resources::apache",
    "resources::misbehaving_agents",
    "resources::placement",
    "restart::graceful_restart",
    "security::floods",
    "security::hostile_claims",
    "security::hostile_frames",
    "security::keys",
    "takeover::detection",
    "takeover::next_in_rank",
    "takeover::owner_fails",
    "takeover::planned_move",
    "takeover::slow_links",
    "takeover::unfit_nodes",
];
/// The program whose tests run kernel programs by `BPF_PROG_TEST_RUN`, or load them.
const KERNEL: &str = "kernel";
/// Number of parallel modules. The modules other than [`ALONE`] mostly wait.
const LANES: usize = 2;
/// The package whose tests run resource agents.
const AGENT: &str = "heartbeat-user";
const BINARY: &str = "heartbeat";

pub(crate) fn run(workspace: &Workspace, options: &TestOptions) -> Result<ExitCode> {
    let selected = |wanted: fn(&str) -> bool| {
        options.package.is_empty() || options.package.iter().any(|name| wanted(name))
    };
    let strict = options.skip_is_failure || env::var("CI").is_ok_and(|value| value == "true");
    if options.vm {
        return summarise(vm::test(workspace)?, strict);
    }
    if options.vm_cluster {
        let cluster = vm::ClusterOptions {
            short: options.short,
            profile: match options.release {
                true => Profile::Release,
                false => Profile::Debug,
            },
            from: options.from.as_deref(),
            args: &options.args,
        };
        let mut command = vm::cluster(workspace, cluster)?;
        return summarise(watch(&mut command, io::stdout(), io::stderr())?, strict);
    }
    if selected(|name| [AGENT, RIG].contains(&name)) {
        setup::resource_tools(Verbosity::Changes)?;
    }
    // The agent embeds the object, and its tests read it.
    let objects = objects::build(workspace)?;
    let programs = compile(workspace, options)?;
    let (rig, others): (Vec<_>, Vec<_>) = programs
        .iter()
        .filter(|program| program.is_test)
        .partition(|program| program.directory().ends_with(RIG_DIRECTORY));
    let mut tally = Tally::default();
    let mut spent = Vec::new();
    spent.push(Subject::Logic.timed(|| {
        for program in others {
            tally += as_user(options, program)?;
        }
        Ok(())
    })?);
    if selected(|name| name == RIG) {
        setup::rig_tools(Verbosity::Changes)?;
        let heartbeat = agent(workspace, options, &programs)?;
        let built = Built { objects, heartbeat };
        let mut environment = built.environment().to_vec();
        environment.push(haproxy::variable(workspace, Verbosity::Changes)?);
        environment.push(promtool::variable(workspace, Verbosity::Changes)?);
        let (kernel, namespaces): (Vec<_>, Vec<_>) =
            rig.into_iter().partition(|program| program.name == KERNEL);
        for (subject, programs) in [(Subject::Kernel, kernel), (Subject::Namespaces, namespaces)] {
            spent.push(subject.timed(|| {
                tally += as_root(options, &programs, &environment)?;
                Ok(())
            })?);
        }
    }
    if options.args.is_empty() && !options.long {
        tally.failed += budgets(&spent);
    }
    summarise(tally, strict)
}

/// The subject of tests. Each subject has a budget, so that all tests together stay short enough
/// for frequent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// Units, the model checker, the simulation: all tests without root.
    Logic,
    /// The kernel programs alone, and the agent on the running kernel.
    Kernel,
    /// Clusters in namespaces.
    Namespaces,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Logic => "units, model and simulation",
            Self::Kernel => "kernel programs",
            Self::Namespaces => "namespaces",
        }
    }

    /// The limit of the tests' duration on two CPUs, without compilation.
    fn budget(self) -> Duration {
        let minutes = match self {
            Self::Logic => 8,
            Self::Kernel => 4,
            Self::Namespaces => 15,
        };
        Duration::from_secs(60 * minutes)
    }

    fn timed(self, run: impl FnOnce() -> Result<()>) -> Result<(Self, Duration)> {
        let began = Instant::now();
        run()?;
        Ok((self, began.elapsed()))
    }
}

/// Reports the share of each budget that was used. Returns the number of subjects that took more
/// than twice their budget, which a busy machine does not explain.
fn budgets(spent: &[(Subject, Duration)]) -> u64 {
    let minutes = |time: Duration| time.as_secs_f64() / 60.0;
    let mut broken = 0;
    for &(subject, took) in spent {
        let budget = subject.budget();
        let verdict = if took > 2 * budget {
            broken += 1;
            "which counts as failed"
        } else if took > budget {
            "OVER: shorten it, or move what is long behind --long"
        } else {
            "kept"
        };
        eprintln!(
            "budget of {}: {:.1} of {:.0} minutes, {verdict}",
            subject.name(),
            minutes(took),
            minutes(budget)
        );
    }
    broken
}

/// Builds the test programs, and the plain ones of their packages. Without a named package, one
/// call of cargo builds everything: cargo compiles dependencies again for each selection of
/// packages with other features.
fn compile(workspace: &Workspace, options: &TestOptions) -> Result<Vec<Program>> {
    let mut compile = cargo::command(workspace);
    compile.args(["test", "--no-run"]);
    if options.package.is_empty() {
        compile.arg("--workspace");
    }
    for package in &options.package {
        compile.args(["--package", package]);
    }
    let mut programs = cargo::build(&mut compile)?;
    programs.sort_by(|one, other| (&one.manifest, &one.name).cmp(&(&other.manifest, &other.name)));
    Ok(programs)
}

/// The `heartbeat` that package `heartbeat-tests` tests.
fn agent(workspace: &Workspace, options: &TestOptions, programs: &[Program]) -> Result<PathBuf> {
    if options.release {
        return cargo::build_program(workspace, AGENT, BINARY, Profile::Release);
    }
    let mut plain = programs.iter().filter(|program| !program.is_test);
    match plain.find(|program| program.name == BINARY) {
        Some(program) => Ok(program.path.clone()),
        None => cargo::build_program(workspace, AGENT, BINARY, Profile::Debug),
    }
}

fn summarise(mut tally: Tally, strict: bool) -> Result<ExitCode> {
    if !tally.skipped.is_empty() {
        let verdict = if strict {
            "which counts as failed"
        } else {
            "counted as passed"
        };
        eprintln!("\n{} skipped, {verdict}:", tally.skipped.len());
        for reason in &tally.skipped {
            eprintln!("  {reason}");
        }
        if strict {
            tally.fail_skipped();
        }
    }
    let Tally { passed, failed, .. } = tally;
    writeln!(io::stdout(), "{passed} passed, {failed} failed")?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn as_user(options: &TestOptions, program: &Program) -> Result<Tally> {
    let directory = program.directory();
    let mut test = Command::new(&program.path);
    test.current_dir(directory)
        .env("CARGO_MANIFEST_DIR", directory)
        .env_remove("HEARTBEAT_BPF_OBJECT")
        .args(&options.args);
    if let Some(seeds) = options.sim_seeds.or(options.long.then_some(LONG_SEEDS)) {
        test.env("HEARTBEAT_SIM_SEEDS", seeds.to_string());
    }
    eprintln!("\n{}: {}", directory.display(), program.name);
    let began = Instant::now();
    let tally = watch(&mut test, io::stdout(), io::stderr())?;
    eprintln!("{} took {:.0?}", program.name, began.elapsed());
    Ok(tally)
}

/// Runs the modules of `programs` as root; `environment` has the paths for the tests.
fn as_root(
    options: &TestOptions,
    programs: &[&Program],
    environment: &[(&'static str, OsString)],
) -> Result<Tally> {
    let command = |module: &Module<'_>| -> Result<Command> {
        let directory = module.program.directory();
        let mut environment = environment.to_vec();
        environment.push(("CARGO_MANIFEST_DIR", directory.into()));
        environment.extend(lengths(options));
        let mut test = root::command(&module.program.path, &environment)?;
        test.current_dir(directory)
            .arg("--test-threads=1")
            .args(module.args(&options.args));
        Ok(test)
    };
    let mut all = Vec::new();
    for program in programs {
        all.extend(modules::list(program, &options.args)?);
    }
    let (alone, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|module| ALONE.contains(&module.name.as_str()));
    let mut total = side_by_side(&others, &command)?;
    for module in &alone {
        eprintln!("\n{RIG}: {}", module.name);
        let began = Instant::now();
        total += watch(&mut command(module)?, io::stdout(), io::stderr())?;
        eprintln!("{RIG}: {} took {:.0?}", module.name, began.elapsed());
    }
    Ok(total)
}

/// Runs [`LANES`] of `modules` in parallel, and shows the output of each after its end.
fn side_by_side(
    modules: &[Module<'_>],
    command: &(impl Fn(&Module<'_>) -> Result<Command> + Sync),
) -> Result<Tally> {
    let left = Mutex::new(modules.iter());
    let shown = Mutex::new(Tally::default());
    let lane = || -> Result<()> {
        loop {
            let next = lock(&left).next();
            let Some(module) = next else {
                return Ok(());
            };
            let output = Output::default();
            let began = Instant::now();
            let tally = watch(&mut command(module)?, output.clone(), output.clone())?;
            let mut total = lock(&shown);
            eprintln!("\n{RIG}: {}, {:.0?}", module.name, began.elapsed());
            io::stdout().write_all(&lock(&output.0))?;
            *total += tally;
        }
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|lane| match lane.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(shown.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The output of a program on both of its streams.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Clusters of each kind that `--long` simulates.
const LONG_SEEDS: u64 = 1_000;

/// The lengths of the long tests that were set, by a flag of their own or by `--long`.
fn lengths(options: &TestOptions) -> impl Iterator<Item = (&'static str, OsString)> {
    let long = |length| options.long.then_some(length);
    [
        ("HEARTBEAT_LEASE_RUNS", options.lease_runs.or(long(20))),
        ("HEARTBEAT_STARVE_SECS", options.starve_secs.or(long(60))),
        ("HEARTBEAT_FUZZ_FRAMES", options.frames.or(long(1_000_000))),
        ("HEARTBEAT_SOAK_SECS", long(300)),
    ]
    .into_iter()
    .filter_map(|(name, length)| Some((name, length?.to_string().into())))
}

/// Runs test programs, and passes their output on.
fn watch(
    command: &mut Command,
    out: impl Write,
    err: impl Write + Send + 'static,
) -> Result<Tally> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not run {}", command.get_program().display()))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("a test program without its pipes");
    };
    let errors = thread::spawn(move || pass_on(stderr, err));
    let mut tally = pass_on(stdout, out)?;
    match errors.join() {
        Ok(errors) => tally += errors?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    count_crash(&mut tally, child.wait()?);
    Ok(tally)
}

/// Counts a program that dies as failed: it leaves no count, and must not look like one without
/// tests.
fn count_crash(tally: &mut Tally, status: ExitStatus) {
    if !status.success() && tally.failed == 0 {
        eprintln!("a test program ended without counting its failures ({status})");
        tally.failed += 1;
    }
}

fn pass_on(from: impl io::Read, mut to: impl Write) -> Result<Tally> {
    let mut from = BufReader::new(from);
    let mut tally = Tally::default();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? != 0 {
        tally.read(String::from_utf8_lossy(&line).trim_end_matches('\n'));
        to.write_all(&line)?;
        to.flush()?;
        line.clear();
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Prints nothing: the output of these scripts would look like results of our own tests.
    fn shell(script: &str) -> Tally {
        let mut command = Command::new("sh");
        watch(command.args(["-c", script]), io::sink(), io::sink()).expect("sh runs")
    }

    #[test]
    fn lengths_that_are_given_reach_the_tests() {
        let mut options = TestOptions {
            skip_is_failure: false,
            release: false,
            long: false,
            vm: false,
            vm_cluster: false,
            short: false,
            from: None,
            package: Vec::new(),
            sim_seeds: None,
            lease_runs: None,
            starve_secs: None,
            frames: None,
            args: Vec::new(),
        };
        assert_eq!(lengths(&options).count(), 0);
        options.lease_runs = Some(20);
        let given: Vec<_> = lengths(&options).collect();
        assert_eq!(given, [("HEARTBEAT_LEASE_RUNS", "20".into())]);
        options.long = true;
        options.lease_runs = Some(7);
        let given: Vec<_> = lengths(&options).collect();
        assert_eq!(given[0], ("HEARTBEAT_LEASE_RUNS", "7".into()));
        assert_eq!(given.len(), 4);
    }

    #[test]
    fn budget_that_is_doubled_counts_as_a_failure() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(budgets(&[]), 0);
        let spent = [
            (Subject::Logic, minutes(7)),
            (Subject::Kernel, minutes(8)),
            (Subject::Namespaces, minutes(31)),
        ];
        assert_eq!(budgets(&spent), 1);
    }

    /// No program runs documentation tests, since cargo would compile the crates once more for
    /// them.
    #[test]
    fn no_code_in_comments_looks_as_if_it_were_tested() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let crates = fs::read_dir(root.join("crates")).expect("the crates");
        let crates = crates.map(|package| package.expect("a crate").path());
        let others = ["heartbeat-user", "tests"].map(|package| root.join(package));
        for package in crates.chain(others) {
            for source in sources(&package.join("src")) {
                let text = fs::read_to_string(&source).expect("a source");
                let mut fences = text.lines().filter_map(|line| {
                    let line = line.trim_start();
                    let comment = line.strip_prefix("//!").or(line.strip_prefix("///"))?;
                    comment.trim_start().strip_prefix("```")
                });
                // Every second fence ends the block that the one before began.
                while let Some(language) = fences.next() {
                    assert_eq!(language, "text", "{}", source.display());
                    fences.next();
                }
            }
        }
    }

    fn sources(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).expect("a directory of sources");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => sources(&path),
                false => vec![path],
            })
            .collect()
    }

    /// A renamed module would run beside others unnoticed.
    #[test]
    fn modules_that_run_alone_exist() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        for name in ALONE {
            let path = tests.join(name.replace("::", "/"));
            assert!(
                path.is_dir() || path.with_extension("rs").is_file(),
                "{name}"
            );
        }
        assert!(tests.join(KERNEL).is_dir());
    }

    #[test]
    fn both_streams_are_read() {
        let tally =
            shell("echo 'SKIP a: why' >&2; echo 'test result: ok. 2 passed; 0 failed; 0 ignored'");
        assert_eq!(
            tally,
            Tally {
                passed: 2,
                failed: 0,
                skipped: vec!["a: why".into()]
            }
        );
    }

    #[test]
    fn crash_is_one_failure_and_a_counted_failure_is_not_counted_twice() {
        assert_eq!(shell("echo 'running 3 tests'; kill -SEGV $$").failed, 1);
        let counted = "echo 'test result: FAILED. 0 passed; 3 failed; 0 ignored'; exit 101";
        assert_eq!(shell(counted).failed, 3);
    }
}
