//! A payment that comes again: while another request has it, or when the ledger knows it already.

use std::sync::Arc;

use tokio::time::Instant;

use super::admit::Admission;
use super::check;
use super::holds::{Hold, Phase};
use super::life::Ticket;
use super::life::job::Job;
use super::{Request, Verdict, unix_millis};
use crate::access::Receipt;
use crate::ledger::{LedgerError, Record, State, Transition};
use crate::telemetry::{Outcome, WindowHit};
use crate::x402::{PaymentId, Reason};

impl Admission<'_> {
    /// What the ledger has of this very payment, under any terms.
    pub(super) async fn earlier_record(&self) -> Result<Option<Record>, LedgerError> {
        let Request { generation, live, quote, .. } = self.request;
        let offers = quote.offers.iter().chain(generation.remembered_offers(&live.route.name));
        let mut ids: Vec<PaymentId> = check::possible_ids(offers, &self.payment).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let record = self.gate.shared.ledger.find(&id).await?;
            if let Some(record) = record.filter(|record| record.digest == self.payment.digest) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// A payment whose terms or time have passed (`reason`), but which the ledger knows.
    pub(super) async fn take_known(&self, record: &Record, reason: Reason) -> Verdict {
        let hold = match self.hold(&record.id).await {
            Ok(hold) => hold,
            Err(verdict) => return *verdict,
        };
        // Whoever had it until now may have changed it.
        match self.gate.shared.ledger.find(&record.id).await {
            Ok(Some(record)) => {
                let job = self.job(record.id.clone(), hold);
                self.known(record, job, reason).await
            }
            Ok(None) => self.refuse(reason),
            Err(error) => self.ledger_down(error),
        }
    }

    /// Holds the payment in this process; `Err` is the verdict of a request that came second.
    pub(super) async fn hold(&self, id: &PaymentId) -> Result<Hold, Box<Verdict>> {
        let patience = self.gate.shared.patience;
        let deadline = Instant::now() + patience.outcome;
        loop {
            let mut busy = match self.gate.shared.holds.take(id) {
                Ok(hold) => return Ok(hold),
                Err(busy) => busy,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let mut phase = busy.wait_for(Phase::Delivering, left).await;
            if phase == Phase::Delivering {
                if self.request.quote.terms.window.is_some()
                    && let Some(verdict) = self.settled_by_another(id).await
                {
                    return Err(Box::new(verdict));
                }
                phase = busy.wait_for(Phase::Over, patience.delivery).await;
            }
            match phase {
                Phase::Deciding => return Err(Box::new(self.pending(None))),
                Phase::Delivering => return Err(Box::new(self.in_use())),
                Phase::Over => {
                    if let Some(verdict) = self.settled_by_another(id).await {
                        return Err(Box::new(verdict));
                    }
                }
                Phase::GivenUp => {}
            }
            if left.is_zero() {
                return Err(Box::new(self.in_use()));
            }
        }
    }

    /// The request that had the payment settled it: what that is worth to this one, if it need not have it for itself.
    async fn settled_by_another(&self, id: &PaymentId) -> Option<Verdict> {
        match self.gate.ride(self.request, [id.clone()], &self.payment).await {
            Ok(Some(verdict)) => return Some(verdict),
            Ok(None) => {}
            Err(error) => return Some(self.ledger_down(error)),
        }
        match self.gate.shared.ledger.find(id).await {
            Ok(Some(record)) => self.judge(&record).await,
            Ok(None) => None,
            Err(error) => Some(self.ledger_down(error)),
        }
    }

    /// Judges by what the ledger has, which this request now holds alone; `otherwise`: why the payment opens nothing
    /// if it has not settled.
    pub(super) async fn known(&self, record: Record, job: Job, otherwise: Reason) -> Verdict {
        if let Some(verdict) = self.judge(&record).await {
            return verdict;
        }
        let left_over = match record.state {
            State::Settled => {
                self.request.live.metrics.window_hit(WindowHit::Redelivery);
                return self.paid(Ticket::redelivery(job, record), None, Outcome::Redelivered);
            }
            State::Unknown => return self.pending(record.transaction.as_deref()),
            State::Failed => return self.refuse(otherwise),
            // Nobody holds it any more: their tasks are gone without having written an outcome.
            State::Reserved => Transition::Failed { error: "its request is gone".into() },
            State::Settling => Transition::Unknown {
                facilitator: record.facilitator.unwrap_or_else(|| "".into()),
                transaction: None,
                error: "the settlement's outcome was not written".into(),
            },
        };
        if let Err(error) = self.gate.shared.ledger.advance(&record.id, left_over, unix_millis()).await {
            return self.ledger_down(error);
        }
        if record.state == State::Reserved { self.refuse(otherwise) } else { self.pending(None) }
    }

    /// What can be said of a payment that the ledger knows without having it for oneself; `None`: nothing for certain.
    async fn judge(&self, record: &Record) -> Option<Verdict> {
        let Request { live, quote, facts, .. } = self.request;
        match record.state {
            // Also for another payment under the same nonce: that one's money may have moved.
            State::Unknown => return Some(self.pending(record.transaction.as_deref())),
            State::Settling | State::Reserved | State::Failed => return None,
            State::Settled => {}
        }
        let is_this_one = record.digest == self.payment.digest;
        if !is_this_one || record.route != live.route.name || *record.host != *facts.host {
            return Some(self.refuse(Reason::NonceAlreadyUsed));
        }
        let now = unix_millis();
        let window = quote.terms.window;
        let receipt = window.and_then(|window| Receipt::of(record, window.duration, window.uses));
        if let Some(receipt) = receipt.filter(|receipt| now < receipt.expires_at) {
            match self.gate.count_use(&record.id, receipt.uses).await {
                Ok(true) => {
                    let verdict = self.request.window(&record.id, &receipt);
                    self.gate.shared.receipts.insert(record.id.clone(), Arc::new(receipt));
                    return Some(verdict);
                }
                Ok(false) => {}
                Err(error) => return Some(self.ledger_down(error)),
            }
        }
        let settled_at = record.settled_at.unwrap_or(record.updated_at);
        let redeliver = i64::try_from(quote.terms.redeliver.as_millis()).unwrap_or(i64::MAX);
        let is_owed = record.delivered_at.is_none() && now < settled_at.saturating_add(redeliver);
        if is_owed { None } else { Some(self.refuse(Reason::NonceAlreadyUsed)) }
    }
}
