//! Starts, restarts, upgrades and ends of an agent.

mod events_kept;
mod graceful_restart;
mod lifecycle;
mod refused_starts;
mod systemd;
