//! `[control]`: access to the control socket.

use super::{Check::IfSet, Fallback::Without, Reload::Restart, settings};
use crate::{
    readers::{Text, text},
    values,
};

settings! {
    /// Access to the control socket.
    "[control]" of ();

    /// The users of this group may read: `heartbeat status`, `events`, `explain`, `ping` and the
    /// like. Only root may change anything.
    GROUP: Text<String> = text(values::account, values::ACCOUNT) => {
        name: "group", default: Without("only root may read"), example: r#""adm""#,
        reload: Restart, digest: false, check: IfSet;
        |config, _| config.control_group.clone()
    }
}
