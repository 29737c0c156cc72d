//! How many calls to one facilitator may be under way at once, and who waits for how long.
//!
//! A verification that cannot begin soon is turned away: nothing has been done for it yet. A settlement comes after the
//! upstream has worked, so that it waits longer, and however many wait. Neither queue can grow beyond the requests in
//! flight, and nobody who was turned away has been asked about.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// For which a verification waits.
const VERIFY_WAIT: Duration = Duration::from_secs(1);
/// For which a settlement waits.
const SETTLE_WAIT: Duration = Duration::from_secs(5);

/// The calls to one facilitator.
pub(super) struct Slots {
    free: Semaphore,
    calls_max: usize,
    /// Verifications that wait; no more than there are calls.
    waiting: AtomicUsize,
}

/// Counts one that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    /// So many at once.
    pub(super) fn new(calls_max: usize) -> Slots {
        let calls_max = calls_max.min(Semaphore::MAX_PERMITS);
        Slots { free: Semaphore::new(calls_max), calls_max, waiting: AtomicUsize::new(0) }
    }

    /// For a verification; `None`: the facilitator has enough to do.
    pub(super) async fn verify(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(slot) = self.free.try_acquire() {
            return Some(slot);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.calls_max {
            return None;
        }
        self.within(VERIFY_WAIT).await
    }

    /// For a settlement; `None`: it was not begun.
    pub(super) async fn settle(&self) -> Option<SemaphorePermit<'_>> {
        self.within(SETTLE_WAIT).await
    }

    async fn within(&self, wait: Duration) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        tokio::time::timeout(wait, self.free.acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use futures::poll;

    #[tokio::test(start_paused = true)]
    async fn verifications_wait_for_a_moment_and_no_more_of_them_than_there_are_calls() {
        let slots = Slots::new(2);
        let held = [slots.verify().await.unwrap(), slots.verify().await.unwrap()];
        let waiting = [Box::pin(slots.verify()), Box::pin(slots.verify())].map(|mut slot| {
            assert!(futures::FutureExt::now_or_never(&mut slot).is_none());
            slot
        });
        assert!(futures::FutureExt::now_or_never(slots.verify()).expect("at once").is_none());

        drop(held);
        let slots_of_the_others: Vec<_> = join_all(waiting).await;
        assert!(slots_of_the_others.iter().all(Option::is_some), "both got one");

        let began = tokio::time::Instant::now();
        assert!(slots.verify().await.is_none());
        assert_eq!(began.elapsed(), VERIFY_WAIT, "on the test's own clock");
        assert_eq!(slots.waiting.load(Ordering::Relaxed), 0, "nobody waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_settlement_waits_longer_than_a_verification_and_however_many_wait() {
        let slots = Slots::new(1);
        let held = slots.verify().await.unwrap();
        let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(slots.settle())).collect();
        for slot in &mut waiting {
            assert!(poll!(slot).is_pending());
        }
        tokio::time::advance(SETTLE_WAIT - Duration::from_millis(1)).await;
        drop(held);
        for slot in &mut waiting {
            assert!(slot.await.is_some(), "each gives its own to the next");
        }
        let _held = slots.verify().await.unwrap();
        assert!(slots.settle().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_is_not_counted_any_more() {
        let slots = Slots::new(1);
        let _held = slots.verify().await.unwrap();
        for _ in 0..3 {
            let mut waiting = Box::pin(slots.verify());
            assert!(poll!(&mut waiting).is_pending(), "there is room to wait");
        }
    }
}
