//! Waiting for a condition instead of for an amount of time.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::interrupt;

/// Time between two looks at the condition.
const PAUSE: Duration = Duration::from_millis(2);

/// How many times as long as elsewhere things may take on this machine: what `HEARTBEAT_TEST_SLOWNESS` says of an
/// emulated one, else 1.
pub fn slowness() -> u32 {
    let said = env::var("HEARTBEAT_TEST_SLOWNESS").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Blocks until `condition` holds, at most for `deadline`; `what` is what was waited for.
///
/// Fails at the deadline, when the user interrupts, and as soon as `condition` itself fails.
pub fn wait_until(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    loop {
        interrupt::check()?;
        if condition()? {
            return Ok(());
        }
        if start.elapsed() >= deadline {
            bail!("waited {deadline:?} in vain for: {what}");
        }
        thread::sleep(PAUSE);
    }
}

/// Lets `duration` pass, as long as `healthy` does not fail and the user does not interrupt.
///
/// For phases that are about time itself, such as a quiet phase; never to wait for an effect.
pub fn observe(duration: Duration, mut healthy: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < duration {
        interrupt::check()?;
        healthy()?;
        thread::sleep(PAUSE.min(duration.saturating_sub(start.elapsed())));
    }
    Ok(())
}
