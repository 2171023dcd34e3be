//! The keys of a node, by their ids.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The ids of the keys that a node has. The keys themselves are not included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Id of the key with which the node sends.
    pub seals: u8,
    /// Ids of the keys that the node accepts, beginning with the one for sending.
    pub takes: Vec<u8>,
    /// A checksum that is equal on nodes which accept the same keys.
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
