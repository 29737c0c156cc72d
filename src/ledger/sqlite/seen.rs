//! Which ids the ledger may hold, in memory: a payment that is new need not be looked for in every era.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fastbloom::BloomFilter;
use rusqlite::{Connection, params};

use super::{place, read};
use crate::x402::PaymentId;

/// Ids that are kept by the first filter, at least; each further one takes as many as all before it.
const LEAST: usize = if cfg!(test) { 64 } else { 1 << 16 };
/// How often an id that was never seen passes for one that was, and is looked for in vain: 14 bits of memory for each.
const MISTAKEN: f64 = 0.001;

/// The ids that are in the ledger, and some that were.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: Mutex<Ids>,
    /// Whether those of before the start are among them. Until then any may be.
    complete: AtomicBool,
}

#[derive(Debug, Default)]
struct Ids {
    known: Filters,
    /// What will take its place, while the file is read.
    next: Option<Filters>,
}

#[derive(Debug, Default)]
struct Filters(Vec<Filter>);

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
        self.ids().known.0.iter().any(|filter| filter.bits.contains(&head))
    }

    /// The ledger will hold it.
    pub(super) fn add(&self, id: &PaymentId) {
        let Some(head) = head_of(id) else { return self.complete.store(false, Ordering::Release) };
        let mut ids = self.ids();
        ids.known.extend(&[head], LEAST);
        if let Some(next) = &mut ids.next {
            next.extend(&[head], LEAST);
        }
    }

    /// Whether more than half of what is held was forgotten by a ledger of so many payments, and is not being read anew.
    pub(super) fn is_outgrown(&self, payments: usize) -> bool {
        let ids = self.ids();
        ids.next.is_none() && ids.known.held() > payments.saturating_mul(2).saturating_add(LEAST)
    }

    /// What is added from now on is held also by what [`learn`](Seen::learn) will have read. That must not begin before
    /// everything that was added earlier is in the file, or will never be: an id is added before its row is written.
    pub(super) fn begin(&self) {
        self.ids().next = Some(Filters::default());
    }

    /// Reads what the file holds, an era at a time, so that no read keeps the write-ahead log from being reused.
    pub(super) fn learn(&self, connection: &Connection) -> rusqlite::Result<()> {
        let read = self.read(connection);
        let mut ids = self.ids();
        let next = ids.next.take();
        read?;
        if let Some(next) = next {
            ids.known = next;
            self.complete.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn read(&self, connection: &Connection) -> rusqlite::Result<()> {
        let room = read::payments(connection)?;
        let mut heads = connection.prepare(HEADS)?;
        let mut next = place::older(connection, i64::MAX)?;
        while let Some(era) = next {
            let heads = heads.query_map(params![era], |row| row.get(0))?.collect::<rusqlite::Result<Vec<[u8; 8]>>>()?;
            if let Some(filters) = &mut self.ids().next {
                filters.extend(&heads, room);
            }
            next = place::older(connection, era)?;
        }
        Ok(())
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filters {
    fn extend(&mut self, heads: &[[u8; 8]], room: usize) {
        for head in heads {
            if self.0.last().is_none_or(|filter| filter.held >= filter.size) {
                let size = self.0.iter().map(|filter| filter.size).fold(0, usize::saturating_add);
                self.0.push(Filter::of(size.max(room).max(LEAST)));
            }
            if let Some(filter) = self.0.last_mut() {
                filter.bits.insert(head);
                filter.held = filter.held.saturating_add(1);
            }
        }
    }

    fn held(&self) -> usize {
        self.0.iter().map(|filter| filter.held).fold(0, usize::saturating_add)
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
        assert_eq!(seen.ids().known.0.iter().map(|filter| filter.size / LEAST).collect::<Vec<_>>(), [1, 1, 2, 4]);
        // Three filters are full: three in a thousand at most, of so many that chance does not make it thrice as many.
        let others = 100 * many;
        let mistaken = (many..many + others).filter(|n| seen.may_hold(&id(*n))).count() as u64;
        assert!(mistaken < others / 100, "{mistaken} of {others}");
    }

    #[test]
    fn it_is_outgrown_when_most_of_what_is_held_is_gone_until_it_is_read_anew() {
        let seen = Seen { complete: AtomicBool::new(true), ..Seen::default() };
        (0..3 * LEAST as u64).for_each(|n| seen.add(&id(n)));
        assert!(!seen.is_outgrown(LEAST) && seen.is_outgrown(LEAST - 1));
        seen.begin();
        assert!(!seen.is_outgrown(0));
    }
}
