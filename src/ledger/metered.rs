//! A ledger whose operations on the path of a payment are timed.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{
    Claim, Counts, Filter, GroupBy, Held, Ledger, LedgerError, NewPayment, Opening, Postponement, Record, Recovered,
    Reservation, StoredKey, Total, Transition, UnixMillis, Unresolved,
};
use crate::telemetry::{LedgerOperation, Metrics};
use crate::x402::PaymentId;

/// Passes every call on, and times those that a request waits for.
pub struct MeteredLedger {
    inner: Arc<dyn Ledger>,
    metrics: Arc<Metrics>,
}

impl MeteredLedger {
    /// Times this ledger.
    pub fn new(inner: Arc<dyn Ledger>, metrics: Arc<Metrics>) -> MeteredLedger {
        MeteredLedger { inner, metrics }
    }

    async fn timed<T>(&self, operation: LedgerOperation, call: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let result = call.await;
        self.metrics.ledger(operation, started.elapsed());
        result
    }
}

#[async_trait]
impl Ledger for MeteredLedger {
    async fn reserve(&self, payment: NewPayment, opening: Opening) -> Result<Reservation, LedgerError> {
        self.timed(LedgerOperation::Reserve, self.inner.reserve(payment, opening)).await
    }

    async fn advance(&self, id: &PaymentId, transition: Transition, now: UnixMillis) -> Result<(), LedgerError> {
        self.timed(LedgerOperation::Advance, self.inner.advance(id, transition, now)).await
    }

    async fn hold(&self, id: &PaymentId, now: UnixMillis) -> Result<Option<Held>, LedgerError> {
        self.timed(LedgerOperation::Hold, self.inner.hold(id, now)).await
    }

    async fn let_go(&self, id: &PaymentId) -> Result<(), LedgerError> {
        self.inner.let_go(id).await
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Record>, LedgerError> {
        self.timed(LedgerOperation::Find, self.inner.find(id)).await
    }

    async fn count_use(&self, id: &PaymentId, limit: u32) -> Result<bool, LedgerError> {
        self.timed(LedgerOperation::CountUse, self.inner.count_use(id, limit)).await
    }

    async fn pass_keys(&self) -> Result<Vec<StoredKey>, LedgerError> {
        self.inner.pass_keys().await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        self.inner.list(filter).await
    }

    async fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
        self.inner.totals(filter, by).await
    }

    async fn counts(&self) -> Result<Counts, LedgerError> {
        self.inner.counts().await
    }

    async fn recover(&self, now: UnixMillis) -> Result<Recovered, LedgerError> {
        self.inner.recover(now).await
    }

    async fn sweep(&self, now: UnixMillis) -> Result<Recovered, LedgerError> {
        self.inner.sweep(now).await
    }

    async fn claim_due(&self, claim: Claim<'_>, limit: u32) -> Result<Vec<Unresolved>, LedgerError> {
        self.inner.claim_due(claim, limit).await
    }

    async fn claim(&self, id: &PaymentId, claim: Claim<'_>) -> Result<Option<Unresolved>, LedgerError> {
        self.inner.claim(id, claim).await
    }

    async fn postpone(&self, id: &PaymentId, worker: &str, postponement: Postponement) -> Result<(), LedgerError> {
        self.inner.postpone(id, worker, postponement).await
    }

    async fn prune(&self, until: UnixMillis, limit: u32) -> Result<u64, LedgerError> {
        self.inner.prune(until, limit).await
    }

    async fn check(&self) -> Result<(), LedgerError> {
        self.inner.check().await
    }

    async fn close(&self) -> Result<(), LedgerError> {
        self.inner.close().await
    }
}
