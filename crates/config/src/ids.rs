//! Ids that names make.

/// FNV-1a of the cluster's name, for the wire; 0 is not a cluster, so it gives way to 1.
pub(super) fn cluster_id(name: &str) -> u32 {
    fnv1a(name).max(1)
}

/// 32-bit FNV-1a: enough for short names that were not chosen to collide.
pub(super) fn fnv1a(text: &str) -> u32 {
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, hash)
}
