//! A payment at the gate: judged, reserved, and either turned into a [`Ticket`] or refused.

use std::sync::OnceLock;

use http::HeaderName;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::error;

use super::again::Known;
use super::answer::{Answer, Trouble};
use super::check::{self, Checked};
use super::facts::Facts;
use super::holds::Hold;
use super::life::job::{Charge, Job};
use super::life::{Ticket, Unpaid};
use super::{Entry, Gate, Identity, Paid, Request, Verdict, refusal, unix_millis};
use crate::config::{SettleMode, Verify};
use crate::facilitator::Order;
use crate::ledger::{LedgerError, NewPayment, Opening, Record, Reservation};
use crate::telemetry::Outcome;
use crate::x402::payment::Payload;
use crate::x402::v2::ResourceInfo;
use crate::x402::{Dialect, Payment, PaymentId, Reason, header as wire};

/// Why a payment header is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("{0}: sent more than once")]
    Repeated(&'static str),
    #[error("{name}: {bytes} bytes, at most {bytes_max} are read")]
    TooLong { name: &'static str, bytes: usize, bytes_max: usize },
}

/// The one payment header of a request: v2's before v1's, so that a client that sends both is judged once.
pub(super) fn payment_header<'a>(
    facts: &Facts<'a>,
    bytes_max: usize,
) -> Result<Option<(Dialect, &'a [u8])>, Malformed> {
    for (dialect, name) in [(Dialect::V2, wire::PAYMENT_SIGNATURE), (Dialect::V1, wire::X_PAYMENT)] {
        let mut values = facts.headers.get_all(HeaderName::from_static(name)).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(Malformed::Repeated(name));
        }
        if value.len() > bytes_max {
            return Err(Malformed::TooLong { name, bytes: value.len(), bytes_max });
        }
        return Ok(Some((dialect, value.as_bytes())));
    }
    Ok(None)
}

/// A decoded payment and the request that brought it.
pub(super) struct Admission<'a> {
    pub(super) gate: &'a Gate,
    pub(super) request: &'a Request<'a>,
    pub(super) payment: Payment,
    /// Until when it waits for others that have the payment.
    pub(super) deadline: Instant,
}

/// What came of an attempt to take a payment for this request.
enum Taken {
    /// It is this request's.
    Ours(Ticket),
    /// The ledger has it already, and of this process's requests this one alone holds it.
    Known(Job),
}

