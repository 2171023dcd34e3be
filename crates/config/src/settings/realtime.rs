//! `[realtime]`: the scheduling of the pulse.

use super::{Check::IfSet, Fallback::Is, Reload::Restart, settings};
use crate::readers::{COUNT, Number, number};

settings! {
    /// Scheduling of the pulse, the thread that must be punctual.
    "[realtime]" of ();

    /// The pulse asks for SCHED_DEADLINE, a fifth of each interval. Where the kernel refuses that,
    /// the pulse asks for SCHED_FIFO with this priority: above 50, which interrupt threads have. 0
    /// is to ask for neither.
    PRIORITY: Number<u8> = number(0, 99, COUNT) => {
        name: "priority", default: Is(|| 60),
        reload: Restart, digest: false, check: IfSet;
        |config, _| config.realtime_priority.unwrap_or(0)
    }
}
