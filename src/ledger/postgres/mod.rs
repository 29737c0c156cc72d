//! The shared ledger: a PostgreSQL database, any number of gateways.
//!
//! Every operation is one statement, and the database's row locks decide between gateways. Which of them works on a
//! payment is written beside it (`node`); what a slow or lost connection may still do is bounded by the database's clock
//! ([`pool::Pool::deadline`]). What was answered is on the server's disk.

mod claims;
mod node;
mod pool;
mod prune;
mod read;
mod schema;
mod tls;
mod trouble;
mod write;

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use async_trait::async_trait;
use tokio::task::JoinHandle;

use self::node::Node;
use self::pool::Pool;
use super::{
    Claim, Counts, Filter, GroupBy, Held, Ledger, LedgerError, NewPayment, Opening, Postponement, Record, Recovered,
    Reservation, StoredKey, Total, Transition, UnixMillis, Unresolved,
};
use crate::config::PostgresUrl;
use crate::x402::PaymentId;

/// Every payment of the gateways that share a database.
pub struct PostgresLedger {
    pool: Pool,
    node: Node,
    keeper: JoinHandle<()>,
}

impl PostgresLedger {
    /// Connects, makes the tables or brings them up to date, and joins the gateways that run. Fails with the database's
    /// name and what to do about it.
    pub async fn open(url: &PostgresUrl) -> Result<PostgresLedger, LedgerError> {
        let pool = Pool::new(url)?;
        schema::migrate(&pool).await?;
        let node = Node::join(&pool).await?;
        let keeper = node.keep_alive(pool.clone());
        Ok(PostgresLedger { pool, node, keeper })
    }
}

impl Drop for PostgresLedger {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn reserve(&self, payment: NewPayment, opening: Opening) -> Result<Reservation, LedgerError> {
        write::reserve(&self.pool, self.node, &payment, opening).await
    }

    async fn advance(&self, id: &PaymentId, transition: Transition, now: UnixMillis) -> Result<(), LedgerError> {
        write::advance(&self.pool, self.node, id, &transition, now).await
    }

    async fn hold(&self, id: &PaymentId, now: UnixMillis) -> Result<Option<Held>, LedgerError> {
        write::hold(&self.pool, self.node, id, now).await
    }

    async fn let_go(&self, id: &PaymentId) -> Result<(), LedgerError> {
        write::let_go(&self.pool, self.node, id).await
    }

    async fn find(&self, id: &PaymentId) -> Result<Option<Record>, LedgerError> {
        Ok(read::find(&self.pool, id).await?.map(|(record, _)| record))
    }

    async fn count_use(&self, id: &PaymentId, limit: u32) -> Result<bool, LedgerError> {
        write::count_use(&self.pool, id, limit).await
    }

    async fn pass_keys(&self) -> Result<Vec<StoredKey>, LedgerError> {
        write::pass_keys(&self.pool).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        let mut found = Vec::new();
        let collect = |record| {
            found.push(record);
            ControlFlow::Continue(())
        };
        read::each(&self.pool, filter, collect).await?;
        Ok(found)
    }

    async fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
        read::totals(&self.pool, filter, by).await
    }

    async fn counts(&self) -> Result<Counts, LedgerError> {
        read::counts(&self.pool).await
    }

    async fn recover(&self, now: UnixMillis) -> Result<Recovered, LedgerError> {
        write::recover(&self.pool, self.node, now, true).await
    }

    async fn sweep(&self, now: UnixMillis) -> Result<Recovered, LedgerError> {
        write::recover(&self.pool, self.node, now, false).await
    }

    async fn claim_due(&self, claim: Claim<'_>, limit: u32) -> Result<Vec<Unresolved>, LedgerError> {
        claims::claim_due(&self.pool, self.node, claim, limit).await
    }

    async fn claim(&self, id: &PaymentId, claim: Claim<'_>) -> Result<Option<Unresolved>, LedgerError> {
        claims::claim(&self.pool, self.node, id, claim).await
    }

    async fn postpone(&self, id: &PaymentId, worker: &str, postponement: Postponement) -> Result<(), LedgerError> {
        claims::postpone(&self.pool, id, worker, &postponement).await
    }

    async fn prune(&self, until: UnixMillis, limit: u32) -> Result<u64, LedgerError> {
        prune::prune(&self.pool, until, limit).await
    }

    async fn check(&self) -> Result<(), LedgerError> {
        self.node.renew(&self.pool).await
    }

    /// Where the database is away, the lease ends by itself: nothing is lost.
    async fn close(&self) -> Result<(), LedgerError> {
        self.keeper.abort();
        if let Err(error) = self.node.leave(&self.pool).await {
            tracing::debug!(%error, "the gateway's lease was not given back");
        }
        self.pool.close();
        Ok(())
    }
}

/// A shared ledger opened for reading, also while gateways run on it.
pub struct SharedBooks {
    pool: Pool,
}

impl SharedBooks {
    /// Opens a database that a gateway has made a ledger in.
    pub async fn open(url: &PostgresUrl) -> Result<SharedBooks, LedgerError> {
        let pool = Pool::new(url)?;
        schema::expect(&pool).await?;
        Ok(SharedBooks { pool })
    }

    /// As [`LedgerFile::each`](super::sqlite::LedgerFile::each).
    pub async fn each(&self, filter: &Filter, hand: impl FnMut(Record) -> ControlFlow<()>) -> Result<(), LedgerError> {
        read::each(&self.pool, filter, hand).await
    }

    /// Sums over settled payments, as [`Ledger::totals`].
    pub async fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
        read::totals(&self.pool, filter, by).await
    }
}
