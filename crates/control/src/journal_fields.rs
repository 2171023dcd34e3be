//! The fields of an event in the journal (systemd.journal-fields(7)).

use super::protocol::EventKind;

/// The MESSAGE_ID of each kind of event, by the name of the kind. An id never changes, because
/// rules of other programs select entries by it.
pub const MESSAGE_IDS: [(&str, &str); 31] = [
    ("started", "d6476d9a808c4513b4d0ee6e1362d257"),
    ("stopping", "2043ee84169e49d780d7e5e79e5b9a70"),
    ("parting", "a633dece12de4a2fb3ee5068adc7b2ec"),
    ("link", "31dc752b20f3423f86cf18f57463c715"),
    ("peer", "880e6bd5abfa4ceba688ceb7064d4506"),
    ("deaf", "1c8d1ea5005a4d9f9723064b66c7bf44"),
    ("starved", "81c5750508204287ab41df198cbec82c"),
    ("quorum", "77b7d9dc748d462aa98efb9a03f64271"),
    ("interface", "f5ef74b82d0744a7abc7280dcb7a96d1"),
    ("socket-guard", "4e218156eaa34684ae32f91c96f27d1d"),
    ("resource", "f80045efe1ab46a19f3208cad3c0c5af"),
    ("resource-failed", "28cfacc6240943a6ba866683d8121b72"),
    ("health", "3efb0e3d4e2d4c6986311b3937699a10"),
    ("peer-health", "b750aa5a2dfa4867ac6bb2cc005a7493"),
    ("decided", "c792ad86ee4f4b6cbb2e44d5f34fb6c7"),
    ("outdated", "fd804897e8394415947a1af3219be030"),
    ("refused", "d9a90434662442a49d9241604bf606c4"),
    ("config-version", "2d3a7a120c2d46f4bfecb6cc0bc1cac4"),
    ("keys", "40cb5ab0406f4c448d489790676ebb16"),
    ("hook", "69d292843a324937addec5d11e221b7b"),
    ("lease-acquired", "cf98ada9254f4f299770437a380f4093"),
    ("lease-given-up", "ff58deee8c074c9d95f8d826c453c1ef"),
    ("claim-given-up", "38912bfed666465b83965ac2f9dbd165"),
    ("ballots-exhausted", "248057ef616d4a5199a8e6a2e0b31d01"),
    ("group", "1d9115a6151b4b52b4ed18a5262d6146"),
    ("takeover", "fd94ef33906e4e66b2b031ef975321f7"),
    ("release", "72572c4e83724f668583b5e14d11687d"),
    ("put-back", "6308afd0c2024dc98dd3b3355127575e"),
    ("claimed", "d2774557c32846fd9533a4ed9bad2017"),
    ("stray", "c2a2ac735efc4ca8a737071477a1cb15"),
    ("vip-error", "74718e86da4c451cb714b161baa9c1de"),
];

impl EventKind {
    /// The MESSAGE_ID of the kind: 128 bits in hexadecimal digits.
    pub fn message_id(&self) -> Option<&'static str> {
        let mut ids = MESSAGE_IDS.iter();
        ids.find(|(name, _)| *name == self.name())
            .map(|(_, id)| *id)
    }

    /// The fields that say what the event is about.
    pub fn journal_fields(&self) -> Vec<(&'static str, &str)> {
        let mut fields = vec![("EVENT", self.name())];
        fields.extend(self.message_id().map(|id| ("MESSAGE_ID", id)));
        let subject = match self {
            Self::Link { node, .. }
            | Self::Peer { node, .. }
            | Self::PeerHealth { node, .. }
            | Self::Outdated { node, .. }
            | Self::Refused { node, .. }
            | Self::Decided {
                node: Some(node), ..
            } => Some(("NODE", node)),
            Self::Group { group, .. } => Some(("GROUP", group)),
            Self::Vip { vip, .. } => Some(("VIP", vip)),
            Self::Resource { resource, .. } | Self::ResourceFailed { resource, .. } => {
                Some(("HEARTBEAT_RESOURCE", resource))
            }
            Self::Interface { interface, .. } => Some(("INTERFACE", interface)),
            Self::Health { check, .. } => Some(("CHECK", check)),
            _ => None,
        };
        fields.extend(subject.map(|(field, name)| (field, name.as_str())));
        fields
    }
}
