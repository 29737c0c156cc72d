//! What became of payments whose outcome nobody knows.
//!
//! [`witness`] asks those who can say, [`verdict`] is the table of what their answers prove, and the [`Resolver`]
//! writes that into the ledger: for a client that came back, for an operator, and by itself ([`reconciler`]), one worker
//! at a time for each payment.

pub mod reconciler;
pub mod verdict;
pub mod witness;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tracing::{error, info, warn};

pub use self::verdict::{Resolution, Source, Verdict};
pub use self::witness::{Effort, Witnesses};
use crate::ledger::{Claim, Ledger, LedgerError, Postponement, Record, Transition, UnixMillis, Unresolved};
use crate::telemetry::{self, Metrics, ResolvedBy};
use crate::x402::PaymentId;

/// For which one try may take: a settlement that waits for its block, and a chain that is asked some questions.
const TRY_MAX: Duration = Duration::from_secs(60);
/// For which a try's claim holds: longer than the try, or two would be at it.
const CLAIM: Duration = Duration::from_secs(75);

/// Between the first try and the second.
const PAUSE_MIN: Duration = Duration::from_secs(2);
/// The pauses double up to here; each is lengthened at random by up to as much again.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// After so many doublings the longest pause is reached.
const DOUBLINGS_MAX: u32 = 16;

/// Who is named where the chain said that a payment settled and no facilitator had been asked.
const BY_CHAIN: &str = "chain";

/// Finds out, and writes down what it found.
pub struct Resolver {
    ledger: Arc<dyn Ledger>,
    metrics: Arc<Metrics>,
    /// This process, unique over all that share the ledger.
    worker: String,
}

impl Resolver {
    /// A worker on this ledger.
    pub fn new(ledger: Arc<dyn Ledger>, metrics: Arc<Metrics>) -> Resolver {
        Resolver { ledger, metrics, worker: format!("{:032x}", rand::random::<u128>()) }
    }

    /// Tries one payment now. `None`: it is unknown no more, or somebody else is at it.
    pub async fn resolve_now(
        &self,
        witnesses: &Witnesses,
        id: &PaymentId,
        effort: Effort,
        now: UnixMillis,
    ) -> Result<Option<Resolution>, LedgerError> {
        match self.ledger.claim(id, self.claim(now)).await? {
            Some(unresolved) => self.resolve(witnesses, unresolved, effort, now).await.map(Some),
            None => Ok(None),
        }
    }

    /// Payments whose next try was due by then, for this worker.
    async fn claim_due(&self, by: UnixMillis, now: UnixMillis, limit: u32) -> Result<Vec<Unresolved>, LedgerError> {
        self.ledger.claim_due(Claim { now: by, ..self.claim(now) }, limit).await
    }

