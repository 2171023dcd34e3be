//! A decoded heartbeat equals its encoding to the last bit, and only its own key verifies it.

#![no_main]

use heartbeat_common::{
    siphash::SipKey,
    wire::{self, HEADER_LEN, Header, LEASE_LEN, LeaseEntry, MAX_LEN, TAG_LEN, offset},
};
use libfuzzer_sys::fuzz_target;

const KEY: SipKey = SipKey { k0: 1, k1: 2 };
const OTHER: SipKey = SipKey { k0: 1, k1: 3 };

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    read(&bytes);
    // The same input with a valid head, since few random bytes would get any further.
    bytes.resize(bytes.len().clamp(HEADER_LEN, MAX_LEN + 1), 0);
    bytes[offset::MAGIC..][..4].copy_from_slice(&wire::MAGIC.to_be_bytes());
    bytes[offset::VERSION] = wire::VERSION;
    bytes[offset::KIND] = 1 + bytes[offset::KIND] % 2;
    let room = bytes.len().saturating_sub(wire::len(0)) / LEASE_LEN;
    bytes[offset::LEASE_COUNT] = room as u8;
    read(&bytes);
    bytes.resize(wire::len(room), 0);
    read(&bytes);
    wire::seal(&mut bytes, KEY).expect("a whole heartbeat");
    assert_eq!(wire::verify(&bytes, KEY), Ok(()));
    assert!(wire::verify(&bytes, OTHER).is_err());
});

fn read(bytes: &[u8]) {
    let Ok(header) = Header::decode(bytes) else {
        return;
    };
    let mut written = [0; HEADER_LEN];
    header.encode(&mut written);
    assert_eq!(written, bytes[..HEADER_LEN]);
    let entries = &bytes[offset::LEASES..bytes.len() - TAG_LEN];
    let (entries, rest) = entries.as_chunks::<LEASE_LEN>();
    assert_eq!((entries.len(), rest.len()), (header.lease_count.into(), 0));
    for entry in entries {
        assert_eq!(LeaseEntry::decode(entry).encode(), *entry);
    }
}
