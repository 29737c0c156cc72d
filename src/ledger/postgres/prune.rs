//! What is forgotten: old payments, a few at a time. Gateways that prune at the same moment share the work.

use super::pool::Pool;
use crate::ledger::{LedgerError, UnixMillis};

/// The oldest by the index over those that may go: one that has to stay is never looked at. One that is locked is being
/// reserved again, or pruned by another gateway.
pub(super) const PRUNE: &str = "
WITH old AS MATERIALIZED (
    SELECT seq FROM farebox_payment
    WHERE farebox_rested_at(state, updated_at, valid_before) <= $2 AND (delivered_at IS NULL OR delivered_at <= $2)
        AND clock_timestamp() < $1
    ORDER BY farebox_rested_at(state, updated_at, valid_before), seq LIMIT $3 FOR UPDATE SKIP LOCKED),
done AS (DELETE FROM farebox_payment WHERE seq IN (SELECT seq FROM old) RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1, (SELECT count(*) FROM done)";

pub(super) async fn prune(pool: &Pool, until: UnixMillis, limit: u32) -> Result<u64, LedgerError> {
    let row = pool.row(PRUNE, &[&pool.deadline(), &until, &i64::from(limit)]).await?;
    pool.done(&row)?;
    Ok(u64::try_from(pool.get::<i64>(&row, 2)?).unwrap_or(0))
}
