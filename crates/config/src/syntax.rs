//! Messages about a file that is not TOML: the place, the line, and what to do. Never shows a line
//! that may hold the value of a resource's parameter, which may be a password.

use super::{
    report::{Source, shown},
    settings::headers,
    types::Problem,
};

/// The problems that the TOML parser found, the first of each line: the rest of a line is mostly
/// its echo.
pub(super) fn problems(source: &Source<'_>, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut found: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| (error.span().map_or(0, |span| span.start), error.message()))
        .collect();
    found.sort_by_key(|(at, _)| *at);
    found.dedup_by_key(|(at, _)| source.line(*at));
    let problem = |(at, message): (usize, &str)| {
        let line = source.line_text(at);
        let hidden = among_params(source.text_to(at));
        let culprit = if hidden {
            " (the line is not shown, since parameters may be secret)".to_owned()
        } else {
            format!(": `{}`", shown(line))
        };
        Problem {
            location: source.location(at),
            message: format!("not valid TOML: {message}{culprit}"),
            remedy: remedy(line, message).to_owned(),
        }
    };
    found.into_iter().map(problem).collect()
}

/// Whether the last line of `text` may be about parameters: it names them, it is in their table, or
/// an inline table of them that began above it has not ended there.
fn among_params(text: &str) -> bool {
    let mut below = false;
    for line in text.lines().rev().map(str::trim) {
        if line.contains("params") {
            return !below || line.starts_with('[') || !line.contains('}');
        }
        if line.starts_with('[') {
            return false;
        }
        below = true;
    }
    false
}

fn remedy(line: &str, message: &str) -> &'static str {
    let mut lists = headers().filter_map(|header| header.strip_prefix("[[")?.strip_suffix("]]"));
    let is_list = lists.any(|name| line.starts_with(&format!("[{name}]")));
    if message.contains("duplicate key") && is_list {
        "write the name in two brackets, as in [[node]]: it may stand many times"
    } else if message.contains("duplicate key") {
        "keep one of the two"
    } else if message.contains("must be quoted") {
        "put text in double quotes, also a number with a unit, as in interval = \"10ms\""
    } else {
        "a line is `name = value`, `[section]`, `[[list section]]` or a # comment"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_hold_a_parameter_are_known() {
        let hidden = among_params;
        assert!(hidden("params = { passwd = x }"));
        assert!(hidden("params.passwd = x"));
        assert!(hidden("[group.resource.params]\nuser = \"u\"\n\nkey = x"));
        assert!(hidden("params = {\n  user = \"u\",\n  key = x"));
        assert!(hidden("[[group]]\nresource = [{ params = { key = x } }]"));

        assert!(!hidden("key = x"));
        assert!(!hidden("params = { user = \"u\" }\nname = x"));
        assert!(!hidden(
            "[group.resource.params]\nuser = \"u\"\n[[node]]\nname = x"
        ));
        assert!(!hidden("params = {\n  user = \"u\"\n}\n[[node]]\nname = x"));
    }
}
