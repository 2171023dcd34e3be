//! `--mode` on the command line.

use clap::{ValueEnum, builder::PossibleValue};

use crate::config::XdpMode;

/// An XDP mode as a clap value. This wrapper keeps clap out of the configuration crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(pub XdpMode);

const ALL: [Mode; XdpMode::ALL.len()] = {
    let [auto, native, skb] = XdpMode::ALL;
    [Mode(auto), Mode(native), Mode(skb)]
};

impl ValueEnum for Mode {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self.0 {
            XdpMode::Auto => "Native, falling back to skb",
            XdpMode::Native => "In the driver",
            XdpMode::Skb => "In the network stack",
        };
        Some(PossibleValue::new(self.0.as_str()).help(help))
    }
}
