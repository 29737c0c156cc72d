//! A ledger that ends with the process: for demos and tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::totals::{Entry, Sums};
use super::{
    CUT_OFF, Claim, Counts, Filter, GroupBy, Held, Ledger, LedgerError, NewPayment, Opening, Postponement, RELEASED,
    RULED_FAILED, Record, Recovered, Reservation, Ruling, State, StoredKey, Total, Transition, UnixMillis, Unresolved,
};
use crate::x402::PaymentId;

/// Every payment of this process.
#[derive(Default)]
pub struct MemoryLedger {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    payments: HashMap<PaymentId, Payment>,
    /// How many were ever new.
    made: usize,
    key: Option<StoredKey>,
}

struct Payment {
    /// Which payment came first, where the clock does not tell.
    order: usize,
    record: Record,
    settle_request: Arc<str>,
    valid_before: Option<u64>,
    tries: u32,
    next_try_at: UnixMillis,
    /// Whose, and until when.
    claim: Option<(String, UnixMillis)>,
}

impl Payment {
    fn new(payment: NewPayment, opening: Opening, order: usize) -> Payment {
        let (settle_request, valid_before) = (payment.settle_request.clone(), payment.valid_before);
        let record = opened(payment, opening);
        Payment { order, record, settle_request, valid_before, tries: 0, next_try_at: 0, claim: None }
    }

    /// Moves it on; unknown is due at once.
    fn advance(&mut self, transition: Transition, now: UnixMillis) -> Result<(), LedgerError> {
        apply(&mut self.record, transition, now)?;
        self.next_try_at = now;
        Ok(())
    }

    /// See [`Ledger::prune`].
    fn rested_at(&self) -> Option<UnixMillis> {
        match self.record.state {
            State::Failed => Some(self.record.updated_at),
            State::Settled => {
                let passes_at = i64::try_from(self.valid_before?).unwrap_or(i64::MAX).saturating_mul(1000);
                Some(self.record.updated_at.max(passes_at))
            }
            State::Reserved | State::Settling | State::Unknown => None,
        }
    }

    fn take(&mut self, claim: Claim<'_>) -> Option<Unresolved> {
        let is_free = self.claim.as_ref().is_none_or(|(_, until)| *until <= claim.now);
        if self.record.state != State::Unknown || !is_free {
            return None;
        }
        self.claim = Some((claim.worker.to_owned(), claim.until));
        Some(Unresolved {
            record: self.record.clone(),
            settle_request: self.settle_request.clone(),
            valid_before: self.valid_before,
            tries: self.tries,
        })
    }
}

