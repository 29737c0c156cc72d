//! A payment as the ledger knows it, and how its state may change.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::{ABANDONED, LedgerError, UNWRITTEN};
use crate::money::Amount;
use crate::x402::{Network, PaymentId};

/// Unix time in milliseconds.
pub type UnixMillis = i64;

/// What is known of a payment's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// One request holds it; nothing irreversible has been done.
    Reserved,
    /// A settlement was or is about to be asked for.
    Settling,
    /// The money moved.
    Settled,
    /// Nobody knows whether the money moved.
    Unknown,
    /// The money certainly did not move; the same payment may be sent again.
    Failed,
}

impl State {
    /// Every state, in the order of a payment's life.
    pub const ALL: [State; 5] = [State::Reserved, State::Settling, State::Settled, State::Unknown, State::Failed];

    /// The word for it in the store, in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            State::Reserved => "reserved",
            State::Settling => "settling",
            State::Settled => "settled",
            State::Unknown => "unknown",
            State::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// How far a payment goes in its first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Verify, forward, then settle.
    Reserved,
    /// Settle at once: one write instead of two.
    Settling,
}

impl Opening {
    /// The state that it is written in.
    pub fn state(self) -> State {
        match self {
            Opening::Reserved => State::Reserved,
            Opening::Settling => State::Settling,
        }
    }
}

/// A payment as it is first written.
#[derive(Clone)]
pub struct NewPayment {
    /// What makes it unique.
    pub id: PaymentId,
    /// SHA-256 of the signed payload's JSON: tells the same payment from another signature over its nonce.
    pub digest: [u8; 32],
    /// The route's name.
    pub route: Arc<str>,
    /// The host it was asked on.
    pub host: Arc<str>,
    /// The payer's address; empty where the payload does not say.
    pub payer: Arc<str>,
    /// Where the money moves.
    pub network: Network,
    /// The token's address.
    pub asset: Arc<str>,
    /// Atomic units.
    pub amount: Amount,
    /// The way to pay (`[pay.NAME]`).
    pub way: Arc<str>,
    /// The body of the facilitator's `/settle`, to ask again when the outcome is unknown. Holds a signature.
    pub settle_request: Arc<str>,
    /// Unix seconds after which an unused payment can no longer be used.
    pub valid_before: Option<u64>,
    /// When.
    pub now: UnixMillis,
}

impl fmt::Debug for NewPayment {
    /// Without the signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPayment")
            .field("id", &self.id)
            .field("route", &self.route)
            .field("host", &self.host)
            .field("payer", &self.payer)
            .field("way", &self.way)
            .field("amount", &self.amount)
            .field("valid_before", &self.valid_before)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What the ledger knows of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// What makes it unique.
    #[serde(serialize_with = "as_text")]
    pub id: PaymentId,
    /// See [`NewPayment::digest`].
    #[serde(skip)]
    pub digest: [u8; 32],
    /// What is known of its money.
    pub state: State,
    /// The route's name.
    pub route: Arc<str>,
    /// The host it was asked on.
    pub host: Arc<str>,
    /// The payer's address; empty where unknown.
    pub payer: Arc<str>,
    /// Where the money moves.
    pub network: Network,
    /// The token's address.
    pub asset: Arc<str>,
    /// Atomic units.
    pub amount: Amount,
    /// The way to pay.
    pub way: Arc<str>,
    /// The facilitator that settled it, or was asked to.
    pub facilitator: Option<Arc<str>>,
    /// The transaction, where one was named.
    pub transaction: Option<Arc<str>>,
    /// For the operator: why it failed or is unknown.
    pub error: Option<Arc<str>>,
    /// First written, or written again after it had failed.
    pub reserved_at: UnixMillis,
    /// When its state last changed.
    pub updated_at: UnixMillis,
    /// When the money was known to have moved: windows and redelivery count from here.
    pub settled_at: Option<UnixMillis>,
    /// When a response that it paid for was written in full.
    pub delivered_at: Option<UnixMillis>,
    /// Requests counted against a window with `uses`.
    pub uses: u32,
    /// An operator said what became of it: see [`Transition::Ruled`].
    pub by_operator: bool,
}

fn as_text<S: serde::Serializer>(id: &PaymentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

/// What came of a reservation.
#[derive(Debug, Clone)]
pub enum Reservation {
    /// It is this request's: it is new, or had failed before.
    Fresh,
    /// The ledger already has it, unchanged by this call.
    Held(Box<Record>),
}

/// A payment that comes again, and whether another gateway has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// As it is now.
    pub record: Record,
    /// A living gateway that shares the ledger works on it: its outcome is to be waited for.
    pub elsewhere: bool,
}

/// A change of a payment's state. Each is refused when the payment is not in a state it may follow.
#[derive(Debug, Clone)]
pub enum Transition {
    /// From reserved: durable before `/settle` is called.
    Settling,
    /// From settling or unknown: durable before the client sees the response.
    Settled {
        /// The facilitator that said so.
        facilitator: Arc<str>,
        /// The transaction's hash; empty: one that was named before stands.
        transaction: Arc<str>,
        /// Who paid, where only the facilitator could tell: a payer that is known already stands.
        payer: Option<Arc<str>>,
    },
    /// From settling.
    Unknown {
        /// The facilitator that was asked.
        facilitator: Arc<str>,
        /// A transaction, where it named one.
        transaction: Option<Arc<str>>,
        /// For the operator.
        error: Arc<str>,
    },
    /// From reserved or settling, by the gateway that has it: certainly not charged. What others took over meanwhile is
    /// theirs to find out, and may be charged by them.
    Released {
        /// For the operator.
        error: Arc<str>,
    },
    /// From reserved, settling or unknown: certainly not charged.
    Failed {
        /// For the operator.
        error: Arc<str>,
    },
    /// From settled: a response was written in full. Said twice, the first time stands.
    Delivered,
    /// From unknown: what an operator says became of it, where nobody else can know.
    Ruled(Ruling),
}

/// An operator's word on a payment whose outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// The money moved.
    Settled {
        /// The transaction that moved it.
        transaction: Arc<str>,
    },
    /// It did not, and will not.
    Failed,
}

impl Transition {
    /// What the payment becomes, in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Transition::Settling => "settling",
            Transition::Settled { .. } => "settled",
            Transition::Unknown { .. } => "unknown",
            Transition::Released { .. } | Transition::Failed { .. } => "failed",
            Transition::Delivered => "delivered",
            Transition::Ruled(Ruling::Settled { .. }) => "settled",
            Transition::Ruled(Ruling::Failed) => "failed",
        }
    }

    pub(super) fn conflict(&self, id: &PaymentId) -> LedgerError {
        LedgerError::Conflict { id: id.clone(), to: self.name() }
    }

    /// What becomes of a payment that nobody works on any more; `None` where it is at its end.
    pub(super) fn closing(record: &Record) -> Option<Transition> {
        match record.state {
            State::Reserved => Some(Transition::Failed { error: ABANDONED.into() }),
            State::Settling => Some(Transition::Unknown {
                facilitator: record.facilitator.clone().unwrap_or_else(|| "".into()),
                transaction: None,
                error: UNWRITTEN.into(),
            }),
            State::Settled | State::Unknown | State::Failed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ledger::conformance::payment;

    #[test]
    fn a_signature_is_not_shown_by_debug() {
        let payment = payment(1, 10);
        assert!(payment.settle_request.contains("0xsecret"));
        assert!(!format!("{payment:?}").contains("0xsecret"));
    }
}
