//! A request inside a window, before anything was delivered under its payment.
//!
//! The request that paid may have failed; the first that is then served in full, by the payment again or by its pass,
//! has delivered what was paid for. Nobody holds the payment for that: windows are for many at once.

use std::sync::Arc;

use tracing::error;

use super::keeper::Happened;
use crate::access::Remembered;
use crate::gate::Shared;
use crate::ledger::{LedgerError, Record, State, Transition};
use crate::x402::PaymentId;

/// What a request inside a window is to tell when it is over.
pub struct Undelivered {
    shared: Arc<Shared>,
    id: PaymentId,
    remembered: Remembered,
}

impl Undelivered {
    /// `None`: it is delivered, as far as is remembered, and there is nothing to do.
    pub(in crate::gate) fn of(shared: &Arc<Shared>, id: &PaymentId, remembered: Remembered) -> Option<Undelivered> {
        let is_owed = !remembered.delivery().is_made();
        is_owed.then(|| Undelivered { shared: shared.clone(), id: id.clone(), remembered })
    }

    /// The request is over. `delivered`: a response that the payment paid for was written in full.
    pub fn finish(self, delivered: bool) {
        if delivered && self.remembered.delivery().make() {
            self.shared.clone().outlive(self.write());
        }
    }

    async fn write(self) {
        if self.is_known_elsewhere().await {
            return;
        }
        let Undelivered { shared, id, .. } = self;
        let happened = Happened::unheld(shared, id.clone(), Transition::Delivered);
        if let Err(conflict @ LedgerError::Conflict { .. }) = happened.keep().await {
            error!(payment_id = %id, %conflict, "delivered, but not written: it may open its route again");
        }
    }

    /// Where only a pass has come, the ledger may have the delivery already, or be another than the pass's.
    async fn is_known_elsewhere(&self) -> bool {
        match &self.remembered {
            Remembered::Receipt(_) => return false,
            Remembered::Pass(_) => {}
        }
        let found = self.shared.ledger.find(&self.id).await;
        let is_owed = |record: Record| record.state == State::Settled && record.delivered_at.is_none();
        found.is_ok_and(|record| !record.is_some_and(is_owed))
    }
}
