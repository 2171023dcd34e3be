//! The kernel programs by themselves, and the agent on every supported kernel.

mod any_kernel;
mod differential;
mod exits;
mod guard;
mod object;
mod timer;
mod verdicts;
mod verifier_cost;
