//! What comes over the channel between agents: believed only if it was sealed by the key, for this connection, of a
//! kind and by a route that may come now; then it is what was sealed.

#![no_main]

use heartbeat_user::peering::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert!(fuzzing::read(data).is_err(), "unsealed bytes were believed");
    if let Some((head, payload)) = data.split_first_chunk() {
        fuzzing::read_sealed(*head, payload);
    }
});
