//! The cost of the programs for the running kernel's verifier, against
//! `docs/reference/verifier-cost.md`.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context as _, Result, ensure};
use aya::{Ebpf, programs::Program};
use heartbeat_tests::{kernel, needs};

/// The increase of a figure, in percent, that is accepted without a change of the table.
const MARGIN: u64 = 20;
/// The sign for a figure that was not measured.
const NOT_MEASURED: &str = "–";
/// The table is compiled in, since the test also runs on machines without the sources.
const TABLE: &str = include_str!("../../../docs/reference/verifier-cost.md");

/// The major and the minor number of a kernel's release.
type Version = (u32, u32);

#[test]
fn each_program_costs_the_verifier_what_the_table_says() -> Result<()> {
    needs!(Kernel);
    let object = kernel::object()?;
    let mut ebpf = Ebpf::load_file(&object)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let written = column(TABLE, version(&release)?)?;
    let mut measured = String::new();
    let mut dear = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let cost = u64::from(cost(program).with_context(|| format!("loading {name}"))?);
        let known = *written
            .get(name)
            .with_context(|| format!("docs/reference/verifier-cost.md has no program {name}"))?;
        let said = known.map_or(NOT_MEASURED.to_owned(), |known| known.to_string());
        writeln!(measured, "| {name} | {cost} | (written down: {said})")?;
        if known.is_some_and(|known| cost * 100 > known * (100 + MARGIN)) {
            dear.push(name.to_owned());
        }
    }
    println!("Linux {release}{measured}");
    ensure!(
        dear.is_empty(),
        "{} cost the verifier of Linux {release} more than {MARGIN} % above the figures in \
         docs/reference/verifier-cost.md; if that is meant, write there:\n{measured}",
        dear.join(", ")
    );
    Ok(())
}

fn cost(program: &mut Program) -> Result<u32> {
    let info = match program {
        Program::Xdp(program) => program.load().and_then(|()| program.info()),
        Program::SchedClassifier(program) => program.load().and_then(|()| program.info()),
        Program::RawTracePoint(program) => program.load().and_then(|()| program.info()),
        Program::CgroupSkb(program) => program.load().and_then(|()| program.info()),
        other => anyhow::bail!("an unexpected kind of program: {other:?}"),
    }?;
    info.verified_instruction_count()
        .context("the kernel does not tell (Linux 5.16 does)")
}

/// The figures of the programs for `version`, or for the latest kernel before it, else for the
/// first. `None` stands for a figure that was not measured.
fn column(table: &str, version: Version) -> Result<BTreeMap<&str, Option<u64>>> {
    let mut rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect::<Vec<_>>());
    let head = rows
        .next()
        .context("no table in docs/reference/verifier-cost.md")?;
    let kernels = head[1..].iter().map(|release| self::version(release));
    let kernels: Vec<Version> = kernels.collect::<Result<_>>()?;
    let place = 1 + kernels
        .iter()
        .rposition(|kernel| *kernel <= version)
        .unwrap_or(0);
    rows.filter(|row| row.len() == head.len() && row[0] != "---")
        .map(|row| match row[place] {
            NOT_MEASURED => Ok((row[0], None)),
            figure => Ok((row[0], Some(figure.parse()?))),
        })
        .collect()
}

fn version(release: &str) -> Result<Version> {
    let mut numbers = release.trim().split(|c: char| !c.is_ascii_digit());
    let mut number = || Ok::<_, anyhow::Error>(numbers.next().context("cut")?.parse()?);
    let version = number().and_then(|major| Ok((major, number()?)));
    version.with_context(|| format!("{release:?} is no kernel's release"))
}

#[test]
fn kernel_without_a_column_is_held_to_the_column_before() {
    let table = "text\n\n| program | 6.1 | 6.12 |\n| --- | --- | --- |\n| a | 10 | 20 |\n\
                 | c | – | 7 |\n\n| b |";
    for (release, expected) in [
        ("5.15.0", 10),
        ("6.1.0-56-cloud", 10),
        ("6.9.1", 10),
        ("7.0", 20),
    ] {
        let found = column(table, version(release).unwrap()).unwrap();
        assert_eq!(found["a"], Some(expected), "{release}");
        let measured = found["c"].is_some();
        assert_eq!(measured, expected == 20, "{release}");
    }
}
