//! What a fault of the database's means to an operator, and what helps.

use std::error::Error as _;
use std::fmt::Write as _;

use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::ledger::LedgerError;

/// Names the database in every message.
#[derive(Debug, Clone)]
pub(super) struct Place(pub(super) std::sync::Arc<str>);

impl Place {
    pub(super) fn unavailable(&self, text: &str) -> LedgerError {
        LedgerError::Unavailable(format!("{}: {text}", self.0))
    }

    pub(super) fn pool_trouble(&self, error: PoolError) -> LedgerError {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => self.trouble(&error),
            PoolError::PostCreateHook(error) => self.unavailable(&format!("a new connection is of no use: {error}")),
            PoolError::Closed => self.unavailable("it is closed"),
            PoolError::Timeout(_) | PoolError::NoRuntimeSpecified => self.unavailable("no connection to it is free"),
        }
    }

    pub(super) fn trouble(&self, error: &Error) -> LedgerError {
        let state = error.code();
        let remedy = match state {
            Some(code)
                if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
            {
                "it lets this user not in: check user, password and the server's pg_hba.conf"
            }
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "there is no such database: make it (createdb)",
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                "this user may not do that: let it own the database, or grant it its tables and CREATE on their schema"
            }
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                "it can only be read: name the primary, or add ?target_session_attrs=read-write to a list of hosts"
            }
            Some(code) if *code == SqlState::DISK_FULL => "its disk is full: make room; nothing needs a restart",
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
                "it takes no more connections: raise max_connections"
            }
            Some(code) if *code == SqlState::QUERY_CANCELED => "it is too slow: look at its load and its locks",
            Some(code) if *code == SqlState::UNDEFINED_TABLE => "it has no ledger: a start of the gateway makes one",
            Some(code)
                if [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW]
                    .contains(code) =>
            {
                "it is going down or coming up"
            }
            Some(_) => "it refused",
            None if error.is_closed() => "the connection was lost",
            None => "it cannot be reached",
        };
        self.unavailable(&format!("{remedy} ({})", chain(error)))
    }
}

/// An error and its causes. The driver's words hold no password.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