impl MemoryLedger {
    /// A panic elsewhere leaves no payment half written: each change is one assignment after its checks.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A payment's first record.
fn opened(payment: NewPayment, opening: Opening) -> Record {
    Record {
        id: payment.id,
        digest: payment.digest,
        state: opening.state(),
        route: payment.route,
        host: payment.host,
        payer: payment.payer,
        network: payment.network,
        asset: payment.asset,
        amount: payment.amount,
        way: payment.way,
        facilitator: None,
        transaction: None,
        error: None,
        reserved_at: payment.now,
        updated_at: payment.now,
        settled_at: None,
        delivered_at: None,
        uses: 0,
        by_operator: false,
    }
}

/// Applies a transition, or says that the record's state does not allow it.
fn apply(record: &mut Record, transition: Transition, now: UnixMillis) -> Result<(), LedgerError> {
    match (record.state, &transition) {
        (State::Reserved, Transition::Settling)
        | (State::Settling | State::Unknown, Transition::Settled { .. })
        | (State::Settling, Transition::Unknown { .. })
        | (State::Reserved | State::Settling, Transition::Released { .. })
        | (State::Reserved | State::Settling | State::Unknown, Transition::Failed { .. })
        | (State::Settled, Transition::Delivered)
        | (State::Unknown, Transition::Ruled(_)) => {}
        (
            _,
            Transition::Settling
            | Transition::Settled { .. }
            | Transition::Unknown { .. }
            | Transition::Released { .. }
            | Transition::Failed { .. }
            | Transition::Delivered
            | Transition::Ruled(_),
        ) => return Err(transition.conflict(&record.id)),
    }
    match transition {
        Transition::Settling => enter(record, State::Settling, now),
        Transition::Settled { facilitator, transaction, payer } => {
            enter(record, State::Settled, now);
            record.settled_at = Some(now);
            record.facilitator = Some(facilitator);
            record.error = None;
            if !transaction.is_empty() {
                record.transaction = Some(transaction);
            }
            if let (true, Some(payer)) = (record.payer.is_empty(), payer) {
                record.payer = payer;
            }
        }
        Transition::Unknown { facilitator, transaction, error } => {
            enter(record, State::Unknown, now);
            record.facilitator = Some(facilitator);
            record.transaction = transaction;
            record.error = Some(error);
        }
        Transition::Released { error } | Transition::Failed { error } => {
            enter(record, State::Failed, now);
            record.error = Some(error);
        }
        Transition::Delivered => {
            record.delivered_at.get_or_insert(now);
        }
        Transition::Ruled(ruling) => {
            record.by_operator = true;
            match ruling {
                Ruling::Settled { transaction } => {
                    enter(record, State::Settled, now);
                    record.settled_at = Some(now);
                    record.transaction = Some(transaction);
                    record.error = None;
                }
                Ruling::Failed => {
                    enter(record, State::Failed, now);
                    record.error = Some(RULED_FAILED.into());
                }
            }
        }
    }
    Ok(())
}

fn enter(record: &mut Record, state: State, now: UnixMillis) {
    record.state = state;
    record.updated_at = now;
}

fn add_one(count: &mut u64) {
    *count = count.saturating_add(1);
}

fn passes(filter: &Filter, record: &Record) -> bool {
    filter.state.is_none_or(|state| state == record.state)
        && filter.route.as_deref().is_none_or(|route| route == &*record.route)
        && filter.payer.as_deref().is_none_or(|payer| payer.eq_ignore_ascii_case(&record.payer))
        && filter.since.is_none_or(|since| record.reserved_at >= since)
        && filter.until.is_none_or(|until| record.reserved_at < until)
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn reserve(&self, payment: NewPayment, opening: Opening) -> Result<Reservation, LedgerError> {
        let mut inner = self.lock();
        let mut order = inner.made;
        if let Some(held) = inner.payments.get(&payment.id) {
            if held.record.state != State::Failed {
                return Ok(Reservation::Held(Box::new(held.record.clone())));
            }
            order = held.order;
        } else {
            inner.made = inner.made.saturating_add(1);
        }
        inner.payments.insert(payment.id.clone(), Payment::new(payment, opening, order));
        Ok(Reservation::Fresh)
    }

    async fn advance(&self, id: &PaymentId, transition: Transition, now: UnixMillis) -> Result<(), LedgerError> {
        match self.lock().payments.get_mut(id) {
            Some(payment) => payment.advance(transition, now),
            None => Err(transition.conflict(id)),
        }
    }

    async fn hold(&self, id: &PaymentId, now: UnixMillis) -> Result<Option<Held>, LedgerError> {
        let mut inner = self.lock();
        let Some(payment) = inner.payments.get_mut(id) else { return Ok(None) };
        if let Some(closing) = Transition::closing(&payment.record) {
            payment.advance(closing, now)?;
        }
        Ok(Some(Held { record: payment.record.clone(), elsewhere: false }))
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Record>, LedgerError> {
        Ok(self.lock().payments.get(id).map(|payment| payment.record.clone()))
    }

    async fn count_use(&self, id: &PaymentId, limit: u32) -> Result<bool, LedgerError> {
        match self.lock().payments.get_mut(id) {
            Some(Payment { record, .. }) if record.state == State::Settled => {
                let open = record.uses < limit;
                if open {
                    record.uses = record.uses.saturating_add(1);
                }
                Ok(open)
            }
            Some(_) | None => Err(LedgerError::Conflict { id: id.clone(), to: "used" }),
        }
    }

    async fn pass_keys(&self) -> Result<Vec<StoredKey>, LedgerError> {
        Ok(vec![self.lock().key.get_or_insert_with(StoredKey::random).clone()])
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        let inner = self.lock();
        let mut found: Vec<&Payment> = inner.payments.values().filter(|held| passes(filter, &held.record)).collect();
        found.sort_by_key(|held| std::cmp::Reverse((held.record.reserved_at, held.order)));
        let limit = filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found.into_iter().take(limit).map(|held| held.record.clone()).collect())
    }

    async fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
        let inner = self.lock();
        let mut sums = Sums::new(by);
        for Payment { record, .. } in inner.payments.values() {
            let (true, State::Settled, Some(settled_at)) = (passes(filter, record), record.state, record.settled_at)
            else {
                continue;
            };
            sums.add(Entry {
                route: &record.route,
                payer: &record.payer,
                settled_at,
                network: record.network.caip2(),
                asset: &record.asset,
                amount: record.amount,
                delivered: record.delivered_at.is_some(),
            })?;
        }
        Ok(sums.finish())
    }

