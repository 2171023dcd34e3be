//! No Corosync or Pacemaker file makes the importer panic; where it refuses one it says where, and what it writes
//! is TOML that our own reader understands as far as that goes.

#![no_main]

use std::path::Path;

use heartbeat_user::{
    config::{Config, ConfigError},
    import::{Input, Inputs, Options, import},
};
use libfuzzer_sys::{Corpus, fuzz_target};

/// Between the two files in one input. Without it the input is taken for each of them.
const BETWEEN: &str = "\n%%\n";

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let file = |name: &str, text: &str| {
        let (name, text) = (name.to_owned(), text.to_owned());
        Some(Input { name, text })
    };
    match text.split_once(BETWEEN) {
        Some((conf, crm)) => run(file("conf", conf), file("crm", crm)),
        None => {
            run(file("conf", text), None);
            run(None, file("crm", text));
        }
    }
    Corpus::Keep
});

fn run(corosync: Option<Input>, resources: Option<Input>) {
    let inputs = Inputs {
        corosync,
        resources,
    };
    for keep_agents in [false, true] {
        let options = Options {
            keep_agents,
            ..Options::default()
        };
        match import(&inputs, &options) {
            Ok(imported) => well_formed(&imported.text),
            Err(error) => {
                let text = [&inputs.corosync, &inputs.resources]
                    .into_iter()
                    .flatten()
                    .find(|input| input.name == *error.place.file)
                    .map(|input| input.text.lines().count())
                    .expect("one of the files");
                // Some bad ends are one past the last line.
                assert!((1..=text + 1).contains(&error.place.line), "{error}");
            }
        }
    }
}

/// It may be incomplete, for somebody has to fill in what the input did not say; but it is no gibberish.
fn well_formed(text: &str) {
    if let Err(ConfigError::Invalid(problems)) = Config::parse(text, Path::new("x"), None, "a") {
        let gibberish = problems
            .iter()
            .find(|problem| problem.message.contains("not valid TOML"));
        assert!(gibberish.is_none(), "{}\n{text}", gibberish.expect("one"));
    }
}
