//! The subcommands of `heartbeat`: each checks its arguments, does one thing and says what it did.

pub mod check;
mod count;
pub mod events;
pub mod explain;
pub mod import;
pub mod keygen;
pub mod load;
pub mod mode;
pub mod operate;
mod output;
pub mod ping;
mod private_file;
mod quantile;
pub mod reload;
mod render;
pub mod replay;
pub mod resource;
pub mod rotate;
pub mod simulate;
mod situation;
pub mod status;
pub mod status_check;
pub mod stop;
pub mod verify;
pub mod wait;
pub mod witness;
