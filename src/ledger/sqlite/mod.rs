//! The embedded ledger: one SQLite file, one gateway.
//!
//! One thread writes, and what is queued shares a commit; two more read, one for look-ups on a
//! request's way, one for reports. The file is in write-ahead mode with `synchronous = FULL`: what was answered
//! survives the process and the power. A second gateway on the file is refused; `farebox ledger` reads beside it.

mod claims;
mod place;
mod prune;
mod read;
mod reader;
mod seen;
mod store;
mod write;
mod writer;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;

use self::reader::Reader;
use self::seen::Seen;
use self::store::{Lock, Options, Store};
use self::writer::Writer;
use super::{
    Claim, Counts, Filter, GroupBy, Held, Ledger, LedgerError, NewPayment, Opening, Postponement, Record, Recovered,
    Reservation, StoredKey, Total, Transition, UnixMillis, Unresolved,
};
use crate::x402::PaymentId;

/// What an operation came to. Outside, a fault of the store, which undoes the transaction; inside, the ledger's own
/// answer, which leaves other operations of the same transaction alone.
type Outcome<T> = rusqlite::Result<Result<T, LedgerError>>;

/// Every payment of one gateway, in one file.
#[derive(Debug)]
pub struct SqliteLedger {
    seen: Arc<Seen>,
    // Dropped in this order: the writer last, so that its connection moves the log into the file.
    lookups: Reader,
    reports: Reader,
    writer: Writer,
}

impl SqliteLedger {
    /// Opens the file, makes it where there is none (readable by its owner alone) and brings it up to date.
    /// Fails with the path and what to do about it, also when another gateway runs on the file.
    pub fn open(path: &Path) -> Result<SqliteLedger, LedgerError> {
        SqliteLedger::open_with(path, Options::default())
    }

    fn open_with(path: &Path, options: Options) -> Result<SqliteLedger, LedgerError> {
        let mut store = Store::at(path, options)?;
        let lock = store.lock()?;
        store.create(&lock)?;
        SqliteLedger::start(store, Some(lock))
    }

    /// Opens a file on which a gateway may be running. SQLite's own locks keep their writes apart; whoever writes
    /// this way must leave alone what a gateway holds, as a claim does.
    pub fn open_beside(path: &Path) -> Result<SqliteLedger, LedgerError> {
        let mut store = Store::at(path, Options::default())?;
        // A file that is there, of this version: a writer would bring it up to date under a gateway that is not.
        drop(store.open_read_only()?);
        store.adopt()?;
        SqliteLedger::start(store, None)
    }

    /// Opens a file as a gateway does; `None` where one is running on it.
    pub fn open_if_free(path: &Path) -> Result<Option<SqliteLedger>, LedgerError> {
        let mut store = Store::at(path, Options::default())?;
        let Some(lock) = store.lock_if_free()? else { return Ok(None) };
        store.create(&lock)?;
        SqliteLedger::start(store, Some(lock)).map(Some)
    }

    fn start(store: Store, lock: Option<Lock>) -> Result<SqliteLedger, LedgerError> {
        let connection = store.open_writer()?;
        let seen = Arc::new(Seen::default());
        let reports = Reader::start(store.clone(), "ledger-reports")?;
        let alone = lock.is_some();
        // Before anything can be added.
        seen.begin();
        let ledger = SqliteLedger {
            seen,
            lookups: Reader::start(store.clone(), "ledger-lookups")?,
            reports,
            writer: Writer::start(store, connection, lock)?,
        };
        // Who shares the file with a gateway does not see what that one adds, and takes any id for one that may be there.
        if alone {
            ledger.learn();
        }
        Ok(ledger)
    }

