//! The stress ladder of the benchmark, on its lowest rung.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use heartbeat_tests::{
    bench::ladder::{self, Rung},
    needs,
};

#[test]
fn ladder_without_load_sees_one_owner_that_answers() -> Result<()> {
    needs!(Cluster);
    let ladder = ladder::run(&ladder::Options {
        length: Duration::from_millis(500),
        rungs: vec![Rung::Idle],
        contenders: vec!["heartbeat-default".to_owned()],
    })?;
    ensure!(ladder.is_complete(), "{ladder}");
    let json = serde_json::to_value(&ladder)?;
    let figures = &json["steps"][0]["rows"][0]["measured"];
    let figure = |path: &str| {
        let value = figures.pointer(path).and_then(serde_json::Value::as_u64);
        value.with_context(|| format!("no figure {path} in {json:#}"))
    };
    // The machine of the tests is busy, so some questions may have no answer.
    let (asked, unanswered) = (figure("/service/asked")?, figure("/service/unanswered")?);
    ensure!(asked > 0 && unanswered * 2 < asked, "{ladder}");
    ensure!(figure("/service/double_answers")? == 0, "{ladder}");
    ensure!(figure("/agents/pulse/ticks")? > 0, "{ladder}");
    Ok(())
}
