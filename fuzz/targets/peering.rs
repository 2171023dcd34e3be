//! A message over the channel between agents is accepted only if it was sealed with the key, for
//! this connection, of an expected kind and by an expected route. An accepted message equals the
//! sealed one.

#![no_main]

use heartbeat_user::peering::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert!(fuzzing::read(data).is_err(), "unsealed bytes were believed");
    if let Some((head, payload)) = data.split_first_chunk() {
        fuzzing::read_sealed(*head, payload);
    }
});
