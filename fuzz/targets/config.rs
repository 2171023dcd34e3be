//! No file makes the reader of configurations panic, and every problem that it reports is in the
//! file.

#![no_main]

use std::path::Path;

use heartbeat_user::config::{Config, ConfigError};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let problems = match Config::parse(text, Path::new("fuzz.toml"), None, "a") {
        Ok(config) => config.warnings,
        Err(ConfigError::Invalid(problems)) => {
            assert!(!problems.is_empty());
            problems
        }
        Err(other) => panic!("parsing reads no file: {other}"),
    };
    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
    for problem in problems {
        // Some problems have no line.
        if let Some(line) = problem.location.split(':').nth(1) {
            let line = line.parse().expect("a number");
            assert!((1..=lines).contains(&line), "{problem}");
        }
        assert!(
            !problem.message.contains('\n') && !problem.remedy.is_empty(),
            "{problem}"
        );
    }
    Corpus::Keep
});
