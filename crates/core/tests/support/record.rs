//! The inputs and decisions of one simulated agent, in the form of `heartbeat run --record`.

use std::borrow::Cow;

use heartbeat_common::{maps::VoteEvent, time::Boottime};
use heartbeat_core::{
    Command, StepInput,
    cluster::Plan,
    index::PeerIndex,
    record::{self, Encoder, Entry, Full, Input},
};

/// The size of the largest entry in bytes.
const ROOM: usize = 1 << 16;

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) bytes: Vec<u8>,
    encoder: Encoder,
}

impl Record {
    pub(crate) fn begin(plan: &Plan) -> Self {
        let mut record = Self {
            bytes: record::header().to_vec(),
            encoder: Encoder::default(),
        };
        let start = Entry::Start(Box::new(Cow::Borrowed(plan)));
        record.put(|_, room| Encoder::entry(&start, room));
        record
    }

    pub(crate) fn input(&mut self, input: &Input) {
        let entry = Entry::Input(Cow::Borrowed(input));
        self.put(|_, room| Encoder::entry(&entry, room));
    }

    pub(crate) fn votes(&mut self, acceptor: Option<PeerIndex>, votes: &VoteEvent, now: Boottime) {
        self.put(|_, room| Encoder::votes(acceptor, votes, now, room));
    }

    pub(crate) fn step(&mut self, input: &StepInput<'_>, decided: &[Command]) {
        self.put(|encoder, room| encoder.step(input, decided, room));
    }

    fn put(&mut self, write: impl FnOnce(&mut Encoder, &mut [u8]) -> Result<usize, Full>) {
        let mut room = vec![0; ROOM];
        let len = write(&mut self.encoder, &mut room).expect("an entry fits");
        self.bytes.extend_from_slice(&room[..len]);
    }
}
