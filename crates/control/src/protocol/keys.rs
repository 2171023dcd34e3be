//! The keys of a node, by their ids.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The keys that a node has, by their ids: nothing of the keys themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Id of the key that the node seals with.
    pub seals: u8,
    /// Ids of the keys that the node takes, the one above first.
    pub takes: Vec<u8>,
    /// Equal on nodes that take the same keys.
    pub mark: u32,
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sending with key {}", self.seals)?;
        let mut first = true;
        let others = self.takes.iter().filter(|id| **id != self.seals);
        for id in others {
            write!(
                f,
                "{}{id}",
                if first { "; also accepting key " } else { ", " }
            )?;
            first = false;
        }
        Ok(())
    }
}
