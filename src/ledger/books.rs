//! A ledger opened for reading, of either kind: for the command line, which waits for each answer.

use std::ops::ControlFlow;

use tokio::runtime::Runtime;

use super::postgres::SharedBooks;
use super::sqlite::LedgerFile;
use super::{Filter, GroupBy, LedgerError, Record, Total};
use crate::config::LedgerUrl;

/// Every payment, also while gateways run.
pub enum Books {
    /// One gateway's file.
    File(LedgerFile),
    /// A database, and what its connection runs on.
    Shared(SharedBooks, Runtime),
}

impl Books {
    /// Opens what a gateway has made; `None` where it is kept in a gateway's memory.
    pub fn open(url: &LedgerUrl) -> Result<Option<Books>, LedgerError> {
        match url {
            LedgerUrl::Sqlite(path) => Ok(Some(Books::File(LedgerFile::open(path)?))),
            LedgerUrl::Postgres(url) => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| LedgerError::Unavailable(format!("no runtime: {error}")))?;
                let books = runtime.block_on(SharedBooks::open(url))?;
                Ok(Some(Books::Shared(books, runtime)))
            }
            LedgerUrl::Memory => Ok(None),
        }
    }

    /// Hands over one payment after the other, newest first, until there are no more or none is wanted.
    pub fn each(&self, filter: &Filter, hand: impl FnMut(Record) -> ControlFlow<()>) -> Result<(), LedgerError> {
        match self {
            Books::File(file) => file.each(filter, hand),
            Books::Shared(books, runtime) => runtime.block_on(books.each(filter, hand)),
        }
    }

    /// Sums over settled payments, as [`Ledger::totals`](super::Ledger::totals).
    pub fn totals(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
        match self {
            Books::File(file) => file.totals(filter, by),
            Books::Shared(books, runtime) => runtime.block_on(books.totals(filter, by)),
        }
    }
}
