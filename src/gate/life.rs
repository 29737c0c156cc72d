//! A payment's life from reservation to delivery.
//!
//! A [`Ticket`] is held by the request that a payment opens. Whatever becomes of that request, what is done with
//! the payment runs in a task of its own ([`job`]): a client that hangs up or an upstream that resets never cancels it
//! half way.

pub(super) mod job;
mod keeper;
mod undelivered;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::task::JoinHandle;
use tracing::error;

use self::job::{Charge, Ended, Job, Taken};
pub use self::undelivered::Undelivered;
use super::answer::{Answer, Settled, Trouble};
use super::refusal;
use crate::facilitator::Verification;
use crate::ledger::{LedgerError, Record, Transition, UnixMillis};
use crate::money::Amount;
use crate::telemetry::Outcome as RequestOutcome;
use crate::x402::{Network, PaymentId};

/// Where the money is.
enum Stage {
    /// Reserved: to be settled when the upstream's head arrives.
    Reserved(Arc<Charge>),
    /// Being settled by a task.
    Settling(JoinHandle<Ended>, Arc<Charge>),
    /// It moved.
    Settled(Money),
    /// It did not move, or nobody knows; nothing is left to do for this request.
    Closed,
}

/// A settlement that happened.
#[derive(Debug, Clone)]
pub struct Money {
    /// Where.
    pub network: Network,
    /// The token's address.
    pub asset: Arc<str>,
    /// Atomic units.
    pub amount: Amount,
    /// The transaction's hash.
    pub transaction: Arc<str>,
    /// Who paid.
    pub payer: Arc<str>,
    /// When.
    pub settled_at: UnixMillis,
}

/// A request's hold on the payment that opens it.
pub struct Ticket {
    job: Arc<Job>,
    stage: Stage,
}

/// What is done with the upstream's response head.
pub enum Head {
    /// It is sent on, with these fields.
    Send(HeadPatch),
    /// It is thrown away; the client gets this instead.
    Replace(Unpaid),
}

/// What a client gets instead of the resource when its payment did not settle.
pub struct Unpaid {
    /// The answer.
    pub answer: Answer,
    /// For metrics and the log.
    pub outcome: RequestOutcome,
}

/// What a paid response carries besides what the upstream said.
#[derive(Debug, Default)]
pub struct HeadPatch {
    /// Replaces fields of the same name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// A `Set-Cookie` beside the upstream's own.
    pub cookie: Option<HeaderValue>,
}

impl Ticket {
    /// For a payment that is reserved and will be settled by the upstream's success.
    pub(super) fn reserved(job: Job, charge: Charge) -> Ticket {
        Ticket { job: Arc::new(job), stage: Stage::Reserved(Arc::new(charge)) }
    }

    /// For a payment whose settlement starts now.
    pub(super) fn settling(job: Job, charge: Charge) -> Ticket {
        let mut ticket = Ticket::reserved(job, charge);
        ticket.start();
        ticket
    }

    /// For a payment that was settled earlier and has not been delivered.
    pub(super) fn redelivery(job: Job, record: &Record) -> Ticket {
        job.hold.delivering();
        let money = Money {
            network: record.network.clone(),
            asset: record.asset.clone(),
            amount: record.amount,
            transaction: record.transaction.clone().unwrap_or_else(|| "".into()),
            payer: record.payer.clone(),
            settled_at: record.settled_at.unwrap_or(record.updated_at),
        };
        if let Some(remembered) = job.shared.receipts.get(&job.id) {
            job.deliver_with(remembered.delivery());
        }
        Ticket { job: Arc::new(job), stage: Stage::Settled(money) }
    }

    /// The payment's id.
    pub fn id(&self) -> &PaymentId {
        &self.job.id
    }

    /// The settlement, where it has happened.
    pub fn money(&self) -> Option<&Money> {
        match &self.stage {
            Stage::Settled(money) => Some(money),
            Stage::Reserved(_) | Stage::Settling(..) | Stage::Closed => None,
        }
    }

    /// Asks the facilitator before anything is forwarded: who pays, where it said so. `Err` is what the client gets
    /// instead of the resource; the payment is free again.
    pub(super) async fn verify(&mut self) -> Result<Option<String>, Unpaid> {
        let Stage::Reserved(charge) = &self.stage else { return Ok(None) };
        let charge = charge.clone();
        match charge.pool.verify(&charge.order).await {
            Ok(Verification::Valid { payer }) => Ok(payer),
            Ok(Verification::Invalid { reason, detail }) => {
                self.release(format!("refused: {reason}: {detail}"))
                    .await
                    .map_err(|Taken| self.pending(&charge, None))?;
                Err(Unpaid { answer: self.job.refusal(&charge, reason), outcome: RequestOutcome::Refused })
            }
            Err(fault) => {
                self.release(fault.to_string()).await.map_err(|Taken| self.pending(&charge, None))?;
                Err(self.job.not_charged(&Trouble::of(&fault)))
            }
        }
    }

