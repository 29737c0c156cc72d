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
//! [`sqlite`] keeps them in a file of one gateway, [`postgres`] in a database that many share, [`memory`] for as long as
//! the process lives. All answer alike: `conformance` holds every implementation to the same tests.

pub mod books;
pub mod memory;
pub mod metered;
pub mod postgres;
pub mod retention;
pub mod sqlite;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod conformance;
mod payment;
mod question;
mod totals;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::payment::{Held, NewPayment, Opening, Record, Reservation, Ruling, State, Transition, UnixMillis};
pub use self::question::{Counts, Filter, GroupBy, Total};
use crate::config::LedgerUrl;
use crate::x402::PaymentId;

/// A worker's hold on unknown payments, for which nobody else looks meanwhile. It ends by time, so that a dead worker's
/// does.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who: unique over all gateways that share the ledger.
    pub worker: &'a str,
    /// When.
    pub now: UnixMillis,
    /// For how long: another's from then on.
    pub until: UnixMillis,
}

/// An unknown payment, and what its outcome can be found out with.
#[derive(Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// What is known of it.
    pub record: Record,
    /// See [`NewPayment::settle_request`]. Holds a signature.
    pub settle_request: Arc<str>,
    /// See [`NewPayment::valid_before`].
    pub valid_before: Option<u64>,
    /// How often it was tried in vain.
    pub tries: u32,
}

impl std::fmt::Debug for Unresolved {
    /// Without the signature.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unresolved")
            .field("record", &self.record)
            .field("valid_before", &self.valid_before)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

/// What a try that found nothing out leaves behind.
#[derive(Debug, Clone)]
pub struct Postponement {
    /// When it is due again.
    pub next_try_at: UnixMillis,
    /// A transaction, where one was named; else what was named before stands.
    pub transaction: Option<Arc<str>>,
    /// For the operator: why it is still unknown.
    pub error: Arc<str>,
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
/// What is written about a payment whose request ended without a word.
const ABANDONED: &str = "its request is gone";
/// What is written about a payment whose settlement ended without a word.
const UNWRITTEN: &str = "the settlement's outcome was not written";
/// What is written about a payment that an operator says has failed.
const RULED_FAILED: &str = "an operator said that the money did not move";

/// Opens the ledger of a config's `[ledger] url`.
pub async fn open(url: &LedgerUrl) -> Result<Arc<dyn Ledger>, LedgerError> {
    match url {
        LedgerUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteLedger::open(path)?)),
        LedgerUrl::Postgres(url) => Ok(Arc::new(postgres::PostgresLedger::open(url).await?)),
        LedgerUrl::Memory => Ok(Arc::new(memory::MemoryLedger::default())),
    }
}

/// Opens the ledger of a gateway that may be running, for an operator's command. It makes and recovers nothing.
pub async fn open_beside(url: &LedgerUrl) -> Result<Arc<dyn Ledger>, LedgerError> {
    match url {
        LedgerUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteLedger::open_beside(path)?)),
        LedgerUrl::Postgres(url) => Ok(Arc::new(postgres::PostgresLedger::open(url).await?)),
        LedgerUrl::Memory => {
            let text = "it is kept in the gateway's memory (url = \"memory:\"): nobody else can reach it";
            Err(LedgerError::Unavailable(text.to_owned()))
        }
    }
}

/// Opens a ledger for an operator's command that takes over what an ended gateway has left. `None` where a gateway runs on
/// it that shares it with nobody; in a shared one each payment says itself whose it is.
pub async fn open_if_free(url: &LedgerUrl) -> Result<Option<Arc<dyn Ledger>>, LedgerError> {
    match url {
        LedgerUrl::Sqlite(path) => Ok(sqlite::SqliteLedger::open_if_free(path)?.map(|ledger| Arc::new(ledger) as _)),
        LedgerUrl::Postgres(_) | LedgerUrl::Memory => open_beside(url).await.map(Some),
    }
}

/// The durable state of every payment.
///
/// A write whose caller stops waiting for it may be carried out all the same: who must know what became of it (a
/// reservation has to be released) asks in a task that nobody cancels.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Takes a payment for one request, atomically; durable when it returns.
    async fn reserve(&self, payment: NewPayment, opening: Opening) -> Result<Reservation, LedgerError>;

    /// Moves a payment on; durable when it returns.
    async fn advance(&self, id: &PaymentId, transition: Transition, now: UnixMillis) -> Result<(), LedgerError>;

    /// Looks at a payment that nobody in this process works on but the caller. What an ended request or an ended gateway
    /// left open is closed: reserved becomes failed, settling unknown. One that is owed a delivery is then this gateway's
    /// to deliver, until it is delivered or [let go](Ledger::let_go). What another living gateway has stays as it is.
    async fn hold(&self, id: &PaymentId, now: UnixMillis) -> Result<Option<Held>, LedgerError>;

    /// Another gateway may deliver this payment. Where there is no other, there is nothing to do.
    async fn let_go(&self, _id: &PaymentId) -> Result<(), LedgerError> {
        Ok(())
    }

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

    /// At start, before any request: what an ended run left reserved becomes failed, what it left settling unknown, and
    /// its claims end.
    async fn recover(&self, now: UnixMillis) -> Result<Recovered, LedgerError>;

    /// While requests run: the same of what other gateways that are gone have left. A ledger of one gateway has none.
    async fn sweep(&self, now: UnixMillis) -> Result<Recovered, LedgerError>;

    /// Claims unknown payments that are due and that nobody's claim holds, at most so many, the longest due first. A
    /// payment is due as soon as it becomes unknown.
    async fn claim_due(&self, claim: Claim<'_>, limit: u32) -> Result<Vec<Unresolved>, LedgerError>;

    /// Claims this payment, due or not; `None` where it is not unknown, or somebody's claim holds it (this worker's own
    /// earlier one, too).
    async fn claim(&self, id: &PaymentId, claim: Claim<'_>) -> Result<Option<Unresolved>, LedgerError>;

    /// Ends this worker's claim on a payment that is still unknown, and counts the try. Where the claim is another's or
    /// nobody's by now, or the payment is unknown no more, a [`LedgerError::Conflict`].
    async fn postpone(&self, id: &PaymentId, worker: &str, postponement: Postponement) -> Result<(), LedgerError>;

    /// Forgets at most so many payments, the longest at rest first, and says how many. At rest is a failed payment since it
    /// failed; a settled one since it settled and its [`valid_before`](NewPayment::valid_before) has passed. Those that
    /// came to rest by `until`, and were delivered by then if at all, go. Every other stays: one that is reserved, settling
    /// or unknown, and a settled one without a `valid_before`, for which nothing but its row tells that it was used.
    async fn prune(&self, until: UnixMillis, limit: u32) -> Result<u64, LedgerError>;

    /// Whether it can be written to right now.
    async fn check(&self) -> Result<(), LedgerError>;

    /// Finishes what is queued; the last call before the process ends.
    async fn close(&self) -> Result<(), LedgerError>;
}
