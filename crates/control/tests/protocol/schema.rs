//! The JSON Schemas of status and events, closed: a field that a schema does not name is an error.
//!
//! The published schemas are open, because readers must accept fields of later releases. The tests
//! close them, so that no field is added to the JSON without its line in the schema.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

/// The schema of `heartbeat status --json`.
pub(crate) const STATUS: &str = include_str!("../../../../docs/reference/status.schema.json");
/// The schema of a line of `heartbeat events --json`.
pub(crate) const EVENT: &str = include_str!("../../../../docs/reference/event.schema.json");

static CLOSED_STATUS: LazyLock<Validator> = LazyLock::new(|| closed(STATUS));
static CLOSED_EVENT: LazyLock<Validator> = LazyLock::new(|| closed(EVENT));

/// Returns all ways in which `status` differs from its schema, as lines; none if it is valid.
pub(crate) fn problems_of_status(status: &Value) -> Vec<String> {
    problems(&CLOSED_STATUS, status)
}

/// Returns all ways in which `event` differs from its schema, as lines; none if it is valid.
pub(crate) fn problems_of_event(event: &Value) -> Vec<String> {
    problems(&CLOSED_EVENT, event)
}

fn problems(schema: &Validator, value: &Value) -> Vec<String> {
    let errors = schema.iter_errors(value);
    let line =
        |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
    errors.map(line).collect()
}

fn closed(schema: &str) -> Validator {
    let mut schema: Value = serde_json::from_str(schema).expect("JSON");
    close(&mut schema);
    jsonschema::draft202012::new(&schema).expect("a schema")
}

/// Closes each schema of an object. A branch for one kind of event has no `type`: it adds its
/// fields to those of the event, which is closed.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("type") == Some(&json!("object")) && fields.contains_key("properties") {
                fields.insert("unevaluatedProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
