//! What outlives every generation and every request.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::holds::Holds;
use super::pace::Paces;
use super::unix_millis;
use crate::access::{Readings, Receipts};
use crate::ledger::{Ledger, LedgerError, Record, Ruling, State, Transition, UnixMillis};
use crate::limit::Limits;
use crate::resolve::Resolver;
use crate::telemetry::Metrics;
use crate::x402::PaymentId;

/// What outlives every generation and every request.
pub struct Shared {
    /// Every payment's state.
    pub ledger: Arc<dyn Ledger>,
    /// The windows that are open, for a look-up without the ledger.
    pub receipts: Receipts,
    /// Which payments the headers were that opened them.
    pub readings: Readings,
    /// Who came how often.
    pub limits: Limits,
    /// Settlements and last writes that outlive their requests: a shutdown waits for them.
    pub tasks: TaskTracker,
    /// Outcomes that could not be written when they happened: each is tried again until it is, or until a drain.
    pub(super) keepers: TaskTracker,
    /// The process is about to end: whoever keeps something tries for the last time.
    pub(super) draining: CancellationToken,
    pub(super) holds: Holds,
    /// When clients' retries last asked in vain.
    pub(super) paces: Paces,
    pub(super) metrics: Arc<Metrics>,
    /// Finds out what became of unknown payments.
    pub(super) resolver: Arc<Resolver>,
    pub(super) patience: Patience,
}

/// How long a request waits for what others do with its payment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until it is known whether the money moved.
    pub(super) outcome: Duration,
    /// Then until the first response is delivered, where the route has no window.
    pub(super) delivery: Duration,
    /// Before the second look at a payment that another gateway has; longer before each further one.
    pub(super) look_again: Duration,
    /// Until it is found out what became of a payment whose outcome was unknown.
    pub(super) resolution: Duration,
    /// Before each new try to write down what has happened already.
    pub(super) write_again: &'static [Duration],
    /// Then between two tries of its keeper: the first pause, doubled up to the second.
    pub(super) keep: (Duration, Duration),
    /// Between two asks for one payment that retries bring about: the first pause, doubled up to the second.
    pub(super) ask_again: (Duration, Duration),
}

impl Patience {
    pub(super) const NORMAL: Patience = Patience {
        outcome: Duration::from_secs(30),
        delivery: Duration::from_secs(5),
        look_again: Duration::from_millis(10),
        resolution: Duration::from_secs(8),
        write_again: &[Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)],
        keep: (Duration::from_secs(1), Duration::from_secs(5)),
        ask_again: (Duration::from_secs(2), Duration::from_secs(10)),
    };
}

impl Shared {
    pub(super) fn new(
        ledger: Arc<dyn Ledger>,
        metrics: Arc<Metrics>,
        receipts_in_memory: usize,
        patience: Patience,
    ) -> Shared {
        Shared {
            resolver: Arc::new(Resolver::new(ledger.clone(), metrics.clone())),
            ledger,
            receipts: Receipts::new(receipts_in_memory, metrics.clone()),
            readings: Readings::new(receipts_in_memory),
            limits: Limits::default(),
            metrics,
            tasks: TaskTracker::new(),
            keepers: TaskTracker::new(),
            draining: CancellationToken::new(),
            holds: Holds::default(),
            paces: Paces::new(patience.ask_again),
            patience,
        }
    }

    /// Writes down what has happened already and must not be lost: tried again while the ledger cannot be written.
    pub(super) async fn record(&self, id: &PaymentId, transition: Transition) -> Result<(), LedgerError> {
        let now = unix_millis();
        let mut pauses = self.patience.write_again.iter();
        let mut in_doubt = false;
        loop {
            match self.write(id, &transition, now, in_doubt).await {
                Err(error @ LedgerError::Unavailable(_)) => {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    in_doubt = true;
                    tokio::time::sleep(*pause).await;
                }
                written @ (Ok(()) | Err(LedgerError::Conflict { .. })) => return written,
            }
        }
    }

    /// One try. `in_doubt`: an earlier one, whose answer was lost, may have been carried out.
    pub(super) async fn write(
        &self,
        id: &PaymentId,
        transition: &Transition,
        now: UnixMillis,
        in_doubt: bool,
    ) -> Result<(), LedgerError> {
        match self.ledger.advance(id, transition.clone(), now).await {
            Err(conflict @ LedgerError::Conflict { .. }) if in_doubt => {
                let record = self.ledger.find(id).await?;
                if record.is_some_and(|record| is_done(transition, &record)) { Ok(()) } else { Err(conflict) }
            }
            written => written,
        }
    }

    /// Runs what must outlive its request.
    pub(super) fn outlive(&self, work: impl Future<Output = ()> + Send + 'static) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(self.tasks.spawn_on(work, &runtime)),
            // The process ends; the next start finds in the ledger what was left.
            Err(_) => tracing::warn!("a payment's last write is left to the next start"),
        }
    }
}

/// Whether the record is what the transition makes of it.
fn is_done(transition: &Transition, record: &Record) -> bool {
    match transition {
        Transition::Settling => record.state == State::Settling,
        // Others who took the payment over do not know who was asked: what they found out is theirs.
        Transition::Settled { facilitator, .. } => {
            record.state == State::Settled && record.facilitator.as_ref() == Some(facilitator)
        }
        Transition::Ruled(Ruling::Settled { .. }) => record.state == State::Settled,
        Transition::Unknown { .. } => record.state == State::Unknown,
        Transition::Released { .. } | Transition::Failed { .. } | Transition::Ruled(Ruling::Failed) => {
            record.state == State::Failed
        }
        Transition::Delivered => record.delivered_at.is_some(),
    }
}