    async fn counts(&self) -> Result<Counts, LedgerError> {
        let mut counts = Counts::default();
        for Payment { record, .. } in self.lock().payments.values() {
            match record.state {
                State::Reserved => add_one(&mut counts.reserved),
                State::Settling => add_one(&mut counts.settling),
                State::Unknown => add_one(&mut counts.unknown),
                State::Failed => add_one(&mut counts.failed),
                State::Settled => {
                    add_one(&mut counts.settled);
                    if record.delivered_at.is_none() {
                        add_one(&mut counts.undelivered);
                    }
                }
            }
            if matches!(record.state, State::Settling | State::Unknown) {
                let oldest = counts.oldest_unsettled.unwrap_or(record.updated_at);
                counts.oldest_unsettled = Some(oldest.min(record.updated_at));
            }
        }
        Ok(counts)
    }

    async fn recover(&self, now: UnixMillis) -> Result<Recovered, LedgerError> {
        let mut recovered = Recovered::default();
        for Payment { record, next_try_at, claim, .. } in self.lock().payments.values_mut() {
            *claim = None;
            match record.state {
                State::Reserved => {
                    enter(record, State::Failed, now);
                    record.error = Some(Arc::from(RELEASED));
                    add_one(&mut recovered.released);
                }
                State::Settling => {
                    enter(record, State::Unknown, now);
                    record.error = Some(Arc::from(CUT_OFF));
                    *next_try_at = now;
                    add_one(&mut recovered.unknown);
                }
                State::Settled | State::Unknown | State::Failed => {}
            }
        }
        Ok(recovered)
    }

    async fn sweep(&self, _now: UnixMillis) -> Result<Recovered, LedgerError> {
        Ok(Recovered::default())
    }

    async fn claim_due(&self, claim: Claim<'_>, limit: u32) -> Result<Vec<Unresolved>, LedgerError> {
        let mut inner = self.lock();
        let is_due = |payment: &&mut Payment| payment.next_try_at <= claim.now;
        let mut due: Vec<&mut Payment> = inner.payments.values_mut().filter(is_due).collect();
        due.sort_by_key(|payment| (payment.next_try_at, payment.order));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(due.into_iter().filter_map(|payment| payment.take(claim)).take(limit).collect())
    }

    async fn claim(&self, id: &PaymentId, claim: Claim<'_>) -> Result<Option<Unresolved>, LedgerError> {
        Ok(self.lock().payments.get_mut(id).and_then(|payment| payment.take(claim)))
    }

    async fn postpone(&self, id: &PaymentId, worker: &str, postponement: Postponement) -> Result<(), LedgerError> {
        let conflict = || LedgerError::Conflict { id: id.clone(), to: "postponed" };
        let mut inner = self.lock();
        let payment = inner.payments.get_mut(id).ok_or_else(conflict)?;
        let is_claimed = payment.claim.as_ref().is_some_and(|(by, _)| by == worker);
        if payment.record.state != State::Unknown || !is_claimed {
            return Err(conflict());
        }
        payment.claim = None;
        payment.tries = payment.tries.saturating_add(1);
        payment.next_try_at = postponement.next_try_at;
        payment.record.error = Some(postponement.error);
        if postponement.transaction.is_some() {
            payment.record.transaction = postponement.transaction;
        }
        Ok(())
    }

    async fn prune(&self, until: UnixMillis, limit: u32) -> Result<u64, LedgerError> {
        let mut inner = self.lock();
        let mut old: Vec<(UnixMillis, usize, PaymentId)> = inner
            .payments
            .values()
            .filter(|payment| payment.record.delivered_at.is_none_or(|at| at <= until))
            .filter_map(|payment| Some((payment.rested_at()?, payment.order, payment.record.id.clone())))
            .filter(|(rested_at, ..)| *rested_at <= until)
            .collect();
        old.sort_unstable();
        old.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        for (_, _, id) in &old {
            inner.payments.remove(id);
        }
        Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
    }

    async fn check(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), LedgerError> {
        Ok(())
    }
}
