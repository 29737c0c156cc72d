//! A payment that comes again: while another request has it, or when the ledger knows it already.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admit::Admission;
use super::check;
use super::holds::{Hold, Phase};
use super::life::Ticket;
use super::life::job::Job;
use super::shared::{Patience, Shared};
use super::{Request, Verdict, unix_millis};
use crate::access::{Reading, Receipt};
use crate::ledger::{Held, LedgerError, Record, State};
use crate::resolve::Effort;
use crate::telemetry::{Outcome, WindowHit};
use crate::x402::{PaymentId, Reason};

/// The longest pause between two looks at a payment that another gateway has, or that somebody else resolves.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);

/// What a payment comes to that the ledger knows.
pub(super) enum Known {
    /// The request's end, or its way on.
    Judged(Box<Verdict>),
    /// The money did not move, and nobody has the payment.
    Free(Job),
}

impl Known {
    fn judged(verdict: Verdict) -> Known {
        Known::Judged(Box::new(verdict))
    }
}

/// What the ledger has of a payment that comes again.
enum Found {
    Nothing(Job),
    /// Settled, and to be delivered by this request.
    Owed(Ticket, Box<Record>),
    Known(Job, Box<Record>),
}

/// In a task of its own, and what comes back is a ticket: wherever a request ends, what it had to deliver may be delivered
/// by others.
async fn look(job: Job) -> Result<Found, LedgerError> {
    let (tell, told) = oneshot::channel();
    job.shared.tasks.clone().spawn(async move {
        let found = match job.shared.ledger.hold(&job.id, unix_millis()).await {
            Ok(Some(Held { record, elsewhere })) => {
                let is_owed = !elsewhere && record.state == State::Settled && record.delivered_at.is_none();
                Ok(if is_owed {
                    Found::Owed(Ticket::redelivery(job, &record), Box::new(record))
                } else {
                    Found::Known(job, Box::new(record))
                })
            }
            Ok(None) => Ok(Found::Nothing(job)),
            Err(error) => Err(error),
        };
        drop(tell.send(found));
    });
    told.await.unwrap_or_else(|_| Err(LedgerError::Unavailable("a look-up ended without an outcome".to_owned())))
}

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
        match self.known(self.job(record.id.clone(), hold), reason).await {
            Known::Judged(verdict) => *verdict,
            Known::Free(_) => self.refuse(reason),
        }
    }

    /// Holds the payment in this process; `Err` is the verdict of a request that came second.
    pub(super) async fn hold(&self, id: &PaymentId) -> Result<Hold, Box<Verdict>> {
        let patience = self.gate.shared.patience;
        loop {
            let mut busy = match self.gate.shared.holds.take(id) {
                Ok(hold) => return Ok(hold),
                Err(busy) => busy,
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
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
                Phase::Deciding => return Err(Box::new(self.pending())),
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
        let reading = Reading { id: id.clone(), digest: self.payment.digest };
        if let Some(receipt) = self.gate.opened(self.request, &reading) {
            match self.gate.ride(self.request, id, receipt).await {
                Ok(Some(verdict)) => return Some(verdict),
                Ok(None) => {}
                Err(error) => return Some(self.ledger_down(error)),
            }
        }
        match self.gate.shared.ledger.find(id).await {
            Ok(Some(record)) => self.judge(&record).await,
            Ok(None) => None,
            Err(error) => Some(self.ledger_down(error)),
        }
    }

    /// Judges a payment that the ledger knows and that this request alone holds here: waits while another gateway has
    /// it, as for another request of this one. `otherwise`: why it opens nothing if it turns out to have failed for good.
    pub(super) async fn known(&self, mut job: Job, otherwise: Reason) -> Known {
        let Patience { delivery, look_again, .. } = self.gate.shared.patience;
        let mut pause = look_again;
        let mut delivered_by = None;
        let mut was_asked_for = false;
        loop {
            let (held, mut record) = match look(job).await {
                Ok(Found::Nothing(free)) => return Known::Free(free),
                Ok(Found::Owed(ticket, record)) => return Known::judged(self.owed(ticket, *record).await),
                Ok(Found::Known(held, record)) => (held, *record),
                Err(error) => return Known::judged(self.ledger_down(error)),
            };
            if record.state == State::Unknown && !was_asked_for {
                was_asked_for = true;
                record = match self.find_out(record).await {
                    Ok(record) => record,
                    Err(error) => return Known::judged(self.ledger_down(error)),
                };
                match record.state {
                    State::Unknown => {}
                    State::Failed => return Known::judged(self.refuse(otherwise)),
                    State::Reserved | State::Settling | State::Settled => {
                        job = held;
                        continue;
                    }
                }
            }
            if !self.awaits_first_use(&record)
                && let Some(verdict) = self.judge(&record).await
            {
                if record.state == State::Settled {
                    // Others who wait for it here can judge for themselves.
                    held.hold.over();
                }
                return Known::judged(verdict);
            }
            let now = Instant::now();
            let (deadline, too_late) = match record.state {
                State::Reserved | State::Settling => (self.deadline, self.pending()),
                State::Settled => (*delivered_by.get_or_insert(now + delivery), self.in_use()),
                State::Unknown | State::Failed => return Known::Free(held),
            };
            if now >= deadline {
                return Known::judged(too_late);
            }
            tokio::time::sleep_until(deadline.min(now + pause)).await;
            pause = LOOK_AGAIN_MAX.min(pause.saturating_mul(2));
            job = held;
        }
    }

    /// Another gateway has settled it and is about to count the request that paid: before that nobody rides its window.
    fn awaits_first_use(&self, record: &Record) -> bool {
        let is_counted = self.request.quote.terms.window.is_some_and(|window| window.uses.is_some());
        let is_owed = record.state == State::Settled && record.delivered_at.is_none();
        is_counted && is_owed && record.uses == 0
    }

    /// A settled payment that this request may deliver.
    async fn owed(&self, ticket: Ticket, record: Record) -> Verdict {
        if let Some(verdict) = self.judge(&record).await {
            return verdict;
        }
        self.request.live.metrics.window_hit(WindowHit::Redelivery);
        self.paid(ticket, None, Outcome::Redelivered)
    }

    /// What became of this very payment, where that was unknown until now: asked unless a retry has just asked in vain, and
    /// waited for within a bound.
    async fn find_out(&self, record: Record) -> Result<Record, LedgerError> {
        if record.state != State::Unknown || record.digest != self.payment.digest {
            return Ok(record);
        }
        let shared = self.gate.shared.clone();
        if shared.paces.pause(&record.id, unix_millis()).is_some() {
            return Ok(record);
        }
        let found = self.ask(&shared, record).await?;
        if found.state == State::Unknown {
            shared.paces.asked_in_vain(&found.id, unix_millis());
        } else {
            shared.paces.found_out(&found.id);
        }
        Ok(found)
    }

    async fn ask(&self, shared: &Arc<Shared>, record: Record) -> Result<Record, LedgerError> {
        let (witnesses, id) = (self.request.generation.witnesses.clone(), record.id.clone());
        // Together with what the request has waited for already.
        let deadline = self.deadline.min(Instant::now() + shared.patience.resolution);
        // In a task of its own: a client that goes away does not cut a settlement short.
        let asking = shared.tasks.spawn({
            let (shared, id) = (shared.clone(), id.clone());
            async move { shared.resolver.resolve_now(&witnesses, &id, Effort::Settle, unix_millis()).await }
        });
        match tokio::time::timeout_at(deadline, asking).await {
            Err(_) => return Ok(record),
            Ok(Ok(Ok(Some(_)))) => return Ok(shared.ledger.find(&id).await?.unwrap_or(record)),
            Ok(Ok(Err(error))) => return Err(error),
            // Somebody else is at it, perhaps on another node.
            Ok(Ok(Ok(None)) | Err(_)) => {}
        }
        loop {
            let now = shared.ledger.find(&id).await?.unwrap_or_else(|| record.clone());
            if now.state != State::Unknown || Instant::now() + LOOK_AGAIN_MAX > deadline {
                return Ok(now);
            }
            tokio::time::sleep(LOOK_AGAIN_MAX).await;
        }
    }

    /// What can be said of a payment that the ledger knows without having it for oneself; `None`: nothing for certain.
    async fn judge(&self, record: &Record) -> Option<Verdict> {
        let Request { live, quote, facts, .. } = self.request;
        match record.state {
            // Also for another payment under the same nonce: that one's money may have moved.
            State::Unknown => return Some(self.unknown(record)),
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
                    let receipt = self.gate.shared.receipts.insert(record.id.clone(), receipt);
                    return Some(self.gate.window(self.request, &record.id, receipt));
                }
                Ok(false) => {}
                Err(error) => return Some(self.ledger_down(error)),
            }
        }
        let settled_at = record.settled_at.unwrap_or(record.updated_at);
        let redeliver = i64::try_from(quote.terms.redeliver.as_millis()).unwrap_or(i64::MAX);
        // Inside its window a payment is delivered without being held: that may be about to be written.
        let is_delivered = record.delivered_at.is_some() || self.gate.shared.receipts.is_delivered(&record.id);
        let is_owed = !is_delivered && now < settled_at.saturating_add(redeliver);
        if is_owed { None } else { Some(self.refuse(Reason::NonceAlreadyUsed)) }
    }
}
