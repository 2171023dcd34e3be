//! The command line, as data.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::mutants::Shard;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set up, build, run, test and lint heartbeat"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Find a BPF toolchain, or install one; the other commands do this by themselves
    Setup {
        /// Also install the programs for the tests and the demo: ip, bpftool, scapy; resource
        /// agents, apache2, curl, systemd, D-Bus
        #[arg(long)]
        test: bool,
        /// Also download QEMU and kernels for `test --vm`
        #[arg(long)]
        vm: bool,
    },
    /// Build the kernel programs and the `heartbeat` binary
    Build {
        /// Build the binary without optimisation; the kernel programs are always optimised
        #[arg(long, conflicts_with = "release")]
        debug: bool,
        /// Build the binary with optimisation (the default)
        #[arg(long)]
        release: bool,
    },
    /// Build, then load the responder alone: this host answers heartbeats without an agent
    Load {
        /// Make this host a witness, without a configuration: runs `heartbeat witness`
        #[arg(long)]
        witness: bool,
        /// Interface whose heartbeats to answer
        #[arg(long, required_unless_present = "witness")]
        iface: Option<String>,
        /// How to attach the XDP program
        #[arg(long, value_enum)]
        mode: Option<Mode>,
        /// Further arguments of `heartbeat load`, or of `heartbeat witness`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build, then remove what `load` loaded
    Unload {
        /// Arguments of `heartbeat unload`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build, then run the agent as root
    Run {
        /// Arguments of `heartbeat run`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build, then show a failover of three nodes in network namespaces
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments of the demo; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build, then run random faults against a cluster in network namespaces, for minutes
    #[command(disable_help_flag = true)]
    Soak {
        /// Arguments of the soak; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build, then run a benchmark
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the benchmark; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build, then run all tests: units as the user, those of package heartbeat-tests as root
    Test(TestOptions),
    /// Run the fuzz targets in `fuzz/` on everything that reads foreign input
    Fuzz(FuzzOptions),
    /// Change the pure crates in small ways, and show the changes that no test notices. Results are
    /// kept in `target/mutants`: a run that is interrupted goes on where it ended
    Mutants(MutantsOptions),
    /// Build, then make a .deb and an .rpm named heartbeat-xdp below `target/package`
    Package(PackageOptions),
    /// Show the promises of docs/design/guarantees.md with the number of their tests, and fail if a
    /// test or a figure that it names is gone
    Guarantees,
    /// Check the structure of the sources and their formatting, and run clippy on the user crates,
    /// the kernel programs and the fuzz targets
    Lint,
}

#[derive(Args, Debug)]
pub(crate) struct FuzzOptions {
    /// Duration of each target in seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Run one target on this input instead, and show the result
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    pub replay: Option<PathBuf>,
    /// Targets to run; all by default
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct PackageOptions {
    /// Make only the .deb, unless --rpm is given too
    #[arg(long)]
    pub deb: bool,
    /// Make only the .rpm, unless --deb is given too
    #[arg(long)]
    pub rpm: bool,
    /// Revision of the packages, the number behind the version
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub revision: u32,
    /// Test the .deb as root in a Debian system of its own below `target/package`: from the
    /// installation to a served address, an upgrade while a client asks each millisecond, removal
    #[arg(long, conflicts_with_all = ["deb", "rpm", "revision"])]
    pub test: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MutantsOptions {
    /// Run only part K of N of the mutants: for several machines
    #[arg(long, value_name = "K/N", value_parser = Shard::parse)]
    pub shard: Option<Shard>,
    /// Run the slow tests, too, on the survivors of the fast ones: model checker, simulation, and
    /// the tests of the crates above
    #[arg(long)]
    pub thorough: bool,
    /// Run only the mutants that survived an earlier run, after a change of the tests. Results of
    /// the other mutants stay, though the tests have changed
    #[arg(long)]
    pub survivors: bool,
    /// Run nothing, and show the results so far
    #[arg(long, conflicts_with_all = ["thorough", "survivors"])]
    pub report: bool,
    /// Files and directories to change, from the root of the tree; all of the crates common, core,
    /// config, control and import by default
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct TestOptions {
    /// Fail if a test was skipped; so does the environment variable CI=true
    #[arg(long)]
    pub skip_is_failure: bool,
    /// Run the optimised binary in the tests of package heartbeat-tests and on virtual machines,
    /// for measurements. The default is the binary with assertions and overflow checks
    #[arg(long)]
    pub release: bool,
    /// Run random and long-lasting tests for longer: about two hours
    #[arg(long)]
    pub long: bool,
    /// Run the tests that must pass on every kernel instead, under Linux 6.1 and 6.12 in QEMU
    #[arg(long, conflicts_with_all = ["package", "release", "long", "sim_seeds", "lease_runs", "starve_secs", "frames", "args"])]
    pub vm: bool,
    /// Run stories on a cluster of three virtual machines instead, with Linux 6.1 and 6.12. ARGS
    /// are parts of the stories' names, or options of the program; `--list` shows the names
    #[arg(long, conflicts_with_all = ["vm", "package", "long", "sim_seeds", "lease_runs", "starve_secs", "frames"])]
    pub vm_cluster: bool,
    /// With --vm-cluster: only the stories of the short form
    #[arg(long, requires = "vm_cluster")]
    pub short: bool,
    /// With --vm-cluster: upgrade from the agent of this commit or tag, node by node
    #[arg(long, requires = "vm_cluster", value_name = "COMMIT")]
    pub from: Option<String>,
    /// Test only this package; may be repeated
    #[arg(long, short, value_name = "NAME")]
    pub package: Vec<String>,
    /// Number of simulated clusters of each kind, instead of the default few
    #[arg(long, value_name = "N")]
    pub sim_seeds: Option<u64>,
    /// Number of repetitions of each fault in the lease tests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub lease_runs: Option<u32>,
    /// Seconds for which some tests starve the machine
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub starve_secs: Option<u32>,
    /// Number of random frames for the kernel programs and for the functions that they wrap
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub frames: Option<u32>,
    /// Arguments of the test programs: a filter, `--exact`, `--nocapture`, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Native if the driver supports it, otherwise skb
    Auto,
    /// In the driver
    Native,
    /// In the network stack, for drivers without XDP
    Skb,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Task {
        Cli::try_parse_from(line.split(' '))
            .expect("a valid command line")
            .task
    }

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn load_passes_further_arguments_on() {
        let Task::Load {
            witness,
            iface,
            mode,
            args,
        } = parse("xtask load --iface eth0 --mode skb --config a.toml -v")
        else {
            panic!("not a load");
        };
        assert_eq!((witness, iface.as_deref()), (false, Some("eth0")));
        assert_eq!(mode, Some(Mode::Skb));
        assert_eq!(args, ["--config", "a.toml", "-v"]);
        let said = Cli::try_parse_from(["xtask", "load"]).unwrap_err();
        assert!(said.to_string().contains("--iface <IFACE>"), "{said}");
    }

    #[test]
    fn witness_takes_its_flags_in_any_order() {
        let flags = |line: &str| {
            let Task::Load {
                witness,
                iface,
                args,
                ..
            } = parse(line)
            else {
                panic!("not a load");
            };
            assert!(witness, "{line}");
            (iface, args)
        };
        let (iface, args) = flags("xtask load --witness --iface eth0 --cluster web --id 3");
        assert_eq!(iface.as_deref(), Some("eth0"));
        assert_eq!(args, ["--cluster", "web", "--id", "3"]);
        let (iface, args) = flags("xtask load --witness --cluster web --iface eth0");
        assert_eq!(iface, None);
        assert_eq!(args, ["--cluster", "web", "--iface", "eth0"]);
    }

    #[test]
    fn package_takes_kinds_or_a_test() {
        let Task::Package(options) = parse("xtask package --deb --revision 2") else {
            panic!("not a package")
        };
        assert!(options.deb && !options.rpm && !options.test);
        assert_eq!(options.revision, 2);
        assert!(Cli::try_parse_from(["xtask", "package", "--test", "--rpm"]).is_err());
    }

    #[test]
    fn mutants_take_a_shard_and_paths() {
        let Task::Mutants(options) = parse("xtask mutants --shard 2/4 --thorough crates/core")
        else {
            panic!("not mutants")
        };
        assert_eq!(options.shard, Shard::parse("2/4").ok());
        assert!(options.thorough && !options.survivors && !options.report);
        assert_eq!(options.paths, [PathBuf::from("crates/core")]);
        let refused = Cli::try_parse_from(["xtask", "mutants", "--shard", "5/4"]).unwrap_err();
        assert!(
            refused.to_string().contains("K is a number from 1 to N"),
            "{refused}"
        );
    }

    #[test]
    fn run_demo_and_test_pass_options_on() {
        let Task::Run { args } = parse("xtask run -- --config a.toml") else {
            panic!("not a run")
        };
        assert_eq!(args, ["--config", "a.toml"]);
        let Task::Demo { args } = parse("xtask demo --runs 20 --json --help") else {
            panic!("not a demo")
        };
        assert_eq!(args, ["--runs", "20", "--json", "--help"]);
        let Task::Test(options) = parse(
            "xtask test --skip-is-failure --lease-runs 20 --sim-seeds 500 -p xtask tally --exact",
        ) else {
            panic!("not a test")
        };
        assert!(options.skip_is_failure);
        assert_eq!((options.lease_runs, options.starve_secs), (Some(20), None));
        assert_eq!(options.sim_seeds, Some(500));
        assert_eq!(options.package, ["xtask"]);
        assert_eq!(options.args, ["tally", "--exact"]);
    }

    #[test]
    fn stories_of_the_virtual_cluster_are_passed_on() {
        let Task::Test(options) =
            parse("xtask test --vm-cluster --short --from HEAD~1 owner_power_off --keep")
        else {
            panic!("not a test")
        };
        assert!(options.vm_cluster && options.short && !options.vm);
        assert_eq!(options.from.as_deref(), Some("HEAD~1"));
        assert_eq!(options.args, ["owner_power_off", "--keep"]);
        assert!(Cli::try_parse_from(["xtask", "test", "--short"]).is_err());
    }
}
