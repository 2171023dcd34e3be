//! `--mode` on the command line.

use clap::{ValueEnum, builder::PossibleValue};

use crate::config::XdpMode;

impl ValueEnum for XdpMode {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Auto => "Native, falling back to skb",
            Self::Native => "In the driver",
            Self::Skb => "In the network stack",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}
