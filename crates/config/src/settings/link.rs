//! `[[link]]`: the networks that carry heartbeats.

use super::{
    Check::Prose,
    Fallback::{Is, Required},
    Reload::Restart,
    settings,
};
use crate::{
    readers::{Text, Word, text},
    types::{Link, XdpMode},
    values,
};

settings! {
    /// The networks that carry heartbeats: 1 to 8, numbered from 0 in their order in the file.
    "[[link]]" of Link, "with two brackets";

    /// The interface on nodes that do not name another one.
    INTERFACE: Text<String> = text(values::interface, values::INTERFACE) => {
        name: "interface", default: Required, example: r#""eth1""#,
        reload: Restart, digest: false, check: Prose;
        |_, link| link.interface.clone()
    }

    /// How the XDP program is attached. `native` needs a driver with XDP support, `skb` is the
    /// kernel's generic hook, `auto` takes the better one.
    MODE: Word<XdpMode> = Word { all: &XdpMode::ALL, word: XdpMode::as_str, other: "no XDP mode" } => {
        name: "mode", default: Is(|| XdpMode::Auto),
        reload: Restart, digest: false, check: Prose;
        |_, link| link.mode
    }
}
