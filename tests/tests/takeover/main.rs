//! Takeovers: the owner of an address fails, moves it, or stops.

mod control_task_hangs;
mod detection;
mod network_fails;
mod next_in_rank;
mod owner_fails;
mod owner_resumes;
mod owner_stops;
mod planned_move;
mod slow_links;
mod unfit_nodes;
mod unreachable_owner;
