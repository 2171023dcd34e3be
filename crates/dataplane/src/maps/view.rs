//! The mmapped maps: rows that the kernel writes, and the words that the agent tells its kernel.
//!
//! Both are read and written word by word, without system calls. The kernel works on the same
//! memory at the same time, so every access is an atomic one.

use std::{
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use heartbeat_common::{
    maps::{GUARD_ROWS, GuardRow, Local, MAX_VIPS, PeerRow},
    time::Boottime,
    wire::{Electorate, Health, Incarnation, NodeState, Owned},
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The memory of a mmapable array map, as 64-bit words.
#[derive(Debug)]
struct Words {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the memory is shared with the kernel anyway and only ever accessed through atomics.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    fn map(fd: impl AsFd, bytes: usize, protection: ProtFlags) -> Result<Self> {
        let length = NonZeroUsize::new(bytes).context("a map has no entries")?;
        // SAFETY: a fresh mapping at an address that the kernel chooses; it is unmapped in `drop` and
        // no reference to it is handed out that outlives `self`.
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) }
            .context("could not map a BPF array into memory")?;
        Ok(Self {
            start: start.cast(),
            count: bytes / size_of::<u64>(),
        })
    }

    fn get(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `count` words long, page-aligned, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map`; no reference to it is left.
        let unmapped = unsafe { munmap(self.start.cast(), self.count * size_of::<u64>()) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The `peers` map, read-only. Its rows are numbered from 0 in the order of the configuration, wherever they are.
#[derive(Debug)]
pub struct PeerRows {
    words: Words,
    /// Of each row its place in the map.
    places: Vec<u32>,
}

const ROW_WORDS: usize = size_of::<PeerRow>() / size_of::<u64>();
const LOCAL_WORDS: usize = size_of::<Local>() / size_of::<u64>();

impl PeerRows {
    /// `rows` is how many the map has.
    pub(crate) fn map(fd: impl AsFd, rows: usize, places: Vec<u32>) -> Result<Self> {
        Self::map_with(fd, rows, places, ProtFlags::PROT_READ)
    }

    /// To be changed before any reply is waited for.
    pub(crate) fn map_writable(fd: impl AsFd, rows: usize, places: Vec<u32>) -> Result<Self> {
        Self::map_with(
            fd,
            rows,
            places,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        )
    }

    fn map_with(
        fd: impl AsFd,
        rows: usize,
        places: Vec<u32>,
        protection: ProtFlags,
    ) -> Result<Self> {
        let words = Words::map(fd, rows * size_of::<PeerRow>(), protection)?;
        Ok(Self { words, places })
    }

    /// The number of the row at `place`, where there is one.
    pub fn number_at(&self, place: u32) -> Option<usize> {
        // Where nobody ever came or went, that is its place.
        let same = |number: &usize| self.places.get(*number) == Some(&place);
        let search = || self.places.iter().position(|other| *other == place);
        Some(place as usize).filter(same).or_else(search)
    }

    /// Forgets what an earlier agent asked and was answered: the next one counts its probes from the
    /// beginning. What the peers asked stays, and with it what the kernel takes for a replay.
    pub(crate) fn forget_replies(&self) {
        const ASKED: std::ops::Range<usize> = std::mem::offset_of!(PeerRow, last_asked_at)
            / size_of::<u64>()
            ..std::mem::offset_of!(PeerRow, deadline_fired_at) / size_of::<u64>();
        for row in self.words.get().chunks_exact(ROW_WORDS) {
            for (index, word) in row.iter().enumerate() {
                if !ASKED.contains(&index) {
                    word.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    /// Replaces `rows` with all rows, as they are now.
    pub fn read(&self, rows: &mut Vec<PeerRow>) {
        rows.clear();
        rows.extend((0..self.len()).map(|index| self.row(index)));
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What peer number `peer` said last, on whichever of its `links`.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn latest(&self, peer: usize, links: usize) -> PeerRow {
        let rows = (peer * links..(peer + 1) * links).map(|row| self.row(row));
        rows.max_by_key(|row| row.last_reply_at).unwrap_or_default()
    }

    /// One row, as it is now.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, index: usize) -> PeerRow {
        let place = self.places[index] as usize;
        let from = &self.words.get()[place * ROW_WORDS..][..ROW_WORDS];
        // The kernel writes `last_reply_seq` last. Read twice, it says whether the copy is of one
        // reply; a reader that is always overtaken gets what is there.
        const SEQUENCE: usize = std::mem::offset_of!(PeerRow, last_reply_seq) / size_of::<u64>();
        let mut words = [0u64; ROW_WORDS];
        for _ in 0..3 {
            let before = from[SEQUENCE].load(Ordering::Acquire);
            for (word, source) in words.iter_mut().zip(from) {
                *word = source.load(Ordering::Relaxed);
            }
            std::sync::atomic::fence(Ordering::Acquire);
            if from[SEQUENCE].load(Ordering::Relaxed) == before {
                break;
            }
        }
        bytemuck::cast(words)
    }
}

/// The `guard` map: until when each address may be served.
#[derive(Debug)]
pub struct GuardView {
    words: Words,
    /// The row of each guarded address, in the order of the configuration.
    rows: Vec<usize>,
}

const GUARD_WORDS: usize = size_of::<GuardRow>() / size_of::<u64>();

impl GuardView {
    pub(crate) fn map(fd: impl AsFd, rows: Vec<usize>) -> Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Ok(Self {
            words: Words::map(fd, GUARD_ROWS * size_of::<GuardRow>(), protection)?,
            rows,
        })
    }

    /// Lets traffic of an address pass until `until`: no longer if that has passed.
    ///
    /// # Panics
    /// If there is no such address.
    pub fn open(&self, index: usize, until: Boottime) {
        self.store(self.rows[index], until);
    }

    /// Notes for the next agent until when the group with this index may be served.
    ///
    /// # Panics
    /// If there cannot be such a group.
    pub fn serve(&self, group: usize, until: Boottime) {
        self.store(MAX_VIPS + group, until);
    }

    fn store(&self, row: usize, until: Boottime) {
        const OPEN_UNTIL: usize = std::mem::offset_of!(GuardRow, open_until) / size_of::<u64>();
        let word = &self.words.get()[row * GUARD_WORDS + OPEN_UNTIL];
        word.store(until.as_nanos(), Ordering::Release);
    }

    /// Says on which interface the agent puts an address. Only one thread may call this.
    pub fn set_interface(&self, index: usize, ifindex: u32) {
        // The word's other fields are the address's own, and stay as they are.
        const AT: usize = std::mem::offset_of!(GuardRow, ifindex) / size_of::<u64>();
        const _: () = assert!(std::mem::offset_of!(GuardRow, ifindex).is_multiple_of(8));
        if let Some(row) = self.row(index) {
            let words: [u64; GUARD_WORDS] = bytemuck::cast(GuardRow { ifindex, ..row });
            let word = &self.words.get()[self.rows[index] * GUARD_WORDS + AT];
            word.store(words[AT], Ordering::Release);
        }
    }

    /// `None` if this node does not guard that address.
    pub fn row(&self, index: usize) -> Option<GuardRow> {
        let row = *self.rows.get(index)?;
        let from = &self.words.get()[row * GUARD_WORDS..][..GUARD_WORDS];
        let mut words = [0u64; GUARD_WORDS];
        for (word, source) in words.iter_mut().zip(from) {
            *word = source.load(Ordering::Acquire);
        }
        Some(bytemuck::cast(words))
    }
}

/// The `local` map: what this node says of itself.
#[derive(Debug)]
pub struct LocalView {
    words: Words,
}

impl LocalView {
    /// Of the map's descriptor.
    pub fn map(fd: impl AsFd) -> Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Ok(Self {
            words: Words::map(fd, size_of::<Local>(), protection)?,
        })
    }

    fn store(&self, at: usize, word: u64) {
        self.words.get()[at / size_of::<u64>()].store(word, Ordering::Release);
    }

    /// Says who this agent is; from here on the kernel signs its probes.
    pub fn introduce(
        &self,
        incarnation: Incarnation,
        nonce: u64,
        key_id: u8,
        config_generation: u32,
        electorate: Electorate,
        now: Boottime,
    ) {
        self.write(&Local {
            voters: electorate.voters,
            config_version: electorate.version,
            counted_version: electorate.counted,
            incarnation: incarnation.0,
            nonce,
            config_generation,
            pulse_tick_at: now.as_nanos(),
            reason_tick_at: now.as_nanos(),
            state: NodeState::Starting as u8,
            key_id,
            ..Local::default()
        });
    }

    /// Says all of it anew.
    pub(crate) fn write(&self, local: &Local) {
        const INCARNATION: usize = std::mem::offset_of!(Local, incarnation);
        let words: [u64; LOCAL_WORDS] = bytemuck::cast(*local);
        for (index, word) in words.into_iter().enumerate() {
            if index != INCARNATION / size_of::<u64>() {
                self.store(index * size_of::<u64>(), word);
            }
        }
        // Last: while it is zero the kernel takes no agent to be there, and while it is an earlier agent's that
        // one.
        self.store(INCARNATION, local.incarnation);
    }

    pub fn pulse_tick(&self, now: Boottime) {
        self.store(std::mem::offset_of!(Local, pulse_tick_at), now.as_nanos());
    }

    pub fn reason_tick(&self, now: Boottime) {
        self.store(std::mem::offset_of!(Local, reason_tick_at), now.as_nanos());
    }

    /// When the slow side last ticked.
    pub fn reason_tick_at(&self) -> Boottime {
        const AT: usize = std::mem::offset_of!(Local, reason_tick_at) / size_of::<u64>();
        Boottime::from_nanos(self.words.get()[AT].load(Ordering::Acquire))
    }

    /// Only the pulse may call this, its siblings and [`LocalView::introduce`]: they share a word.
    pub fn set_state(&self, state: NodeState) {
        self.change(|local| local.state = state as u8);
    }

    /// How many groups this node serves, and where it is cut off.
    pub fn set_owned(&self, owned: Owned) {
        self.change(|local| local.groups_owned = owned.0);
    }

    /// The kernel seals probes with the key of this id from now on.
    pub fn set_key(&self, id: u8) {
        self.change(|local| local.key_id = id);
    }

    /// The number of this agent's latest report.
    pub fn set_report(&self, number: u32) {
        self.change(|local| local.report = number);
    }

    /// Which checks fail, and of which of them a process is `watched` by the kernel now: what it knows of any
    /// other is out of date, since we know better. Only the pulse may call this, as [`LocalView::set_state`].
    pub fn set_health(&self, health: Health, watched: Health) {
        let mut local = self.read();
        local.health = health.0;
        self.store_word(&local, std::mem::offset_of!(Local, health));
        // Only now, so that no heartbeat says neither.
        const KERNEL: usize = std::mem::offset_of!(Local, kernel_health) / size_of::<u64>();
        let word = &self.words.get()[KERNEL];
        let mut seen = word.load(Ordering::Acquire);
        while seen != 0 {
            let mut words = [0; LOCAL_WORDS];
            words[KERNEL] = seen;
            let mut local: Local = bytemuck::cast(words);
            let known = Health(local.kernel_health as u16);
            local.kernel_health = known.only(watched).0.into();
            let left: [u64; LOCAL_WORDS] = bytemuck::cast(local);
            // The kernel may add to it at the same time.
            match word.compare_exchange(seen, left[KERNEL], Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Which checks fail, as heartbeats say: what was set, and what the kernel has seen since.
    pub fn health(&self) -> Health {
        self.read().health()
    }

    /// What is to be the same of all nodes' configurations, as a number.
    pub fn set_generation(&self, generation: u32) {
        let mut local = self.read();
        local.config_generation = generation;
        self.store_word(&local, std::mem::offset_of!(Local, config_generation));
    }

    /// Whose votes this node goes by. Only the pulse may call this.
    pub fn set_electorate(&self, electorate: Electorate) {
        let mut local = self.read();
        local.voters = electorate.voters;
        local.config_version = electorate.version;
        local.counted_version = electorate.counted;
        self.store_word(&local, std::mem::offset_of!(Local, voters));
    }

    /// The load per mille.
    pub fn set_load(&self, load: u16) {
        let mut local = self.read();
        local.load = load;
        self.store_word(&local, std::mem::offset_of!(Local, load));
    }

    /// Changes the word that begins with `groups_owned`.
    fn change(&self, change: impl FnOnce(&mut Local)) {
        let mut local = self.read();
        change(&mut local);
        self.store_word(&local, std::mem::offset_of!(Local, groups_owned));
    }

    fn store_word(&self, local: &Local, at: usize) {
        let words: [u64; LOCAL_WORDS] = bytemuck::cast(*local);
        self.store(at, words[at / size_of::<u64>()]);
    }

    pub fn read(&self) -> Local {
        let mut words = [0u64; LOCAL_WORDS];
        for (word, source) in words.iter_mut().zip(self.words.get()) {
            *word = source.load(Ordering::Acquire);
        }
        bytemuck::cast(words)
    }
}

#[cfg(test)]
mod tests {
    use std::{os::fd::OwnedFd, thread};

    use nix::{
        sys::memfd::{MFdFlags, memfd_create},
        unistd::ftruncate,
    };

    use super::*;

    /// Memory as that of the map `local`.
    fn memory() -> OwnedFd {
        let fd = memfd_create("local", MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&fd, size_of::<Local>() as i64).unwrap();
        fd
    }

    #[test]
    fn what_the_agent_says_of_its_health_leaves_all_else_as_it_is() {
        let local = LocalView::map(memory()).unwrap();
        let electorate = Electorate {
            version: 3,
            counted: 2,
            voters: 12,
        };
        local.introduce(
            Incarnation(7),
            8,
            9,
            10,
            electorate,
            Boottime::from_nanos(11),
        );
        let before = local.read();
        let health = Health::of(2, true);
        local.set_health(health, Health::default());
        let expected = Local {
            health: health.0,
            ..before
        };
        assert_eq!(local.read(), expected);
        local.set_generation(12);
        assert_eq!(local.health(), health);
    }

    #[test]
    fn nothing_that_the_kernel_adds_is_lost_while_the_agent_takes_away() {
        const ROUNDS: u16 = 20_000;
        let fd = memory();
        let local = LocalView::map(&fd).unwrap();
        let kernel = Words::map(&fd, size_of::<Local>(), ProtFlags::PROT_WRITE).unwrap();
        let added = Local {
            kernel_health: Health::of(3, false).0.into(),
            ..Local::default()
        };
        let added: [u64; LOCAL_WORDS] = bytemuck::cast(added);
        let at = std::mem::offset_of!(Local, kernel_health) / size_of::<u64>();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    kernel.get()[at].fetch_or(added[at], Ordering::Relaxed);
                    // Nobody else adds it, and it is not to be taken away: its process is watched.
                    assert!(local.health().fails(3));
                }
            });
            for round in 0..ROUNDS {
                let own = Health::of(usize::from(round % 2), false);
                local.set_health(own, Health::of(3, true));
                assert!(local.health().fails(usize::from(round % 2)));
            }
        });
        local.set_health(Health::default(), Health::default());
        assert_eq!(local.health(), Health::default());
    }
}
