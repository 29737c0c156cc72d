//! How often a client that repeats an unknown payment has its facilitator or its chain asked.
//!
//! The first retry asks at once; each that asked in vain lengthens the pause before the next may. What the reconciler
//! finds out meanwhile is in the ledger for every retry to see.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ledger::UnixMillis;
use crate::x402::PaymentId;

/// Payments that are remembered: beyond that, one that is not is asked for at each retry.
const REMEMBERED_MAX: usize = 10_000;

/// When retries last asked in vain, by payment.
#[derive(Debug)]
pub struct Paces {
    asked: Mutex<HashMap<PaymentId, Pace>>,
    first: Duration,
    longest: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    asked_at: UnixMillis,
    pause: Duration,
}

impl Pace {
    /// How much of the pause is left. A clock that was set back leaves none.
    fn left(self, now: UnixMillis) -> Option<Duration> {
        let since = Duration::from_millis(u64::try_from(now.saturating_sub(self.asked_at)).ok()?);
        self.pause.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// Whether nobody has come back for so long that the next one is a first again.
    fn is_forgotten(self, longest: Duration, now: UnixMillis) -> bool {
        Pace { pause: self.pause.saturating_add(longest), ..self }.left(now).is_none()
    }
}

impl Paces {
    /// Pauses of the first length, then twice as long each time, up to the longest.
    pub fn new((first, longest): (Duration, Duration)) -> Paces {
        Paces { asked: Mutex::default(), first, longest }
    }

    /// Until a retry may ask for this payment again; `None`: now.
    pub fn pause(&self, id: &PaymentId, now: UnixMillis) -> Option<Duration> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(id)?.left(now)
    }

    /// A retry has asked, and it is still unknown: until the next may.
    pub fn asked_in_vain(&self, id: &PaymentId, now: UnixMillis) -> Duration {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = asked.get(id).filter(|pace| !pace.is_forgotten(self.longest, now));
        let pause = earlier.map_or(self.first, |pace| self.longest.min(pace.pause.saturating_mul(2)));
        if asked.len() >= REMEMBERED_MAX {
            asked.retain(|_, pace| !pace.is_forgotten(self.longest, now));
        }
        if asked.len() < REMEMBERED_MAX || asked.contains_key(id) {
            asked.insert(id.clone(), Pace { asked_at: now, pause });
        }
        pause
    }

    /// It is unknown no more.
    pub fn found_out(&self, id: &PaymentId) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> PaymentId {
        PaymentId::parse(&format!("{n:064x}")).unwrap()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_when_nobody_has_come_for_long() {
        let paces = Paces::new((seconds(2), seconds(5)));
        assert_eq!(paces.pause(&id(1), 0), None, "the first retry asks at once");
        assert_eq!(paces.asked_in_vain(&id(1), 0), seconds(2));
        assert_eq!(paces.pause(&id(1), 500), Some(Duration::from_millis(1_500)));
        assert_eq!((paces.pause(&id(1), 1_999), paces.pause(&id(1), 2_000)), (Some(Duration::from_millis(1)), None));
        assert_eq!(paces.pause(&id(1), -1), None, "the clock was set back");
        assert_eq!(paces.pause(&id(2), 0), None, "another payment's");
        assert_eq!(paces.asked_in_vain(&id(1), 2_000), seconds(4));
        assert_eq!(paces.asked_in_vain(&id(1), 6_000), seconds(5));
        assert_eq!(paces.asked_in_vain(&id(1), 15_999), seconds(5));
        assert_eq!(paces.asked_in_vain(&id(1), 25_999), seconds(2), "nobody came for twice the longest");
        paces.found_out(&id(1));
        assert_eq!(paces.pause(&id(1), 25_999), None);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let paces = Paces::new((seconds(2), seconds(5)));
        for n in 0..=REMEMBERED_MAX {
            paces.asked_in_vain(&id(n), 0);
        }
        assert!(paces.pause(&id(REMEMBERED_MAX - 1), 1).is_some());
        assert_eq!(paces.pause(&id(REMEMBERED_MAX), 1), None, "one more than there is room for");
        paces.asked_in_vain(&id(REMEMBERED_MAX), 60_000);
        assert!(paces.pause(&id(REMEMBERED_MAX), 60_001).is_some(), "those of long ago have made room");
    }
}
