//! Old payments are forgotten, a few at a time, where the operator asks for it (`[ledger] keep`).
//!
//! Nobody can use a payment again because its row is gone. A settled one goes `keep` after its `validBefore` at the
//! earliest, and then its time is over: the gate refuses it for that alone, and so does the token's contract (EIP-3009),
//! which knows its nonce besides. One that says nothing of its time is kept for good. A failed one may be sent again with
//! its row and without it. `keep` is no shorter than any window or redelivery, and at least a day: a gateway's clock would
//! have to be wrong by more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::{Ledger, UnixMillis};
use crate::telemetry::Metrics;

/// How long a batch should take: payments that come meanwhile wait for it.
const BATCH_TIME: Duration = Duration::from_millis(20);
/// After each batch the ledger is left to payments for so many times as long as the batch took.
const REST: u32 = 3;
/// Payments of the smallest batch: a few milliseconds of work, however long its turn and the disk are waited for.
const BATCH_MIN: u32 = 128;
/// Payments of the largest batch.
const BATCH_MAX: u32 = 1024;

/// How often it does what.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Between two looks whether `keep` is another than before.
    tick: Duration,
    /// Between two rounds; each pause is lengthened at random by up to as much again, so that gateways that started
    /// together do not come together.
    round: Duration,
}

const PACE: Pace = Pace { tick: Duration::from_secs(1), round: Duration::from_secs(5 * 60) };

/// Forgets what is older than its operator wants to keep.
pub struct Pruner {
    /// What it prunes.
    pub ledger: Arc<dyn Ledger>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Unix time in milliseconds.
    pub clock: fn() -> UnixMillis,
}

impl Pruner {
    /// Runs until it is dropped. `keep` is asked for again and again: a reload changes it. `None`: nothing is forgotten.
    pub async fn run(self, keep: impl Fn() -> Option<Duration>) {
        self.run_at(PACE, keep).await;
    }

