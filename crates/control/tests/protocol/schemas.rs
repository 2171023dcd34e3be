//! The published JSON Schemas and the Rust types have the same fields, and the schemas are open for
//! fields of later releases.

use heartbeat_control::protocol::{Event, SCHEMA_VERSION, Status};
use serde_json::{Map, Value, json};

use super::schema;

fn parsed(schema: &str) -> Value {
    serde_json::from_str(schema).expect("JSON")
}

/// Returns a value with every field that `schema` names.
fn sample(root: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#'));
        return sample(root, target.expect(reference));
    }
    if let Some(example) = schema["examples"].get(0) {
        return example.clone();
    }
    match schema["type"].as_str() {
        Some("boolean") => json!(true),
        Some("integer") => json!(1),
        Some("string") if schema["pattern"].is_string() => json!("1"),
        Some("string") => json!("x"),
        Some("array") => json!([sample(root, &schema["items"])]),
        _ => match schema["properties"].as_object() {
            Some(fields) => fields
                .iter()
                .map(|(name, field)| (name.clone(), sample(root, field)))
                .collect(),
            None => json!({"x": sample(root, &schema["additionalProperties"])}),
        },
    }
}

#[test]
fn status_with_every_field_of_its_schema_survives_the_rust_types() {
    let schema = parsed(schema::STATUS);
    let full = sample(&schema, &schema);
    let status: Status = serde_json::from_value(full.clone()).expect("a status");
    let again = serde_json::to_value(status).expect("JSON");
    assert_eq!(again, full);
    assert_eq!(schema::problems_of_status(&again), Vec::<String>::new());
}

#[test]
fn event_with_every_field_of_its_schema_survives_the_rust_types() {
    let schema = parsed(schema::EVENT);
    let common = sample(&schema, &schema);
    let kinds = schema["allOf"].as_array().expect("kinds");
    assert!(kinds.len() > 25, "{kinds:?}");
    for kind in kinds {
        let name = &kind["if"]["properties"]["event"]["const"];
        let mut full: Map<String, Value> = common.as_object().expect("an event").clone();
        full.insert("event".to_owned(), name.clone());
        if let Some(fields) = with_fields(&schema, &kind["then"]) {
            full.extend(fields);
        }
        let full = Value::Object(full);
        let event: Event = serde_json::from_value(full.clone()).expect("an event");
        assert_eq!(event.what.name(), *name);
        let again = serde_json::to_value(event).expect("JSON");
        assert_eq!(again, full);
        assert_eq!(schema::problems_of_event(&again), Vec::<String>::new());
    }
}

/// Returns the fields that a kind of event adds, if it adds any.
fn with_fields(schema: &Value, branch: &Value) -> Option<Map<String, Value>> {
    let reference = branch["$ref"].as_str().expect("a reference");
    let branch = schema.pointer(reference.trim_start_matches('#'));
    let branch = branch.expect(reference);
    branch["properties"].is_object().then(|| {
        let fields = sample(schema, branch);
        fields.as_object().expect("fields").clone()
    })
}

#[test]
fn unknown_field_is_a_problem_for_the_tests_and_none_for_a_reader() {
    for (text, problems) in [
        (
            schema::STATUS,
            schema::problems_of_status as fn(&Value) -> Vec<String>,
        ),
        (schema::EVENT, schema::problems_of_event),
    ] {
        let published = parsed(text);
        let mut full = sample(&published, &published);
        full["event"] = json!("started");
        if text == schema::STATUS {
            full.as_object_mut().expect("a status").remove("event");
        }
        assert_eq!(problems(&full), Vec::<String>::new());
        full["a_later_field"] = json!(1);
        let found = problems(&full);
        assert!(
            found.len() == 1 && found[0].contains("a_later_field"),
            "{found:?}"
        );
        let open = jsonschema::draft202012::new(&published).expect("a schema");
        assert!(open.is_valid(&full));
        full["at_ns"] = json!("1");
        assert!(!open.is_valid(&full), "a field of another type");
    }
}

#[test]
fn nested_field_that_is_missing_or_unknown_is_a_problem() {
    let published = parsed(schema::STATUS);
    let full = sample(&published, &published);
    let mut unknown = full.clone();
    unknown["nodes"][0]["links"][0]["peer"]["later"] = json!(1);
    assert!(!schema::problems_of_status(&unknown).is_empty());
    let mut missing = full;
    let quorum = missing["quorum"].as_object_mut().expect("an object");
    quorum.remove("needed");
    assert!(!schema::problems_of_status(&missing).is_empty());
}

#[test]
fn schemas_have_the_version_that_agents_write() {
    for (text, name) in [(schema::STATUS, "status"), (schema::EVENT, "event")] {
        let id = format!("urn:heartbeat:schema:{name}:{SCHEMA_VERSION}");
        assert_eq!(parsed(text)["$id"], json!(id));
    }
}
