//! A message from the control socket, or a peer's report, equals its encoding after decoding.

#![no_main]

use std::fmt::Debug;

use heartbeat_user::control::protocol::{Request, Response};
use libfuzzer_sys::fuzz_target;
use serde_json::{from_slice, to_vec};

fuzz_target!(|data: &[u8]| {
    same::<Request>(data);
    same::<Response>(data);
});

fn same<T>(data: &[u8])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    if let Ok(read) = from_slice::<T>(data) {
        let written = to_vec(&read).expect("what was read can be written");
        // One line is one message.
        assert!(!written.contains(&b'\n'));
        assert_eq!(from_slice::<T>(&written).ok(), Some(read));
    }
}
