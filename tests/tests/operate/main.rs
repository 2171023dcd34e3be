//! Commands of an operator: their output, and their effect.

mod commands;
mod decisions;
mod doctor;
mod documentation;
mod metrics;
mod moves;
mod package;
mod record_and_replay;
mod reload;
mod reload_all;
