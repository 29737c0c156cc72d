//! What happened and could not be written: kept in memory, and written as soon as the ledger works again.
//!
//! A keeper has its payment's hold. A client that comes back meanwhile waits for it as for a settlement, and nobody
//! charges or delivers a second time what is only not written.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::job::Job;
use crate::gate::unix_millis;
use crate::ledger::{LedgerError, Transition};

impl Job {
    /// Writes down what has happened. Where the ledger is unavailable, a task of its own goes on trying.
    pub(super) async fn keep(self: &Arc<Job>, happened: Transition) -> Result<(), LedgerError> {
        let written = self.shared.record(&self.id, happened.clone()).await;
        if let Err(error @ LedgerError::Unavailable(_)) = &written {
            warn!(
                payment_id = %self.id, outcome = happened.name(), %error,
                "not written: it is kept, and written as soon as the ledger works again"
            );
            self.shared.keepers.spawn(self.clone().write_later(happened));
        }
        written
    }

    async fn write_later(self: Arc<Job>, happened: Transition) {
        let (mut pause, longest) = self.shared.patience.keep;
        while !self.is_last_try_after(pause).await {
            pause = longest.min(pause.saturating_mul(2));
            // Its client was not told: what a settlement opens counts from when it is written.
            let written = self.shared.write(&self.id, &happened, unix_millis(), true).await;
            if self.is_over(&happened, written).await {
                return;
            }
        }
        let written = self.shared.record(&self.id, happened.clone()).await;
        if !self.is_over(&happened, written).await {
            error!(
                payment_id = %self.id, outcome = happened.name(),
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
    async fn is_over(&self, happened: &Transition, written: Result<(), LedgerError>) -> bool {
        match written {
            Ok(()) => {
                info!(payment_id = %self.id, outcome = happened.name(), "written, now that the ledger works again")
            }
            Err(conflict @ LedgerError::Conflict { .. }) => {
                info!(payment_id = %self.id, %conflict, "others have found it out, or are about to");
            }
            Err(LedgerError::Unavailable(_)) => return false,
        }
        if let Transition::Settled { .. } = happened {
            // Its request is over: who comes next delivers it, here or elsewhere.
            self.let_go().await;
        }
        true
    }
}
