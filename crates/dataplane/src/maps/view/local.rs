//! The map `local`: this node's announcement in every heartbeat.

use std::{os::fd::AsFd, sync::atomic::Ordering};

use anyhow::Result;
use heartbeat_common::{
    maps::Local,
    time::Boottime,
    wire::{Health, Incarnation, NodeState, Owned, VoterSet},
};
use nix::sys::mman::ProtFlags;

use super::Words;

/// The `local` map: this node's announcement.
#[derive(Debug)]
pub struct LocalView {
    words: Words,
}

const LOCAL_WORDS: usize = size_of::<Local>() / size_of::<u64>();

impl LocalView {
    /// Maps the memory of the map with this descriptor.
    pub fn map(fd: impl AsFd) -> Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Ok(Self {
            words: Words::map(fd, size_of::<Local>(), protection)?,
        })
    }

    fn store(&self, at: usize, word: u64) {
        self.words.get()[at / size_of::<u64>()].store(word, Ordering::Release);
    }

    /// Announces this agent. From here on the kernel signs its probes.
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
            claiming_version: voter_set.claiming,
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

    /// Writes all fields.
    pub(crate) fn write(&self, local: &Local) {
        const INCARNATION: usize = std::mem::offset_of!(Local, incarnation);
        let words: [u64; LOCAL_WORDS] = bytemuck::cast(*local);
        for (index, word) in words.into_iter().enumerate() {
            if index != INCARNATION / size_of::<u64>() {
                self.store(index * size_of::<u64>(), word);
            }
        }
        // The incarnation comes last: a value other than zero means to the kernel that this agent
        // is present.
        self.store(INCARNATION, local.incarnation);
    }

    pub fn pulse_tick(&self, now: Boottime) {
        self.store(std::mem::offset_of!(Local, pulse_tick_at), now.as_nanos());
    }

    pub fn reason_tick(&self, now: Boottime) {
        self.store(std::mem::offset_of!(Local, reason_tick_at), now.as_nanos());
    }

    /// The time of the control task's last tick.
    pub fn reason_tick_at(&self) -> Boottime {
        const AT: usize = std::mem::offset_of!(Local, reason_tick_at) / size_of::<u64>();
        Boottime::from_nanos(self.words.get()[AT].load(Ordering::Acquire))
    }

    /// Sets the state. Only the pulse may call this, its siblings and [`LocalView::introduce`]:
    /// they share a word.
    pub fn set_state(&self, state: NodeState) {
        self.change(|local| local.state = state as u8);
    }

    /// Sets the number of groups that this node serves, and the networks from which it is cut off.
    pub fn set_owned(&self, owned: Owned) {
        self.change(|local| local.groups_owned = owned.0);
    }

    /// Makes the kernel seal probes with the key of this id from now on.
    pub fn set_key(&self, id: u8) {
        self.change(|local| local.key_id = id);
    }

    /// Sets the number of this agent's latest report.
    pub fn set_report(&self, number: u32) {
        self.change(|local| local.report = number);
    }

    /// Sets the failing checks, and the checks with a process `watched` by the kernel now. What the
    /// kernel has seen of other checks is out of date and is cleared. Only the pulse may call this,
    /// as with [`LocalView::set_state`].
    pub fn set_health(&self, health: Health, watched: Health) {
        let mut local = self.read();
        local.health = health.0;
        self.store_word(&local, std::mem::offset_of!(Local, health));
        // The kernel's bits are cleared afterwards, so that no heartbeat lacks both.
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
            // The kernel may set further bits at the same time.
            match word.compare_exchange(seen, left[KERNEL], Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// The failing checks in heartbeats: those that were set here, and those that the kernel added.
    pub fn health(&self) -> Health {
        self.read().health()
    }

    /// Sets the digest of the configuration that all nodes should share.
    pub fn set_generation(&self, generation: u32) {
        let mut local = self.read();
        local.config_generation = generation;
        self.store_word(&local, std::mem::offset_of!(Local, config_generation));
    }

    /// Sets the nodes whose votes count for this node. Only the pulse may call this.
    pub fn set_voter_set(&self, voter_set: VoterSet) {
        let mut local = self.read();
        local.voters = voter_set.voters;
        local.config_version = voter_set.version;
        local.claiming_version = voter_set.claiming;
        self.store_word(&local, std::mem::offset_of!(Local, voters));
    }

    /// Sets the load, per mille.
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

    /// Memory with the size of the map `local`.
    fn memory() -> OwnedFd {
        let fd = memfd_create("local", MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&fd, size_of::<Local>() as i64).unwrap();
        fd
    }

    #[test]
    fn health_of_the_agent_leaves_other_fields_as_they_are() {
        let local = LocalView::map(memory()).unwrap();
        let voter_set = VoterSet {
            version: 3,
            claiming: 2,
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
                    // Nothing else adds the bit, and it must not be cleared: its process is
                    // watched.
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
