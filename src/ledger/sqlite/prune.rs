//! What is forgotten: old payments, a few at a time, in the writer's turn.

use rusqlite::{Connection, params};

use super::{Outcome, read};
use crate::ledger::UnixMillis;

/// The oldest by the index over those that may go: one that has to stay is never looked at.
pub(super) const PRUNE: &str = "
DELETE FROM payment WHERE seq IN (
    SELECT seq FROM payment INDEXED BY payment_rested
    WHERE rested_at <= ?1 AND (delivered_at IS NULL OR delivered_at <= ?1)
    ORDER BY rested_at, seq LIMIT ?2)";

/// How many payments went, and how many are left.
pub(super) fn prune(connection: &Connection, until: UnixMillis, limit: u32) -> Outcome<(u64, usize)> {
    let pruned = connection.prepare_cached(PRUNE)?.execute(params![until, limit])?;
    Ok(Ok((u64::try_from(pruned).unwrap_or(u64::MAX), read::payments(connection)?)))
}