impl<'a> Admission<'a> {
    pub(super) fn new(gate: &'a Gate, request: &'a Request<'a>, payment: Payment) -> Admission<'a> {
        Admission { gate, request, payment, deadline: Instant::now() + gate.shared.patience.outcome }
    }

    pub(super) async fn admit(&self) -> Verdict {
        let Request { generation, live, quote, facts, .. } = self.request;
        let reason = match check::check(generation, live, &self.payment, facts.now) {
            Ok(checked) => return self.judge_checked(&checked).await,
            Err(reason) => reason,
        };
        if may_be_settled_already(reason) {
            if let Err(over) = self.gate.payment_may(self.request) {
                return self.limited(over);
            }
            match self.earlier_record().await {
                Ok(Some(record)) => {
                    return match self.may_come(Some(&record.payer)).await {
                        Ok(()) => self.take_known(&record, reason).await,
                        Err(limited) => limited,
                    };
                }
                Ok(None) => {}
                Err(error) => return self.ledger_down(error),
            }
        }
        if quote.offers.is_empty() {
            return self.answer(Answer::trouble(&Trouble::FacilitatorUnavailable, None), Outcome::Unavailable);
        }
        self.refuse(reason)
    }

    /// A payment that pays, as far as can be told here.
    async fn judge_checked(&self, checked: &Checked) -> Verdict {
        if let Err(over) = self.gate.payment_may(self.request) {
            return self.limited(over);
        }
        let signer = self.payment.payer().filter(|_| checked.signature_recovered).map(|payer| payer.to_string());
        match self.may_come(signer.as_deref()).await {
            Ok(()) => self.take(checked).await,
            Err(limited) => limited,
        }
    }

    /// Takes the payment for this request, or waits for the one that has it, here or at another gateway.
    async fn take(&self, checked: &Checked) -> Verdict {
        let mut job = match self.hold(&checked.id).await {
            Ok(hold) => self.job(checked.id.clone(), hold),
            Err(verdict) => return *verdict,
        };
        loop {
            job = match self.reserve(checked, job).await {
                Ok(Taken::Ours(ticket)) => return self.open(checked, ticket).await,
                Ok(Taken::Known(job)) => match self.known(job, Reason::NonceAlreadyUsed).await {
                    Known::Judged(verdict) => return *verdict,
                    Known::Free(job) => job,
                },
                Err(error) => return self.ledger_down(error),
            };
            if Instant::now() >= self.deadline {
                return self.in_use();
            }
        }
    }

    /// Reserves the payment. In a task of its own, and what comes back is a ticket: wherever a request ends, a
    /// reservation is given back and a settlement is carried through.
    async fn reserve(&self, checked: &Checked, job: Job) -> Result<Taken, LedgerError> {
        let charge = Charge { order: self.order(checked), pool: checked.quoted.pool.clone() };
        let new = self.new_payment(checked, &charge.order);
        let opening = self.opening();
        let (tell, told) = oneshot::channel();
        self.gate.shared.tasks.spawn(async move {
            let taken = match job.shared.ledger.reserve(new, opening).await {
                Ok(Reservation::Fresh) => Ok(Taken::Ours(match opening {
                    Opening::Reserved => Ticket::reserved(job, charge),
                    Opening::Settling => Ticket::settling(job, charge),
                })),
                Ok(Reservation::Held(_)) => Ok(Taken::Known(job)),
                Err(error) => Err(error),
            };
            // Where nobody waits any more, it is dropped here.
            drop(tell.send(taken));
        });
        told.await
            .unwrap_or_else(|_| Err(LedgerError::Unavailable("a reservation ended without an outcome".to_owned())))
    }

    /// The payment is this request's: verified or settled as the route's mode says.
    async fn open(&self, checked: &Checked, mut ticket: Ticket) -> Verdict {
        let terms = &self.request.quote.terms;
        // Who pays, as far as that is proven before the request is forwarded.
        let signer = self.payment.payer().map(|payer| payer.to_string());
        let proven = match (terms.settle, checked.signature_recovered) {
            (SettleMode::OnSuccess, true) if terms.verify == Verify::Local => Ok(signer),
            (SettleMode::OnSuccess, _) => ticket.verify().await.map(|payer| signer.or(payer)),
            (SettleMode::Overlap, true) => Ok(signer),
            // What nobody has checked yet is not forwarded, nor in whose name it comes.
            (SettleMode::Overlap | SettleMode::Before, _) => ticket.settled().await.map(|()| signer),
        };
        match proven {
            Ok(payer) => self.paid(ticket, Some((payer.unwrap_or_default(), checked)), Outcome::Paid),
            Err(Unpaid { answer, outcome }) => self.answer(answer, outcome),
        }
    }

    /// Forwarded on its payment: as the settlement has it, else as it was checked.
    pub(super) fn paid(&self, ticket: Ticket, claimed: Option<(String, &Checked)>, outcome: Outcome) -> Verdict {
        let (payer, paid) = match (ticket.money(), claimed) {
            (Some(money), _) => (
                money.payer.clone(),
                Some(Paid {
                    network: money.network.clone(),
                    asset: money.asset.clone(),
                    amount: money.amount,
                    transaction: Some(money.transaction.clone()),
                }),
            ),
            (None, Some((payer, checked))) => {
                let offer = &checked.quoted.offer;
                let (network, asset) = (offer.network.clone(), offer.asset.address.clone());
                (payer.into(), Some(Paid { network, asset, amount: offer.amount, transaction: None }))
            }
            (None, None) => ("".into(), None),
        };
        let route = self.request.live.route.name.clone();
        let identity = Box::new(Identity { route, payer, payment_id: ticket.id().clone(), paid });
        self.request.forward(Entry::Paid { ticket, identity }, outcome)
    }

    fn opening(&self) -> Opening {
        match self.request.quote.terms.settle {
            SettleMode::OnSuccess => Opening::Reserved,
            SettleMode::Before | SettleMode::Overlap => Opening::Settling,
        }
    }

    fn order(&self, checked: &Checked) -> Order {
        let terms = &self.request.quote.terms;
        Order {
            payment: self.payment.clone(),
            offer: checked.quoted.offer.clone(),
            resource: ResourceInfo {
                url: self.request.resource_url(),
                description: terms.description.clone(),
                mime_type: terms.mime_type.clone(),
            },
        }
    }

    fn new_payment(&self, checked: &Checked, order: &Order) -> NewPayment {
        let offer = &checked.quoted.offer;
        let valid_before = match &self.payment.payload {
            Payload::Eip3009 { authorization, .. } => Some(authorization.valid_before),
            Payload::Opaque(_) => None,
        };
        NewPayment {
            id: checked.id.clone(),
            digest: self.payment.digest,
            route: self.request.live.route.name.clone(),
            host: self.request.facts.host.into(),
            payer: self.payment.payer().map(|payer| payer.to_string()).unwrap_or_default().into(),
            network: offer.network.clone(),
            asset: offer.asset.address.clone(),
            amount: offer.amount,
            way: offer.way.clone(),
            settle_request: order.settle_request().into(),
            valid_before,
            now: unix_millis(),
        }
    }

    pub(super) fn job(&self, id: PaymentId, hold: Hold) -> Job {
        let Request { generation, live, quote, facts, .. } = self.request;
        let public_url = generation.config.server.public_url.as_ref();
        Job {
            shared: self.gate.shared.clone(),
            id,
            digest: self.payment.digest,
            dialect: self.payment.dialect,
            quote: (*quote).clone(),
            route: live.route.name.clone(),
            host: facts.host.into(),
            metrics: live.metrics.clone(),
            pass_keys: generation.pass_keys.clone(),
            secure: public_url.is_some_and(|url| url.scheme() == "https"),
            hold,
            delivery: OnceLock::new(),
        }
    }

    pub(super) fn refuse(&self, reason: Reason) -> Verdict {
        let Request { quote, live, .. } = self.request;
        let answer = refusal::refuse(quote, &self.request.resource_url(), &self.payment, reason, &live.metrics);
        self.answer(answer, Outcome::Refused)
    }

    pub(super) fn pending(&self) -> Verdict {
        self.answer(refusal::pending(self.request.quote, &self.payment, None), Outcome::Pending)
    }

    /// The same of one that retries may not have asked for at any time.
    pub(super) fn unknown(&self, record: &Record) -> Verdict {
        let answer = refusal::pending(self.request.quote, &self.payment, record.transaction.as_deref());
        let answer = match self.gate.shared.paces.pause(&record.id, unix_millis()) {
            Some(wait) => answer.retried_after(wait),
            None => answer,
        };
        self.answer(answer, Outcome::Pending)
    }

    pub(super) fn in_use(&self) -> Verdict {
        self.answer(Answer::trouble(&Trouble::PaymentInUse, None), Outcome::Pending)
    }

    pub(super) fn ledger_down(&self, error: LedgerError) -> Verdict {
        error!(%error, "a payment was turned away: it cannot be recorded or looked up");
        self.answer(Answer::trouble(&Trouble::LedgerUnavailable, None), Outcome::Unavailable)
    }

    pub(super) fn answer(&self, answer: Answer, outcome: Outcome) -> Verdict {
        let payment = check::possible_ids(&self.request.quote.offers, &self.payment).next();
        Verdict::Answer { answer, outcome, route: Some(self.request.index), payment }
    }
}

/// Whether a payment that fails this check now may have passed it when it was settled.
fn may_be_settled_already(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ValidBefore
            | Reason::ValueMismatch
            | Reason::RecipientMismatch
            | Reason::NoMatchingRequirements
            | Reason::UnsupportedScheme
            | Reason::InvalidNetwork
    )
}
