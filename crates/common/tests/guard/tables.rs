//! A double of the guard's map and clock in userspace memory.
//!
//! The tests of this crate use it, and so does `heartbeat-tests`, which includes this file and
//! compares the kernel programs with it.

use std::{collections::HashMap, net::IpAddr};

use heartbeat_common::{
    guard::{Direction, GuardTables},
    maps::{Address, GuardRow},
};

/// The guarded addresses, in the order of their rows.
#[derive(Clone, Debug, Default)]
pub struct Guarded {
    pub rows: Vec<GuardRow>,
    pub index: HashMap<Address, usize>,
    pub clock: u64,
    /// The number of readings of the clock.
    pub readings: u32,
    /// The number of look-ups of an address.
    pub lookups: u32,
    /// Whether packets are of another network namespace than the addresses.
    pub elsewhere: bool,
}

impl Guarded {
    /// The addresses, each with the end of its lease.
    pub fn new(addresses: &[(IpAddr, u64)]) -> Self {
        let mut guarded = Self::default();
        for &(address, open_until) in addresses {
            let address = address.into();
            guarded.index.insert(address, guarded.rows.len());
            guarded.rows.push(GuardRow {
                address,
                open_until,
                ..GuardRow::default()
            });
        }
        guarded
    }
}

impl GuardTables for Guarded {
    type Row = usize;

    fn now(&mut self) -> u64 {
        self.readings += 1;
        self.clock
    }

    fn row(&mut self, address: &Address) -> Option<usize> {
        self.lookups += 1;
        self.index.get(address).copied()
    }

    fn open_until(&self, row: usize) -> u64 {
        self.rows[row].open_until
    }

    fn count_drop(&mut self, row: usize, direction: Direction) {
        match direction {
            Direction::In => self.rows[row].dropped_in += 1,
            Direction::Out => self.rows[row].dropped_out += 1,
        }
    }

    fn is_here(&self) -> bool {
        !self.elsewhere
    }
}
