//! What an operator types, and what comes of it.

mod article;
mod commands;
mod decisions;
mod moves;
mod record_and_replay;
mod reload;
