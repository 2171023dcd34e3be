//! Fields of the JSON that have a new name: the former name stays beside it for one release.

use heartbeat_control::protocol::{FormerPulse, LocalStalls, Pulse};
use serde_json::{Value, json};

fn pulse(stalls: LocalStalls) -> Pulse {
    let rest = json!({
        "realtime_priority": 0, "memory_locked": true, "ticks": 9, "missed_ticks": 0,
        "max_lateness_ns": 0, "send_errors": 0,
    });
    Pulse {
        local_stalls: stalls,
        former: FormerPulse::from(stalls),
        ..serde_json::from_value(rest).expect("the fields that have no default")
    }
}

#[test]
fn local_stall_is_written_under_both_names() {
    let stalls = LocalStalls {
        local_stall: true,
        local_stall_count: 3,
        local_stall_ns: 70,
    };
    let written = serde_json::to_value(pulse(stalls)).expect("it can be written");
    for (field, former, expected) in [
        ("local_stall", "deaf", json!(true)),
        ("local_stall_count", "deaf_count", json!(3)),
        ("local_stall_ns", "deaf_ns", json!(70)),
    ] {
        assert_eq!(written[field], expected, "{field}");
        assert_eq!(written[former], expected, "{former}");
    }
}

#[test]
fn pulse_with_both_names_is_read_back() {
    let before = pulse(LocalStalls {
        local_stall_count: 1,
        ..LocalStalls::default()
    });
    let written: Value = serde_json::to_value(&before).expect("it can be written");
    let after: Pulse = serde_json::from_value(written).expect("it can be read");
    assert_eq!(before, after);
}
