//! Which ids the ledger may hold, in memory: a payment that is new need not be looked for in every era.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use fastbloom::BloomFilter;
use rusqlite::{Connection, params};

use super::place;
use crate::x402::PaymentId;

/// Ids that are kept by the first filter, at least; each further one takes as many as all before it.
const LEAST: usize = 1 << 16;
/// How often an id that was never seen passes for one that was, and is looked for in vain: 14 bits of memory for each.
const MISTAKEN: f64 = 0.001;

/// The ids that were ever in the ledger. An id that was forgotten stays until the next start.
#[derive(Debug, Default)]
pub(super) struct Seen {
    filters: Mutex<Vec<Filter>>,
    /// Whether those of before the start are among them. Until then any may be.
    complete: AtomicBool,
}

#[derive(Debug)]
struct Filter {
    bits: BloomFilter,
    size: usize,
    held: usize,
}

impl Seen {
    /// Whether the ledger may hold this id. `false` is certain.
    pub(super) fn may_hold(&self, id: &PaymentId) -> bool {
        if !self.complete.load(Ordering::Acquire) {
            return true;
        }
        let Some(head) = head_of(id) else { return true };
        self.filters().iter().any(|filter| filter.bits.contains(&head))
    }

    /// The ledger will hold it.
    pub(super) fn add(&self, id: &PaymentId) {
        match head_of(id) {
            Some(head) => self.extend(&[head], LEAST),
            None => self.complete.store(false, Ordering::Release),
        }
    }

    /// Reads what the file holds, an era at a time, so that no read keeps the write-ahead log from being reused.
    pub(super) fn learn(&self, connection: &Connection) -> rusqlite::Result<()> {
        let payments = "SELECT sum(payments) FROM tally WHERE name <> 'undelivered'";
        let payments: i64 = connection.query_row(payments, [], |row| row.get(0))?;
        let room = usize::try_from(payments).unwrap_or(0);
        let mut heads = connection.prepare(HEADS)?;
        let mut next = place::older(connection, i64::MAX)?;
        while let Some(era) = next {
            let heads = heads.query_map(params![era], |row| row.get(0))?;
            self.extend(&heads.collect::<rusqlite::Result<Vec<[u8; 8]>>>()?, room);
            next = place::older(connection, era)?;
        }
        self.complete.store(true, Ordering::Release);
        Ok(())
    }

    fn extend(&self, heads: &[[u8; 8]], room: usize) {
        let mut filters = self.filters();
        for head in heads {
            if filters.last().is_none_or(|filter| filter.held >= filter.size) {
                let held = filters.iter().map(|filter| filter.size).fold(0, usize::saturating_add);
                filters.push(Filter::of(held.max(room).max(LEAST)));
            }
            if let Some(filter) = filters.last_mut() {
                filter.bits.insert(head);
                filter.held = filter.held.saturating_add(1);
            }
        }
    }

    fn filters(&self) -> std::sync::MutexGuard<'_, Vec<Filter>> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filter {
    fn of(size: usize) -> Filter {
        // Its own, so that nobody can make ids that pass for others.
        let bits = BloomFilter::with_false_pos(MISTAKEN).seed(&rand::random()).expected_items(size);
        Filter { bits, size, held: 0 }
    }
}

/// One era's, from its index alone.
pub(super) const HEADS: &str = "SELECT id_head FROM payment WHERE era = ?1";

/// What the index has of an id: its first eight bytes.
fn head_of(id: &PaymentId) -> Option<[u8; 8]> {
    let digits = id.as_str().get(..16)?;
    u64::from_str_radix(digits, 16).ok().map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> PaymentId {
        PaymentId::parse(&format!("{n:016x}").repeat(4)).unwrap()
    }

    #[test]
    fn until_all_is_known_anything_may_be_there() {
        let seen = Seen::default();
        seen.add(&id(1));
        assert!(seen.may_hold(&id(1)) && seen.may_hold(&id(2)));
    }

    #[test]
    fn what_was_added_is_held_however_many_there_are_and_little_else() {
        let seen = Seen { complete: AtomicBool::new(true), ..Seen::default() };
        let many = 5 * LEAST as u64;
        (0..many).for_each(|n| seen.add(&id(n)));
        assert!((0..many).all(|n| seen.may_hold(&id(n))));
        assert_eq!(seen.filters().iter().map(|filter| filter.size / LEAST).collect::<Vec<_>>(), [1, 1, 2, 4]);
        let mistaken = (many..2 * many).filter(|n| seen.may_hold(&id(*n))).count() as u64;
        assert!(mistaken < many / 100, "{mistaken} of {many}");
    }
}
