//! Works through unknown payments by itself, for as long as the gateway runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::{Effort, Resolver, Witnesses};
use crate::ledger::{Recovered, UnixMillis};

/// How often it looks what is due: the question costs one look into an index of the few that are unknown.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For which a payment is left to its client, who was told to come back at once and whose retry does more.
const LEFT_ALONE: Duration = Duration::from_secs(3);
/// How often it takes in what other gateways that are gone have left.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// Payments that are asked for at once: a facilitator that has come back is not to be knocked over.
const TRIES_MAX: usize = 8;

/// What the reconciler works with.
pub struct Reconciler {
    /// Writes down what it found.
    pub resolver: Arc<Resolver>,
    /// Each try runs here: a shutdown waits for it.
    pub tasks: TaskTracker,
    /// Unix time in milliseconds.
    pub clock: fn() -> UnixMillis,
}

impl Reconciler {
    /// Runs until it is dropped. `witnesses` are asked for before each round: a reload changes them.
    pub async fn run(self, witnesses: impl Fn() -> Arc<Witnesses>) {
        let tries = Arc::new(Semaphore::new(TRIES_MAX));
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut swept = Instant::now();
        loop {
            looks.tick().await;
            if swept.elapsed() >= SWEEP_EVERY {
                self.sweep().await;
                swept = Instant::now();
            }
            self.round(&tries, &witnesses).await;
        }
    }

    async fn round(&self, tries: &Arc<Semaphore>, witnesses: &impl Fn() -> Arc<Witnesses>) {
        let room = u32::try_from(tries.available_permits()).unwrap_or(0);
        if room == 0 {
            return;
        }
        let now = (self.clock)();
        let due = match self.resolver.claim_due(before(now, LEFT_ALONE), now, room).await {
            Ok(due) => due,
            Err(error) => return error!(%error, "unknown payments cannot be looked up"),
        };
        let asked = witnesses();
        for unresolved in due {
            let Ok(permit) = tries.clone().try_acquire_owned() else { return };
            let (resolver, witnesses) = (self.resolver.clone(), asked.clone());
            self.tasks.spawn(async move {
                // What went wrong was logged; the claim runs out, and the payment is due again.
                drop(resolver.resolve(&witnesses, unresolved, Effort::Look, now).await);
                drop(permit);
            });
        }
    }

    async fn sweep(&self) {
        match self.resolver.ledger.sweep((self.clock)()).await {
            Ok(Recovered { released: 0, unknown: 0 }) => {}
            Ok(Recovered { released, unknown }) => {
                warn!(released, unknown, "another gateway ended in the middle of payments: they were taken over");
            }
            Err(error) => error!(%error, "what other gateways have left cannot be looked up"),
        }
    }
}

fn before(at: UnixMillis, length: Duration) -> UnixMillis {
    at.saturating_sub(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}
