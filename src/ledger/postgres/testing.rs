//! A server for tests, shared with those over sockets.

#[path = "../../../tests/gateway/support/ports.rs"]
mod ports;
#[path = "../../../tests/gateway/support/postgres.rs"]
mod server;

pub(in crate::ledger) use server::Postgres;

use super::PostgresLedger;
use crate::config::{LedgerUrl, PostgresUrl};

pub(in crate::ledger) fn url(text: &str) -> PostgresUrl {
    match LedgerUrl::parse(text, "/".as_ref()) {
        Ok(LedgerUrl::Postgres(url)) => *url,
        other => panic!("{other:?}"),
    }
}

/// A ledger in a database of its own, whose URL comes with it.
pub(in crate::ledger) async fn open() -> (PostgresLedger, String) {
    let text = Postgres::shared().database().await;
    (PostgresLedger::open(&url(&text)).await.unwrap(), text)
}
