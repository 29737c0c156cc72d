//! The service that verifies and settles payments: the trait, and what its answers mean.
//!
//! [`http`] speaks to one over HTTP, [`sandbox`] is one in this process without a chain, [`pool`] puts several
//! behind one way to pay, and [`Facilitators`] holds all of them over a reload. What an HTTP answer means for the
//! money is decided in one place, `answer`; which refusals are certain in another, [`certainty`].

pub(crate) mod answer;
pub mod certainty;
pub mod http;
mod member;
pub mod pool;
mod registry;
mod request;
pub mod sandbox;
mod slots;
#[cfg(test)]
pub(crate) mod testing;

pub use member::Health;
pub use registry::{BuildError, Facilitators};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::x402::{Offer, Payment, Reason};

/// What a facilitator is asked to judge or settle: a payment and the offer that it was matched to.
#[derive(Debug, Clone)]
pub struct Order {
    /// As the client sent it.
    pub payment: Payment,
    /// What it must pay.
    pub offer: Offer,
    /// The URL it is for, its description and type: v1 requirements carry them.
    pub resource: crate::x402::v2::ResourceInfo,
}

/// Whose fault a call's failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No connection was made: certainly nothing was asked.
    Unreached,
    /// As many calls as it may have are under way: nothing was asked.
    Busy,
    /// It did not answer in time.
    Timeout,
    /// The connection broke after the request may have been sent.
    Cut,
    /// 401 or 403: the operator's credentials are wrong.
    Unauthorized,
    /// 429: it is asked too often.
    RateLimited,
    /// Any other status without a decision in the body.
    Status(u16),
    /// A body that is no decision: not JSON, too large, contradictory, for another payment.
    Garbage,
}

impl FaultKind {
    /// The metrics label.
    pub fn label(self) -> &'static str {
        match self {
            FaultKind::Unreached => "unreached",
            FaultKind::Busy => "busy",
            FaultKind::Timeout => "timeout",
            FaultKind::Cut => "cut",
            FaultKind::Unauthorized => "unauthorized",
            FaultKind::RateLimited => "rate_limited",
            FaultKind::Status(300..=399) => "status_3xx",
            FaultKind::Status(400..=499) => "status_4xx",
            FaultKind::Status(_) => "status_5xx",
            FaultKind::Garbage => "garbage",
        }
    }
}

/// A call that brought no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("facilitator {facilitator}: {detail}")]
pub struct Fault {
    /// The `[facilitators.NAME]`.
    pub facilitator: Arc<str>,
    /// What went wrong.
    pub kind: FaultKind,
    /// For the log, never for a client.
    pub detail: String,
}

/// What `/verify` decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// The payment would settle.
    Valid {
        /// Who pays.
        payer: Option<String>,
    },
    /// It would not.
    Invalid {
        /// Why, in x402's terms.
        reason: Reason,
        /// For the log, never for a client.
        detail: String,
    },
}

/// What became of a `/settle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The money moved.
    Settled {
        /// The facilitator that said so.
        facilitator: Arc<str>,
        /// The transaction's hash.
        transaction: String,
        /// Who paid.
        payer: Option<String>,
    },
    /// This call certainly moved nothing: it was refused before anything was broadcast.
    ///
    /// That is all it says. An earlier `/settle` of the same payment, whose answer was lost, may have moved the
    /// money all the same, and then this one is refused for a used nonce, a balance that is gone or a validity
    /// that has run out. Whoever asks a second time must look at [`certainty::rules_out_earlier_attempts`] before
    /// it calls a payment failed; on a first attempt a refusal is the payer's clean 402.
    Refused {
        /// Why, in x402's terms.
        reason: Reason,
        /// For the log, never for a client.
        detail: String,
    },
    /// Certainly nothing was processed: no facilitator could be reached or had room for the call, or it turned the call away at the door
    /// (401, 403, 429) without deciding anything.
    NotSent {
        /// What went wrong.
        fault: Fault,
    },
    /// Nobody knows.
    Unknown {
        /// The facilitator that was asked.
        facilitator: Arc<str>,
        /// A transaction that it named nevertheless.
        transaction: Option<String>,
        /// For the log, never for a client.
        detail: String,
    },
}

/// One line of `/supported`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedKind {
    /// 1 or 2.
    pub x402_version: u8,
    /// The scheme's name.
    pub scheme: String,
    /// The network's name in that version's spelling.
    pub network: String,
    /// What the challenge must carry for this kind, such as Solana's `feePayer`.
    pub extra: Map<String, Value>,
}

/// What a facilitator can settle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Supported {
    /// Every kind that it named.
    pub kinds: Vec<SupportedKind>,
}

/// The service that verifies and settles.
#[async_trait]
pub trait Facilitator: Send + Sync + 'static {
    /// The `[facilitators.NAME]`.
    fn name(&self) -> &Arc<str>;

    /// Whether the payment would settle. Moves nothing.
    async fn verify(&self, order: &Order) -> Result<Verification, Fault>;

    /// Moves the money. Must not be cancelled half way: callers run it in a task of its own.
    async fn settle(&self, order: &Order) -> Settlement;

    /// What it can settle.
    async fn supported(&self) -> Result<Supported, Fault>;
}

/// What a facilitator was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `/verify`.
    Verify,
    /// `/settle`.
    Settle,
    /// `/supported`.
    Supported,
}

impl Operation {
    /// Every operation, for metrics.
    pub const ALL: [Operation; 3] = [Operation::Verify, Operation::Settle, Operation::Supported];

    /// The metrics label, and the last segment of the URL.
    pub fn label(self) -> &'static str {
        match self {
            Operation::Verify => "verify",
            Operation::Settle => "settle",
            Operation::Supported => "supported",
        }
    }
}

/// Is told of every call that a [`pool::Pool`] makes.
pub trait Observer: Send + Sync + 'static {
    /// One call has ended. `outcome` is what was decided (`valid`, `invalid`, `settled`, `refused`, `unknown`, `ok`),
    /// else [`FaultKind::label`].
    fn call(&self, facilitator: &str, operation: Operation, outcome: &'static str, elapsed: Duration);
}

/// An observer that does not look.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn call(&self, _facilitator: &str, _operation: Operation, _outcome: &'static str, _elapsed: Duration) {}
}
