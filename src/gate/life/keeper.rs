//! What happened and could not be written: kept in memory, and written as soon as the ledger works again.
//!
//! A keeper has its payment's hold, where there is one. A client that comes back meanwhile waits for it as for a
//! settlement, and nobody charges or delivers a second time what is only not written.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::Money;
use super::job::Job;
use crate::gate::{Shared, unix_millis};
use crate::ledger::{LedgerError, Transition};
use crate::x402::PaymentId;

/// What has happened to a payment, until it is written.
pub(super) struct Happened {
    shared: Arc<Shared>,
    id: PaymentId,
    transition: Transition,
    /// Whose hold it is kept with.
    job: Option<Arc<Job>>,
    /// What moved: revenue as soon as it is written, by whichever try.
    money: Option<Money>,
}

impl Job {
    /// Writes down what has happened, as [`Happened::keep`].
    pub(super) async fn keep(self: &Arc<Job>, transition: Transition) -> Result<(), LedgerError> {
        let (shared, id) = (self.shared.clone(), self.id.clone());
        Happened { shared, id, transition, job: Some(self.clone()), money: None }.keep().await
    }

    /// Writes down that the money moved, and counts it.
    pub(super) async fn keep_settled(self: &Arc<Job>, facilitator: Arc<str>, money: Money) -> Result<(), LedgerError> {
        let (shared, id) = (self.shared.clone(), self.id.clone());
        let (transaction, payer) = (money.transaction.clone(), Some(money.payer.clone()));
        let transition = Transition::Settled { facilitator, transaction, payer };
        Happened { shared, id, transition, job: Some(self.clone()), money: Some(money) }.keep().await
    }
}

impl Happened {
    /// To a payment that nobody need hold.
    pub(super) fn unheld(shared: Arc<Shared>, id: PaymentId, transition: Transition) -> Happened {
        Happened { shared, id, transition, job: None, money: None }
    }

    /// Writes it down. Where the ledger is unavailable, a task of its own goes on trying.
    pub(super) async fn keep(self) -> Result<(), LedgerError> {
        let written = self.shared.record(&self.id, self.transition.clone()).await;
        if let Err(error @ LedgerError::Unavailable(_)) = &written {
            warn!(
                payment_id = %self.id, outcome = self.transition.name(), %error,
                "not written: it is kept, and written as soon as the ledger works again"
            );
            self.shared.keepers.clone().spawn(self.write_later());
        } else if written.is_ok() {
            self.count();
        }
        written
    }

    fn count(&self) {
        if let (Some(job), Some(money)) = (&self.job, &self.money) {
            job.metrics.settled(money.network.caip2(), &money.asset, money.amount.to_f64_lossy());
        }
    }

    async fn write_later(self) {
        let (mut pause, longest) = self.shared.patience.keep;
        while !self.is_last_try_after(pause).await {
            pause = longest.min(pause.saturating_mul(2));
            // Its client was not told: what a settlement opens counts from when it is written.
            let written = self.shared.write(&self.id, &self.transition, unix_millis(), true).await;
            if self.is_over(written).await {
                return;
            }
        }
        let written = self.shared.record(&self.id, self.transition.clone()).await;
        if !self.is_over(written).await {
            error!(
                payment_id = %self.id, outcome = self.transition.name(),
                "never written: the ledger is gone, and so is this gateway; the next start takes the payment for unknown"
            );
        }
    }

    /// Waits so long; `true`, and at once, where the process is about to end.
    async fn is_last_try_after(&self, pause: Duration) -> bool {
        tokio::select! {
            () = self.shared.draining.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        }
    }

    /// Whether nothing is left to write.
    async fn is_over(&self, written: Result<(), LedgerError>) -> bool {
        match written {
            Ok(()) => {
                self.count();
                info!(payment_id = %self.id, outcome = self.transition.name(), "written, now that the ledger works again");
            }
            Err(conflict @ LedgerError::Conflict { .. }) => {
                info!(payment_id = %self.id, %conflict, "others have found it out, or are about to");
            }
            Err(LedgerError::Unavailable(_)) => return false,
        }
        if let (Transition::Settled { .. }, Some(job)) = (&self.transition, &self.job) {
            // Its request is over: who comes next delivers it, here or elsewhere.
            job.let_go().await;
        }
        true
    }
}