    /// Waits for a settlement that has been started; `Err` is what the client gets instead of the resource. May be
    /// given up and called again.
    pub(super) async fn settled(&mut self) -> Result<(), Unpaid> {
        let (ended, charge) = match &mut self.stage {
            Stage::Settling(task, charge) => {
                let ended = task.await.unwrap_or_else(|panic| {
                    error!(payment_id = %self.job.id, "a settlement ended without an outcome: {panic}");
                    Ended::Unknown { transaction: None }
                });
                (ended, charge.clone())
            }
            Stage::Reserved(_) | Stage::Settled(_) | Stage::Closed => return Ok(()),
        };
        self.stage = Stage::Closed;
        match ended {
            Ended::Settled(money) => {
                self.stage = Stage::Settled(money);
                Ok(())
            }
            Ended::Refused(reason) => {
                Err(Unpaid { answer: self.job.refusal(&charge, reason), outcome: RequestOutcome::Refused })
            }
            Ended::NotCharged(trouble) => Err(self.job.not_charged(&trouble)),
            Ended::Unknown { transaction } => Err(self.pending(&charge, transaction.as_deref())),
        }
    }

    /// What the client gets while nobody knows what becomes of its payment.
    fn pending(&self, charge: &Charge, transaction: Option<&str>) -> Unpaid {
        let answer = refusal::pending(&self.job.quote, &charge.order.payment, transaction);
        Unpaid { answer, outcome: RequestOutcome::Pending }
    }

    /// Decides what is done with the upstream's final response head. Settles where that is the route's mode.
    pub async fn head(&mut self, status: StatusCode) -> Head {
        if matches!(self.stage, Stage::Reserved(_)) {
            if refused_by_upstream(status) {
                // An upstream's refusal is free, whoever has the payment now.
                let _: Result<(), Taken> = self.release(format!("the upstream answered {}", status.as_u16())).await;
                return Head::Send(HeadPatch::default());
            }
            self.start();
        }
        if let Err(unpaid) = self.settled().await {
            return Head::Replace(unpaid);
        }
        match &self.stage {
            Stage::Settled(money) => Head::Send(self.job.head_patch(money)),
            Stage::Reserved(_) | Stage::Settling(..) | Stage::Closed if refused_by_upstream(status) => {
                Head::Send(HeadPatch::default())
            }
            // Asked again after the payment was given back: what is not paid is not sent.
            Stage::Reserved(_) | Stage::Settling(..) | Stage::Closed => Head::Replace(Unpaid {
                answer: Answer::trouble(&Trouble::Internal, None),
                outcome: RequestOutcome::InternalError,
            }),
        }
    }

    /// The upstream gave no response head. What the client gets, and what it is told of its payment.
    pub async fn upstream_failed(&mut self, trouble: Trouble) -> Unpaid {
        if matches!(self.stage, Stage::Reserved(_)) {
            let why = match trouble {
                Trouble::BodyTooLarge { .. } => "the request's body was too large",
                _ => "the upstream gave no answer",
            };
            let _: Result<(), Taken> = self.release(why.to_owned()).await;
        }
        if let Err(unpaid) = self.settled().await {
            return unpaid;
        }
        let response = self.money().map(|money| self.job.settlement_response(money));
        let settled = response.as_ref().map(|response| Settled { dialect: self.job.dialect, response });
        Unpaid { answer: Answer::trouble(&trouble, settled), outcome: RequestOutcome::UpstreamError }
    }

    /// The request is over. `delivered`: a response that the payment paid for was written in full.
    pub fn finish(mut self, delivered: bool) {
        if !delivered || !matches!(self.stage, Stage::Settled(_)) {
            return;
        }
        self.stage = Stage::Closed;
        if !self.job.is_first_delivery() {
            return;
        }
        let job = self.job.clone();
        // The hold goes with the job: who waits for this payment sees it delivered, not between the two.
        job.shared.clone().outlive(async move {
            if let Err(conflict @ LedgerError::Conflict { .. }) = job.keep(Transition::Delivered).await {
                error!(payment_id = %job.id, %conflict, "delivered, but not written: it may open its route again");
            }
        });
    }

    /// Settles in a task of its own.
    fn start(&mut self) {
        if let Stage::Reserved(charge) = &self.stage {
            let (job, charge) = (self.job.clone(), charge.clone());
            let settling = charge.clone();
            let task = self.job.shared.tasks.spawn(async move { job.settle(&settling).await });
            self.stage = Stage::Settling(task, charge);
        }
    }

    /// Gives the payment back: certainly not charged. In a task of its own, for the one who waits here may go.
    async fn release(&mut self, why: String) -> Result<(), Taken> {
        self.stage = Stage::Closed;
        let job = self.job.clone();
        let released = self.job.shared.tasks.spawn(async move { job.release(why).await });
        released.await.unwrap_or_else(|panic| {
            error!(payment_id = %self.job.id, "a payment was not given back: {panic}");
            Ok(())
        })
    }
}

impl Drop for Ticket {
    /// A request that ended before its upstream answered (the client left) gives the payment back; one that was not
    /// delivered leaves that to others.
    fn drop(&mut self) {
        let job = self.job.clone();
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Reserved(_) => {
                self.job.shared.outlive(async move { drop(job.release("the client left".to_owned()).await) });
            }
            Stage::Settling(task, _) => self.job.shared.outlive(async move {
                if let Ok(Ended::Settled(_)) = task.await {
                    job.let_go().await;
                }
            }),
            Stage::Settled(_) => self.job.shared.outlive(async move { job.let_go().await }),
            Stage::Closed => {}
        }
    }
}

/// Statuses for which nobody is charged under `on-success`.
pub fn refused_by_upstream(status: StatusCode) -> bool {
    status.as_u16() >= 400
}
