//! A table of fixed size that counts exactly and forgets only what is over.
//!
//! Each key has one bucket of [`WAYS`] places, chosen by a hash that nobody outside can compute. A place is free again
//! when its time is over, so that nothing has ever to be swept, and no request waits for more than one bucket.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

/// Places of a bucket. With so many, few in ten thousand buckets are full when the table is half full.
pub(super) const WAYS: usize = 32;

/// What is done with a newcomer when all places of its bucket are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// It gets the place whose time is over soonest.
    ForgetTheNearest,
    /// It gets none.
    TurnAway,
}

/// What is remembered of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// When it may be forgotten, in microseconds.
    pub(super) until: u64,
    /// How often it was counted.
    pub(super) spent: u32,
}

struct Place {
    /// The key, by a second hash: that two keys of a bucket share it is less likely than that the machine errs.
    tag: u64,
    entry: Entry,
}

/// See the module.
pub(super) struct Table {
    buckets: Box<[Mutex<Vec<Place>>]>,
    by_bucket: RandomState,
    by_tag: RandomState,
    when_full: WhenFull,
}

impl Table {
    pub(super) fn new(buckets: usize, when_full: WhenFull) -> Table {
        Table {
            buckets: (0..buckets).map(|_| Mutex::default()).collect(),
            by_bucket: RandomState::new(),
            by_tag: RandomState::new(),
            when_full,
        }
    }

    /// Looks at a key's entry and changes it; a new one's time is over `now`. `None`: there is no place for it.
    pub(super) fn with<T>(&self, key: impl Hash, now: u64, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let hash = usize::try_from(self.by_bucket.hash_one(&key)).unwrap_or(usize::MAX);
        let bucket = self.buckets.get(hash.checked_rem(self.buckets.len())?)?;
        let tag = self.by_tag.hash_one(&key);
        // A place is changed by assignments that cannot panic half way.
        let mut places = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.iter_mut().find(|place| place.tag == tag) {
            return Some(act(&mut place.entry));
        }
        let mut entry = Entry { until: now, spent: 0 };
        if places.len() < WAYS && !places.iter().any(|place| place.entry.until <= now) {
            let result = act(&mut entry);
            places.push(Place { tag, entry });
            return Some(result);
        }
        let nearest = places.iter_mut().min_by_key(|place| place.entry.until)?;
        if nearest.entry.until > now && self.when_full == WhenFull::TurnAway {
            return None;
        }
        let result = act(&mut entry);
        *nearest = Place { tag, entry };
        Some(result)
    }

    /// Keys whose time is not over.
    pub(super) fn entries(&self, now: u64) -> usize {
        let bucket = |bucket: &Mutex<Vec<Place>>| {
            let places = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            places.iter().filter(|place| place.entry.until > now).count()
        };
        self.buckets.iter().map(bucket).sum()
    }

    /// Places that memory was taken for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let bucket = |bucket: &Mutex<Vec<Place>>| bucket.lock().unwrap_or_else(PoisonError::into_inner).capacity();
        self.buckets.iter().map(bucket).sum()
    }
}
