//! Every payment's durable state.
//!
//! A payment is written here before anything irreversible is done with it, and what became of it before
//! anybody is told. States move forwards only:
//!
//! ```text
//! reserved ──► settling ──► settled (delivered or not)
//!     │            ├──────► unknown ──► settled or failed
//!     └────────────┴──────► failed ──► reserved again, when the same payment comes back
//! ```
//!
//! [`sqlite`] keeps them in a file, [`memory`] for as long as the process lives. Both answer alike:
//! `conformance` holds every implementation to the same tests.

pub mod memory;
pub mod metered;
pub mod sqlite;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod conformance;
mod totals;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use crate::config::LedgerUrl;
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
#[derive(Debug, Clone)]
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
    /// When the money moved.
    pub settled_at: Option<UnixMillis>,
    /// When a response that it paid for was written in full.
    pub delivered_at: Option<UnixMillis>,
    /// Requests counted against a window with `uses`.
    pub uses: u32,
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
    /// From reserved, settling or unknown: certainly not charged.
    Failed {
        /// For the operator.
        error: Arc<str>,
    },
    /// From settled: a response was written in full. Said twice, the first time stands.
    Delivered,
}

impl Transition {
    /// What the payment becomes, in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Transition::Settling => "settling",
            Transition::Settled { .. } => "settled",
            Transition::Unknown { .. } => "unknown",
            Transition::Failed { .. } => "failed",
            Transition::Delivered => "delivered",
        }
    }

    fn conflict(&self, id: &PaymentId) -> LedgerError {
        LedgerError::Conflict { id: id.clone(), to: self.name() }
    }
}

/// Which payments to list or sum. Empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this route.
    pub route: Option<String>,
    /// Only of this payer (any case).
    pub payer: Option<String>,
    /// Reserved at or after.
    pub since: Option<UnixMillis>,
    /// Reserved before.
    pub until: Option<UnixMillis>,
    /// At most so many, newest first. Sums are over all of them and pay it no heed.
    pub limit: Option<u32>,
}

/// By what sums are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// One row per route.
    Route,
    /// One row per UTC day of settlement.
    Day,
    /// One row per payer.
    Payer,
}

/// A sum over settled payments of one group in one asset: different assets are never added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The route, the day (`2026-11-20`) or the payer.
    pub group: String,
    /// Where the money moved.
    pub network: Network,
    /// The token's address.
    pub asset: Arc<str>,
    /// How many payments.
    pub payments: u64,
    /// How many of them were delivered.
    pub delivered: u64,
    /// Atomic units.
    pub amount: Amount,
}

/// How many payments are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// See [`State::Reserved`].
    pub reserved: u64,
    /// See [`State::Settling`].
    pub settling: u64,
    /// See [`State::Settled`].
    pub settled: u64,
    /// Settled, but no response written in full.
    pub undelivered: u64,
    /// See [`State::Unknown`].
    pub unknown: u64,
    /// See [`State::Failed`].
    pub failed: u64,
    /// When the oldest unsettled (settling or unknown) payment was last changed.
    pub oldest_unsettled: Option<UnixMillis>,
}

/// A key that signs passes.
#[derive(Clone)]
pub struct StoredKey {
    /// Names the key inside a pass.
    pub id: String,
    /// 32 random bytes.
    pub secret: [u8; 32],
}

impl StoredKey {
    /// A new one, from the operating system's randomness.
    fn random() -> StoredKey {
        StoredKey { id: format!("{:08x}", rand::random::<u32>()), secret: rand::random() }
    }
}

/// What a start found of a run that ended badly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Reserved payments that nobody holds any more; now failed, for nothing was asked of anybody.
    pub released: u64,
    /// Settling payments whose outcome was not written; now unknown.
    pub unknown: u64,
}

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store cannot be read or written: nothing may be charged.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// A transition from a state that it may not follow.
    #[error("payment {id} cannot become {to}: it is not in a state that allows it")]
    Conflict {
        /// Which payment.
        id: PaymentId,
        /// What it should have become.
        to: &'static str,
    },
}

/// What is written about a payment that a dead process had reserved.
const RELEASED: &str = "the gateway ended before it was settled";
/// What is written about a payment that a dead process was settling.
const CUT_OFF: &str = "the gateway ended before the outcome of its settlement was written";

/// Opens the ledger of a config's `[ledger] url`.
pub fn open(url: &LedgerUrl) -> Result<Arc<dyn Ledger>, LedgerError> {
    match url {
        LedgerUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteLedger::open(path)?)),
        LedgerUrl::Memory => Ok(Arc::new(memory::MemoryLedger::default())),
    }
}

/// The durable state of every payment.
///
/// A write whose caller stops waiting for it is carried out all the same: who must know what became of it (a
/// reservation has to be released) asks in a task that nobody cancels.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Takes a payment for one request, atomically; durable when it returns.
    async fn reserve(&self, payment: NewPayment, opening: Opening) -> Result<Reservation, LedgerError>;

    /// Moves a payment on; durable when it returns.
    async fn advance(&self, id: &PaymentId, transition: Transition, now: UnixMillis) -> Result<(), LedgerError>;

    /// What is known of a payment.
    async fn find(&self, id: &PaymentId) -> Result<Option<Record>, LedgerError>;

    /// Counts one more request against a settled payment's window; `false` when `limit` have been counted already.
    /// Any other payment's is a [`LedgerError::Conflict`].
    async fn count_use(&self, id: &PaymentId, limit: u32) -> Result<bool, LedgerError>;

    /// The keys that sign passes, newest first; makes the first one if there is none.
    async fn pass_keys(&self) -> Result<Vec<StoredKey>, LedgerError>;

    /// Payments, newest first.
    async fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError>;

    /// Sums over settled payments, in the order of their groups. A payer's address counts in any case.
    async fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError>;

    /// How many payments are in each state.
    async fn counts(&self) -> Result<Counts, LedgerError>;

    /// At start, before any request: what an ended run left reserved becomes failed, what it left settling unknown.
    async fn recover(&self, now: UnixMillis) -> Result<Recovered, LedgerError>;

    /// Whether it can be written to right now.
    async fn check(&self) -> Result<(), LedgerError>;

    /// Finishes what is queued; the last call before the process ends.
    async fn close(&self) -> Result<(), LedgerError>;
}
