//! `heartbeat import` on typical configurations, on single statements, and on mutated texts. No
//! network, no root.

mod cases;
mod errors;
mod golden;
mod keepalived;
mod mutations;
mod statements;

use heartbeat_import::{ImportError, Imported, Input, Inputs, Options, import};

fn input(name: &str, text: &str) -> Option<Input> {
    Some(Input {
        name: name.to_owned(),
        text: text.to_owned(),
    })
}

/// The import of resources alone.
fn resources(text: &str) -> Result<Imported, ImportError> {
    let inputs = Inputs {
        corosync: None,
        resources: input("crm", text),
    };
    import(&inputs, &Options::default())
}

/// The translation of `text`.
fn translated(text: &str) -> String {
    resources(text).expect("a good input").text
}
