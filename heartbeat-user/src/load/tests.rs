//! Tests of the meter as the agent uses it.

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, timeout};

use super::{Meter, Reading, Source, sampler::Sample, samples::Samples};
use crate::config::{Load, LoadSource};

const MS: Duration = Duration::from_millis(1);

fn meter(source: LoadSource, interval: Duration) -> Meter {
    Meter::new(Load {
        source,
        interval,
        half_life: Duration::ZERO,
        agent_check: None,
    })
}

fn shell(script: &str) -> LoadSource {
    LoadSource::Command(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

fn said(number: u16) -> Reading {
    Reading {
        load: number,
        raw: number,
        source: Source::Command,
        ..Reading::default()
    }
}

#[tokio::test]
async fn this_host_has_a_load() {
    let mut meter = meter(LoadSource::Host, 100 * MS);
    let reading = meter.next().await;
    // Without pressure stall information in the kernel the run queue is the source.
    if reading.source == Source::Host {
        let highest = reading.cpu_some.max(reading.memory_some);
        assert_eq!(reading.raw, highest.max(reading.io_some));
    }
    assert!(reading.load <= 1_000 && reading.load == reading.raw);
}

#[tokio::test]
async fn meter_without_pressure_uses_the_run_queue() {
    let mut meter = meter(LoadSource::Host, 60_000 * MS);
    meter
        .samples
        .at_once(tokio::spawn(async { Ok(Sample::Nowhere) }));
    assert_eq!(meter.next().await.source, Source::RunQueue);
    assert_eq!(meter.next().await.source, Source::RunQueue);
}

#[tokio::test]
async fn first_reading_comes_at_once_and_the_next_after_the_interval() {
    let mut meter = meter(LoadSource::RunQueue, 200 * MS);
    let began = Instant::now();
    assert_eq!(meter.next().await.source, Source::RunQueue);
    meter.next().await;
    meter.next().await;
    assert!(began.elapsed() >= 400 * MS);
}

#[tokio::test]
async fn missing_cgroup_gives_no_reading() {
    let nowhere = LoadSource::Cgroup(PathBuf::from("/nonexistent"));
    let mut meter = meter(nowhere, MS);
    // A load of 0 would mean a node with nothing to do.
    assert!(timeout(200 * MS, meter.next()).await.is_err());
    assert!(meter.failing);
}

#[tokio::test]
async fn command_output_is_the_load() {
    let mut meter = meter(shell("echo 250"), 5_000 * MS);
    assert_eq!(meter.next().await, said(250));
}

#[tokio::test]
async fn failing_command_keeps_the_last_load() {
    let flag = std::env::temp_dir().join(format!("heartbeat-load-{}", std::process::id()));
    for failure in [
        "echo 1001",
        "echo -1",
        "echo 1 2",
        "exit 1",
        "kill $$",
        "true",
    ] {
        let _ = std::fs::remove_file(&flag);
        let script = format!(
            "if [ -e {0} ]; then {failure}; else : > {0}; echo 700; fi",
            flag.display()
        );
        let mut meter = meter(shell(&script), 5_000 * MS);
        meter.samples = Samples::each(MS);
        assert_eq!(meter.next().await, said(700), "{failure}");
        assert!(!meter.failing);
        assert_eq!(meter.next().await, said(700), "{failure}");
        assert!(meter.failing, "{failure}");
        // A success after failures counts again.
        let _ = std::fs::remove_file(&flag);
        assert_eq!(meter.next().await, said(700), "{failure}");
        assert!(!meter.failing, "{failure}");
    }
    let _ = std::fs::remove_file(&flag);
}

#[tokio::test]
async fn hanging_command_is_killed_when_the_next_sample_is_due() {
    let mut meter = meter(shell("sleep 600"), 200 * MS);
    let begun = Instant::now();
    while !meter.failing && begun.elapsed() < Duration::from_secs(60) {
        assert!(timeout(200 * MS, meter.next()).await.is_err());
    }
    assert!(meter.failing);
}

#[tokio::test]
async fn dropped_sample_continues() {
    let mut meter = meter(shell("sleep 0.3; echo 9"), Duration::from_secs(60));
    let mut given_up = 0;
    let reading = loop {
        match timeout(20 * MS, meter.next()).await {
            Ok(reading) => break reading,
            Err(_) => given_up += 1,
        }
    };
    // The sample began once: the next is due in a minute.
    assert_eq!(reading, said(9));
    assert!(given_up > 1);
}
