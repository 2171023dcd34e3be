//! Waiting for a condition instead of for an amount of time.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::interrupt;

/// The time between two checks of the condition.
const PAUSE: Duration = Duration::from_millis(2);

/// The factor by which this machine may be slower than others: `HEARTBEAT_TEST_SLOWNESS` of an
/// emulated one, else 1.
pub fn slowness() -> u32 {
    let said = env::var("HEARTBEAT_TEST_SLOWNESS").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Blocks until `condition` holds, at most for `deadline`; `what` names the condition.
///
/// Fails at the deadline, after an interrupt of the user, and as soon as `condition` fails.
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

/// Lets `duration` pass. Fails as soon as `healthy` fails, and after an interrupt of the user.
///
/// It is for phases about time itself, such as a quiet phase, never to wait for an effect.
pub fn observe(duration: Duration, mut healthy: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < duration {
        interrupt::check()?;
        healthy()?;
        thread::sleep(PAUSE.min(duration.saturating_sub(start.elapsed())));
    }
    Ok(())
}