    async fn run_at(self, pace: Pace, keep: impl Fn() -> Option<Duration>) {
        let mut ticks = tokio::time::interval(pace.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = None;
        let mut next = Instant::now();
        loop {
            ticks.tick().await;
            let wanted = keep();
            if wanted == known && Instant::now() < next {
                continue;
            }
            known = wanted;
            if let Some(wanted) = wanted {
                self.round(wanted, &keep).await;
            }
            next = Instant::now() + pace.round.mul_f64(1.0 + rand::random::<f64>());
        }
    }

    /// Forgets all that is old now, batch by batch, for as long as that is what is wanted.
    async fn round(&self, wanted: Duration, keep: &impl Fn() -> Option<Duration>) {
        let until = before((self.clock)(), wanted);
        let mut limit = BATCH_MIN;
        let mut pruned: u64 = 0;
        while keep() == Some(wanted) {
            let began = Instant::now();
            let batch = match self.ledger.prune(until, limit).await {
                Ok(0) => break,
                Ok(batch) => batch,
                Err(error) => {
                    warn!(%error, "old payments could not be pruned: it is tried again later");
                    break;
                }
            };
            let took = began.elapsed();
            pruned = pruned.saturating_add(batch);
            self.metrics.pruned(batch);
            limit = next_limit(limit, took);
            tokio::time::sleep(took.saturating_mul(REST)).await;
        }
        if pruned > 0 {
            info!(payments = pruned, "payments older than ledger.keep were pruned");
        }
    }
}

/// How many payments the next batch takes, after one of so many took so long.
fn next_limit(limit: u32, took: Duration) -> u32 {
    if took > BATCH_TIME {
        (limit / 2).max(BATCH_MIN)
    } else if took.saturating_mul(2) < BATCH_TIME {
        limit.saturating_mul(2).min(BATCH_MAX)
    } else {
        limit
    }
}

fn before(at: UnixMillis, length: Duration) -> UnixMillis {
    at.saturating_sub(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::State;
    use crate::ledger::conformance::{bring, id};
    use crate::ledger::memory::MemoryLedger;

    const DAY: Duration = Duration::from_secs(86_400);
    /// When every payment of these tests is past its `validBefore`, and not yet by a day: 2027-01-15T08:00:00Z.
    const VALID_BEFORE: UnixMillis = 1_800_000_000_000;

    fn pruner(ledger: Arc<MemoryLedger>, metrics: &Arc<Metrics>, clock: fn() -> UnixMillis) -> Pruner {
        Pruner { ledger, metrics: metrics.clone(), clock }
    }

    async fn left(ledger: &MemoryLedger) -> u64 {
        ledger.counts().await.unwrap().settled
    }

    #[test]
    fn a_batch_takes_as_long_as_payments_may_wait_for_it() {
        let cases = [
            (200, Duration::ZERO, 400),
            (200, BATCH_TIME / 2, 200),
            (200, BATCH_TIME, 200),
            (400, BATCH_TIME * 2, 200),
            (BATCH_MIN, BATCH_TIME * 2, BATCH_MIN),
            (BATCH_MAX, Duration::ZERO, BATCH_MAX),
        ];
        for (limit, took, expected) in cases {
            assert_eq!(next_limit(limit, took), expected, "{limit} in {took:?}");
        }
    }

    #[tokio::test]
    async fn what_is_old_goes_in_one_round_and_what_is_not_yet_stays() {
        let ledger = Arc::new(MemoryLedger::default());
        for n in 0..2000 {
            bring(&*ledger, n, State::Settled).await;
        }
        let metrics = Metrics::new();
        let at = |clock| pruner(ledger.clone(), &metrics, clock);
        at(|| VALID_BEFORE + 86_400_000 - 1).round(DAY, &|| Some(DAY)).await;
        assert_eq!(left(&ledger).await, 2000, "kept for a day after validBefore");
        at(|| VALID_BEFORE + 86_400_000).round(DAY, &|| Some(DAY)).await;
        assert_eq!(left(&ledger).await, 0);
        assert!(metrics.render().contains("farebox_ledger_pruned_total 2000"));
    }

    #[tokio::test]
    async fn nothing_goes_unless_it_is_wanted_and_a_reload_is_seen_before_the_next_round() {
        let ledger = Arc::new(MemoryLedger::default());
        bring(&*ledger, 1, State::Settled).await;
        let (tell, wanted) = tokio::sync::watch::channel(None);
        let (asked, mut times) = tokio::sync::mpsc::unbounded_channel();
        let keep = move || {
            let _ = asked.send(());
            *wanted.borrow()
        };
        let pace = Pace { tick: Duration::from_millis(1), round: Duration::from_secs(3600) };
        let running = tokio::spawn(pruner(ledger.clone(), &Metrics::new(), || i64::MAX).run_at(pace, keep));
        for _ in 0..10 {
            times.recv().await.unwrap();
        }
        assert_eq!(left(&ledger).await, 1);
        tell.send(Some(DAY)).unwrap();
        while left(&ledger).await > 0 {
            times.recv().await.unwrap();
        }
        running.abort();
    }

    #[tokio::test]
    async fn what_grows_old_later_goes_in_a_later_round() {
        let ledger = Arc::new(MemoryLedger::default());
        let (asked, mut times) = tokio::sync::mpsc::unbounded_channel();
        let keep = move || {
            let _ = asked.send(());
            Some(DAY)
        };
        let pace = Pace { tick: Duration::from_millis(1), round: Duration::from_millis(1) };
        let running = tokio::spawn(pruner(ledger.clone(), &Metrics::new(), || i64::MAX).run_at(pace, keep));
        for n in 0..3 {
            bring(&*ledger, n, State::Settled).await;
            while ledger.find(&id(n)).await.unwrap().is_some() {
                times.recv().await.unwrap();
            }
        }
        running.abort();
    }

    #[tokio::test]
    async fn a_round_ends_when_it_is_wanted_no_more() {
        let ledger = Arc::new(MemoryLedger::default());
        for n in 0..200 {
            bring(&*ledger, n, State::Settled).await;
        }
        let asked = std::sync::atomic::AtomicU32::new(0);
        let once = || (asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0).then_some(DAY);
        pruner(ledger.clone(), &Metrics::new(), || i64::MAX).round(DAY, &once).await;
        assert_eq!(left(&ledger).await, 200 - u64::from(BATCH_MIN));
    }
}
