//! The programs' counters. All are read by one system call, since a campaign reads them after each
//! frame.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    maps::{IterableMap as _, MapData, PerCpuArray},
    util::nr_cpus,
};
use heartbeat_common::verdict::{self, Verdict};

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd`, include/uapi/linux/bpf.h.
const LOOKUP_BATCH: libc::c_int = 24;

/// The `batch` of `union bpf_attr`, in the same file.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    elem_flags: u64,
    flags: u64,
}

pub(super) struct Counters {
    map: PerCpuArray<MapData, u64>,
    /// A counter of each CPU for each verdict.
    values: Vec<u64>,
    known: [u64; verdict::COUNT],
}

impl Counters {
    pub(super) fn new(map: PerCpuArray<MapData, u64>) -> Result<Self> {
        let cpus = nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))?;
        Ok(Self {
            map,
            values: vec![0; cpus * verdict::COUNT],
            known: [0; verdict::COUNT],
        })
    }

    /// The counter that moved since the last call; more than one, or by more than 1, is an error.
    pub(super) fn moved(&mut self) -> Result<Option<Verdict>> {
        self.read().context("could not read the counters")?;
        let cpus = self.values.len() / verdict::COUNT;
        let mut moved = None;
        for verdict in Verdict::ALL {
            let at = verdict as usize;
            let count = self.values[at * cpus..][..cpus].iter().sum::<u64>();
            match (count - self.known[at], moved) {
                (0, _) => {}
                (1, None) => moved = Some(verdict),
                (by, _) => bail!(
                    "one frame moved {} by {by} and also {moved:?}",
                    verdict.name()
                ),
            }
            self.known[at] = count;
        }
        Ok(moved)
    }

    fn read(&mut self) -> Result<()> {
        let mut keys = [0_u32; verdict::COUNT];
        let mut next = 0_u32;
        let mut batch = Batch {
            in_batch: 0,
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: verdict::COUNT as u32,
            map: self.map.map().fd().as_fd().as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes `count` keys and, for each, one value of each CPU, for which
        // there is room, and one key to `out_batch`; all of it lives until the call returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                LOOKUP_BATCH,
                &raw mut batch,
                size_of::<Batch>(),
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error().into());
        }
        let all = (0..).zip(keys).all(|(number, key)| number == key);
        ensure!(all && batch.count as usize == keys.len(), "read {keys:?}");
        Ok(())
    }
}
