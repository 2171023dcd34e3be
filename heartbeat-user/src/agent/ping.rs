//! Round-trip times of a peer, read from the kernel's rows as its replies arrive.

use std::time::Duration;

use heartbeat_common::{
    index::RowNumber,
    maps::{PeerRow, RTT_RING, rtt_slot},
    wire::LinkId,
};
use heartbeat_core::index_vec::IndexVec;

use crate::{clock, control::protocol::PingLink, dataplane::PeerRows};

/// The greatest number of samples per request.
pub(super) const MAX_COUNT: u32 = 100_000;

/// The sample collector of one row.
#[derive(Debug)]
struct Sampler {
    /// The next sequence number to read.
    next: u64,
    first: PeerRow,
    rtt_ns: Vec<u64>,
}

impl Sampler {
    fn new(row: PeerRow) -> Self {
        Self {
            next: row.last_probe_seq + 1,
            first: row,
            rtt_ns: Vec::new(),
        }
    }

    /// Adds the new samples in `row`, up to `count` in all.
    fn sample(&mut self, row: &PeerRow, count: usize) {
        let remembered = row.last_probe_seq.saturating_sub(RTT_RING as u64 - 1);
        for sequence in self.next.max(remembered)..=row.last_reply_seq {
            let rtt = row.rtt_ring[rtt_slot(sequence)];
            if rtt != 0 && self.rtt_ns.len() < count {
                self.rtt_ns.push(rtt.into());
            }
        }
        self.next = self.next.max(row.last_reply_seq + 1);
    }
}

/// Waits for `count` round-trip times on each of the `addresses`, whose rows begin at `first_row`.
/// The wait ends after twice the expected time, plus a second.
pub(super) async fn ping(
    rows: PeerRows,
    first_row: RowNumber,
    addresses: Vec<String>,
    count: u32,
    interval: Duration,
) -> Vec<PingLink> {
    let row = |link: LinkId| rows.row(first_row.on(link));
    let links = (0..).map(LinkId).zip(&addresses);
    let mut samplers: IndexVec<LinkId, Sampler> =
        links.map(|(link, _)| Sampler::new(row(link))).collect();
    let until = clock::now().after(interval * count * 2 + Duration::from_secs(1));
    let count = count as usize;
    // Several polls per turn of the ring, so that no sample is missed.
    let pause = (interval * (RTT_RING as u32 / 4))
        .clamp(Duration::from_millis(1), Duration::from_millis(100));
    while clock::now() < until && samplers.iter().any(|sampler| sampler.rtt_ns.len() < count) {
        tokio::time::sleep(pause).await;
        for (link, sampler) in samplers.iter_mut_enumerated() {
            sampler.sample(&row(link), count);
        }
    }
    let links = samplers.into_iter_enumerated().zip(addresses);
    let links = links.map(|((link, sampler), address)| {
        let last = row(link);
        PingLink {
            link: link.0,
            address,
            probes: last.probes_left - sampler.first.probes_left,
            replies: last.replies - sampler.first.replies,
            rtt_ns: sampler.rtt_ns,
        }
    });
    links.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes the row as an answer to probe `sequence` does.
    fn answer(row: &mut PeerRow, sequence: u64, rtt: u32) {
        row.last_probe_seq = sequence;
        row.last_reply_seq = sequence;
        row.rtt_ring[rtt_slot(sequence)] = rtt;
    }

    #[test]
    fn takes_each_sample_once() {
        let mut row = PeerRow::default();
        answer(&mut row, 40, 1);
        let mut sampler = Sampler::new(row);
        for sequence in 41..=45 {
            answer(&mut row, sequence, sequence as u32);
        }
        row.rtt_ring[rtt_slot(43)] = 0;
        sampler.sample(&row, 100);
        sampler.sample(&row, 100);
        assert_eq!(sampler.rtt_ns, [41, 42, 44, 45]);
    }

    #[test]
    fn late_poll_takes_the_samples_left_in_the_ring() {
        let mut row = PeerRow::default();
        let mut sampler = Sampler::new(row);
        for sequence in 1..=100 {
            answer(&mut row, sequence, sequence as u32);
        }
        sampler.sample(&row, 100);
        let expected: Vec<u64> = (101 - RTT_RING as u64..=100).collect();
        assert_eq!(sampler.rtt_ns, expected);
        sampler.sample(&row, 5);
        assert_eq!(sampler.rtt_ns, expected);
    }
}
