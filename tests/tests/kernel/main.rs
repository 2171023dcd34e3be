//! The kernel programs by themselves, and what every supported kernel must run.

mod any_kernel;
mod differential;
mod exits;
mod guard;
mod object;
mod timer;
mod verdicts;
mod verifier_cost;