    fn learn(&self) {
        let seen = self.seen.clone();
        self.reports.read_soon(move |connection| seen.learn(connection));
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn reserve(&self, payment: NewPayment, opening: Opening) -> Result<Reservation, LedgerError> {
        let seen = self.seen.clone();
        self.writer.write(move |connection| write::reserve(connection, &seen, &payment, opening)).await
    }

    async fn advance(&self, id: &PaymentId, transition: Transition, now: UnixMillis) -> Result<(), LedgerError> {
        let id = id.clone();
        self.writer.write(move |connection| write::advance(connection, &id, &transition, now)).await
    }

    async fn hold(&self, id: &PaymentId, now: UnixMillis) -> Result<Option<Held>, LedgerError> {
        let (id, seen) = (id.clone(), self.seen.clone());
        self.writer.write(move |connection| write::hold(connection, &seen, &id, now)).await
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Record>, LedgerError> {
        let (id, seen) = (id.clone(), self.seen.clone());
        self.lookups.read(move |connection| read::find_if_seen(connection, &seen, &id).map(Ok)).await
    }

    async fn count_use(&self, id: &PaymentId, limit: u32) -> Result<bool, LedgerError> {
        let id = id.clone();
        self.writer.write(move |connection| write::count_use(connection, &id, limit)).await
    }

    async fn pass_keys(&self) -> Result<Vec<StoredKey>, LedgerError> {
        self.writer.write(write::pass_keys).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        let filter = filter.clone();
        self.reports.read(move |connection| read::list(connection, &filter)).await
    }

    async fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
        let filter = filter.clone();
        self.reports.read(move |connection| read::totals(connection, &filter, by)).await
    }

    async fn counts(&self) -> Result<Counts, LedgerError> {
        self.lookups.read(read::counts).await
    }

    async fn recover(&self, now: UnixMillis) -> Result<Recovered, LedgerError> {
        self.writer.write(move |connection| write::recover(connection, now)).await
    }

    async fn sweep(&self, _now: UnixMillis) -> Result<Recovered, LedgerError> {
        Ok(Recovered::default())
    }

    async fn claim_due(&self, claim: Claim<'_>, limit: u32) -> Result<Vec<Unresolved>, LedgerError> {
        let claim = claims::Owned::of(claim);
        // Mostly none is: the question must not stand in a payment's way, least of all while nothing can be written.
        let now = claim.now();
        if !self.lookups.read(move |connection| claims::any_due(connection, now)).await? {
            return Ok(Vec::new());
        }
        self.writer.write(move |connection| claims::claim_due(connection, &claim, limit)).await
    }

    async fn claim(&self, id: &PaymentId, claim: Claim<'_>) -> Result<Option<Unresolved>, LedgerError> {
        let (id, claim) = (id.clone(), claims::Owned::of(claim));
        self.writer.write(move |connection| claims::claim(connection, &id, &claim)).await
    }

    async fn postpone(&self, id: &PaymentId, worker: &str, postponement: Postponement) -> Result<(), LedgerError> {
        let (id, worker) = (id.clone(), worker.to_owned());
        self.writer.write(move |connection| claims::postpone(connection, &id, &worker, &postponement)).await
    }

    async fn prune(&self, until: UnixMillis, limit: u32) -> Result<u64, LedgerError> {
        let (pruned, left) = self.writer.write(move |connection| prune::prune(connection, until, limit)).await?;
        if self.seen.is_outgrown(left) {
            // By the writer, and read when that has returned: everything that was added before is then in the file.
            let seen = self.seen.clone();
            self.writer
                .write(move |_| {
                    seen.begin();
                    Ok(Ok(()))
                })
                .await?;
            self.learn();
        }
        Ok(pruned)
    }

    async fn check(&self) -> Result<(), LedgerError> {
        self.writer.write(write::check).await
    }

    async fn close(&self) -> Result<(), LedgerError> {
        self.lookups.rest().await?;
        self.reports.rest().await?;
        self.writer.close().await
    }
}

/// A ledger's file opened for reading, also while a gateway runs on it.
#[derive(Debug)]
pub struct LedgerFile {
    store: Store,
    connection: Connection,
}

impl LedgerFile {
    /// Opens a file that a gateway has made.
    pub fn open(path: &Path) -> Result<LedgerFile, LedgerError> {
        let store = Store::at(path, Options::default())?;
        let connection = store.open_read_only()?;
        Ok(LedgerFile { store, connection })
    }

    /// Hands over one payment after the other, newest first, until there are no more or none is wanted.
    pub fn each(&self, filter: &Filter, hand: impl FnMut(Record) -> ControlFlow<()>) -> Result<(), LedgerError> {
        read::each(&self.connection, filter, hand).map_err(|error| self.store.trouble(&error))
    }

    /// Sums over settled payments, as [`Ledger::totals`].
    pub fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
        read::totals(&self.connection, filter, by).map_err(|error| self.store.trouble(&error))?
    }
}
