//! The map `local`: what this node says of itself in every heartbeat.

use std::{os::fd::AsFd, sync::atomic::Ordering};

use anyhow::Result;
use heartbeat_common::{
    maps::Local,
    time::Boottime,
    wire::{Health, Incarnation, NodeState, Owned, VoterSet},
};
use nix::sys::mman::ProtFlags;

use super::Words;

/// The `local` map: what this node says of itself.
#[derive(Debug)]
pub struct LocalView {
    words: Words,
}

const LOCAL_WORDS: usize = size_of::<Local>() / size_of::<u64>();

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
        voter_set: VoterSet,
        now: Boottime,
    ) {
        self.write(&Local {
            voters: voter_set.voters,
            config_version: voter_set.version,
            counted_version: voter_set.counted,
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
        // Last: the kernel takes the agent with this incarnation to be there, or none if it is
        // zero.
        self.store(INCARNATION, local.incarnation);
    }

    pub fn pulse_tick(&self, now: Boottime) {
        self.store(std::mem::offset_of!(Local, pulse_tick_at), now.as_nanos());
    }

    pub fn reason_tick(&self, now: Boottime) {
        self.store(std::mem::offset_of!(Local, reason_tick_at), now.as_nanos());
    }

    /// When the control task last ticked.
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

    /// Which checks fail, and of which of them a process is `watched` by the kernel now: what it
    /// knows of any other is out of date, since we know better. Only the pulse may call this, as
    /// [`LocalView::set_state`].
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
    pub fn set_voter_set(&self, voter_set: VoterSet) {
        let mut local = self.read();
        local.voters = voter_set.voters;
        local.config_version = voter_set.version;
        local.counted_version = voter_set.counted;
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
        let voter_set = VoterSet {
            version: 3,
            counted: 2,
            voters: 12,
        };
        local.introduce(
            Incarnation(7),
            8,
            9,
            10,
            voter_set,
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
