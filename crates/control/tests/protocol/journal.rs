//! The fields of events in the journal.

use std::collections::HashSet;

use heartbeat_control::{journal_fields::MESSAGE_IDS, protocol::EventKind};

/// The page that documents the numbers.
const PAGE: &str = include_str!("../../../../docs/reference/events.md");

#[test]
fn every_kind_has_a_number_of_its_own_and_the_page_has_it() {
    let ids: HashSet<&str> = MESSAGE_IDS.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids.len(), MESSAGE_IDS.len());
    for (name, id) in MESSAGE_IDS {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        assert!(id.len() == 32 && id.bytes().all(digit), "{id}");
        let row = format!("| `{name}` | `{id}` |");
        assert!(PAGE.contains(&row), "{row}");
    }
    for name in super::events::names() {
        assert!(
            MESSAGE_IDS.iter().any(|(known, _)| *known == name),
            "{name}"
        );
    }
}

#[test]
fn event_has_the_name_of_its_subject_in_one_field() {
    let fields = |json: &str| {
        let event: EventKind = serde_json::from_str(json).expect(json);
        let fields = event.journal_fields().into_iter();
        let fields = fields.map(|(field, value)| format!("{field}={value}"));
        let mut fields: Vec<String> = fields.collect();
        assert!(fields.remove(1).starts_with("MESSAGE_ID="), "{json}");
        fields
    };
    let down = r#"{"event":"peer","node":"b","from":"up","to":"down"}"#;
    assert_eq!(fields(down), ["EVENT=peer", "NODE=b"]);
    let started = r#"{"event":"group","group":"db","state":"started"}"#;
    assert_eq!(fields(started), ["EVENT=group", "GROUP=db"]);
    let resource = r#"{"event":"resource","resource":"apache","state":"started"}"#;
    assert_eq!(
        fields(resource),
        ["EVENT=resource", "HEARTBEAT_RESOURCE=apache"]
    );
    let ours = r#"{"event":"decided","what":"maintenance on"}"#;
    assert_eq!(fields(ours), ["EVENT=decided"]);
}
