//! No Corosync or Pacemaker file makes the importer panic. An error names its place, and the output
//! is TOML that our own reader can parse as far as it is complete.

#![no_main]

use std::path::Path;

use heartbeat_user::{
    config::{Config, ConfigError},
    import::{Input, Inputs, Options, import},
};
use libfuzzer_sys::{Corpus, fuzz_target};

/// The separator of the two files in one input. Without it the input stands for each of them.
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

/// Checks that the output is valid TOML. It may be incomplete: an operator must add the missing
/// parts.
fn well_formed(text: &str) {
    if let Err(ConfigError::Invalid(problems)) = Config::parse(text, Path::new("x"), None, "a") {
        let gibberish = problems
            .iter()
            .find(|problem| problem.message.contains("not valid TOML"));
        assert!(gibberish.is_none(), "{}\n{text}", gibberish.expect("one"));
    }
}
