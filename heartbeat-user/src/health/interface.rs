//! Checks whether an interface has a carrier, after each interval and when the kernel reports a
//! change.

use tokio::{
    select,
    time::{Instant, sleep_until, timeout},
};

use super::{Verdict, blocking::BlockingThread, runner::Runner};
use crate::net::{LinkWatch, Netlink};

/// Never ends. Can be dropped at any await.
pub(super) async fn run(runner: &Runner, name: &str) {
    let mut announcements = LinkWatch::open()
        .inspect_err(|error| {
            log::warn!("{name}: carrier changes are noticed at each interval only: {error:#}");
        })
        .ok();
    // The question may block while another process holds the kernel's lock of all interfaces.
    let thread = BlockingThread::new("health-link".to_owned());
    loop {
        let found = sample(runner, name, &thread).await;
        let mut good = found.is_ok();
        runner.note(found);
        let next = Instant::now() + runner.interval();
        // Before its time only a change counts as a result: announcements of other interfaces say
        // nothing about this one.
        while Instant::now() < next {
            select! {
                () = sleep_until(next) => break,
                () = changed(&mut announcements) => {}
            }
            let found = sample(runner, name, &thread).await;
            if good != found.is_ok() {
                good = found.is_ok();
                runner.note(found);
            }
        }
    }
}

async fn sample(runner: &Runner, name: &str, thread: &BlockingThread) -> Verdict {
    let limit = runner.check.timeout;
    let name = name.to_owned();
    match timeout(limit, thread.sample(move || carrier(&name))).await {
        Ok(verdict) => verdict,
        Err(_) => Err(format!("took longer than {limit:?}")),
    }
}

fn carrier(name: &str) -> Verdict {
    let mut netlink = Netlink::open().map_err(|error| error.to_string())?;
    match netlink.interface(name) {
        Ok(interface) if interface.carrier => Ok(String::new()),
        Ok(interface) if interface.up => Err(format!("{name} has no carrier")),
        Ok(_) => Err(format!("{name} is switched off")),
        Err(error) => Err(error.to_string()),
    }
}

/// Ends when a link may have changed; never if the kernel's reports cannot be received.
async fn changed(announcements: &mut Option<LinkWatch>) {
    if let Some(watch) = announcements {
        match watch.changed().await {
            Ok(()) => return,
            Err(error) => {
                log::warn!("link changes are no longer reported by the kernel: {error:#}");
            }
        }
    }
    *announcements = None;
    std::future::pending::<()>().await;
}