    fn claim(&self, now: UnixMillis) -> Claim<'_> {
        Claim { worker: &self.worker, now, until: after(now, CLAIM) }
    }

    /// Asks about a payment that this worker has claimed since `began`.
    async fn resolve(
        &self,
        witnesses: &Witnesses,
        unresolved: Unresolved,
        effort: Effort,
        began: UnixMillis,
    ) -> Result<Resolution, LedgerError> {
        let started = tokio::time::Instant::now();
        let asked = tokio::time::timeout(TRY_MAX, witnesses.ask(&unresolved, effort)).await;
        let resolution = asked.unwrap_or_else(|_| Resolution::out_of_time(TRY_MAX));
        let now = after(began, started.elapsed());
        self.metrics.resolution(label(resolution.by), resolution.verdict.label());
        self.write(&unresolved, &resolution, now).await?;
        Ok(resolution)
    }

    async fn write(
        &self,
        unresolved: &Unresolved,
        resolution: &Resolution,
        now: UnixMillis,
    ) -> Result<(), LedgerError> {
        let record = &unresolved.record;
        let (id, by, tries) = (&record.id, resolution.by.name(), unresolved.tries.saturating_add(1));
        let written = match &resolution.verdict {
            Verdict::Settled { transaction, payer } => {
                let settled = Transition::Settled {
                    facilitator: record.facilitator.clone().unwrap_or_else(|| BY_CHAIN.into()),
                    transaction: transaction.clone().unwrap_or_default(),
                    payer: payer.clone(),
                };
                self.settled(id, settled, now).await
            }
            Verdict::Failed { why } => {
                self.ledger.advance(id, Transition::Failed { error: why.as_str().into() }, now).await
            }
            Verdict::Unknown { why, transaction } => {
                let next_try_at = after(now, pause(unresolved.tries));
                let (transaction, error) = (transaction.clone(), why.as_str().into());
                self.ledger.postpone(id, &self.worker, Postponement { next_try_at, transaction, error }).await
            }
        };
        match written {
            Ok(()) => {}
            // Another try found it out first, or this one's claim ran out.
            Err(LedgerError::Conflict { .. }) => return Ok(()),
            Err(error @ LedgerError::Unavailable(_)) => {
                error!(payment_id = %id, by, %error, "found out, and not written: it will be asked for again");
                return Err(error);
            }
        }
        match &resolution.verdict {
            Verdict::Settled { transaction, .. } => {
                let transaction = transaction.as_deref().or(record.transaction.as_deref()).unwrap_or_default();
                info!(payment_id = %id, by, transaction, tries, "an unknown payment turned out to be settled");
                let amount = record.amount.to_f64_lossy();
                self.metrics.for_route(record.route.clone()).settled(record.network.caip2(), &record.asset, amount);
            }
            Verdict::Failed { why } => {
                info!(payment_id = %id, by, why, tries, "an unknown payment turned out to have failed")
            }
            Verdict::Unknown { why, .. } => warn!(
                payment_id = %id, route = %record.route, by, why, tries,
                "a payment's outcome is still unknown and is asked for again: to ask now, farebox ledger resolve {id}"
            ),
        }
        Ok(())
    }
}

impl Resolver {
    /// Tried once more where the answer was lost: what was carried out all the same is this worker's to count.
    async fn settled(&self, id: &PaymentId, settled: Transition, now: UnixMillis) -> Result<(), LedgerError> {
        match self.ledger.advance(id, settled.clone(), now).await {
            Err(LedgerError::Unavailable(_)) => {}
            written @ (Ok(()) | Err(LedgerError::Conflict { .. })) => return written,
        }
        match self.ledger.advance(id, settled, now).await {
            Err(conflict @ LedgerError::Conflict { .. }) => {
                // Nobody else looks while this worker claims it, but an operator may rule.
                let is_ours = |record: Record| record.settled_at == Some(now) && !record.by_operator;
                let record = self.ledger.find(id).await?;
                if record.is_some_and(is_ours) { Ok(()) } else { Err(conflict) }
            }
            written @ (Ok(()) | Err(LedgerError::Unavailable(_))) => written,
        }
    }
}

fn label(source: Source) -> ResolvedBy {
    match source {
        Source::Chain => ResolvedBy::Chain,
        Source::Facilitator => ResolvedBy::Facilitator,
    }
}

impl Verdict {
    fn label(&self) -> telemetry::Resolution {
        match self {
            Verdict::Settled { .. } => telemetry::Resolution::Settled,
            Verdict::Failed { .. } => telemetry::Resolution::Failed,
            Verdict::Unknown { .. } => telemetry::Resolution::Unknown,
        }
    }
}

fn after(at: UnixMillis, length: Duration) -> UnixMillis {
    at.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}

/// Until the next try, after so many in vain.
fn pause(tries: u32) -> Duration {
    let doublings = tries.min(DOUBLINGS_MAX);
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build();
    pauses.nth(usize::try_from(doublings).unwrap_or(usize::MAX)).unwrap_or(PAUSE_MAX)
}
