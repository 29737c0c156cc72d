//! Unknown payments in the hands of one worker at a time.
//!
//! A claim ends by its time, or with the lease of the node that made it.

use tokio_postgres::Row;

use super::node::Node;
use super::pool::Pool;
use super::read::{self, COLUMNS, storable};
use super::write::IS_GONE;
use crate::ledger::{Claim, LedgerError, Postponement, Unresolved};
use crate::x402::PaymentId;

/// What of a claimed payment comes back: a [`read::record`] and what it does not hold.
const REST: &str = "coalesce(settle_request, ''), valid_before, tries, next_try_at, seq";

pub(super) async fn claim_due(
    pool: &Pool,
    node: Node,
    claim: Claim<'_>,
    limit: u32,
) -> Result<Vec<Unresolved>, LedgerError> {
    // Others that look at the same moment take the next ones.
    let sql = format!(
        "WITH due AS MATERIALIZED (
            SELECT seq FROM farebox_payment
            WHERE state = 'unknown' AND next_try_at <= $3
                AND (claimed_until IS NULL OR claimed_until <= $3 OR {IS_GONE}) AND clock_timestamp() < $1
            ORDER BY next_try_at, farebox_payment.seq LIMIT $5 FOR UPDATE SKIP LOCKED),
        claimed AS (
            UPDATE farebox_payment SET claimed_by = $2, claimed_until = $4, holder = $6
            WHERE seq IN (SELECT seq FROM due) RETURNING *)
        SELECT {COLUMNS}, {REST} FROM claimed ORDER BY next_try_at, seq"
    );
    let worker = storable(claim.worker);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&pool.deadline(), &worker, &claim.now, &claim.until, &i64::from(limit), &node.id];
    pool.rows(&sql, &parameters).await?.iter().map(|row| unresolved(pool, row)).collect()
}

pub(super) async fn claim(
    pool: &Pool,
    node: Node,
    id: &PaymentId,
    claim: Claim<'_>,
) -> Result<Option<Unresolved>, LedgerError> {
    let sql = format!(
        "UPDATE farebox_payment SET claimed_by = $3, claimed_until = $5, holder = $6
        WHERE id = $2 AND state = 'unknown' AND (claimed_until IS NULL OR claimed_until <= $4 OR {IS_GONE})
            AND clock_timestamp() < $1
        RETURNING {COLUMNS}, {REST}"
    );
    let worker = storable(claim.worker);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&pool.deadline(), &id.as_str(), &worker, &claim.now, &claim.until, &node.id];
    let rows = pool.rows(&sql, &parameters).await?;
    rows.first().map(|row| unresolved(pool, row)).transpose()
}

const POSTPONE: &str = "
WITH done AS (
    UPDATE farebox_payment SET
        next_try_at = $4, tries = tries + 1, error = $6, transaction = coalesce($5, transaction),
        claimed_by = NULL, claimed_until = NULL, holder = NULL
    WHERE id = $2 AND state = 'unknown' AND claimed_by = $3 AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

pub(super) async fn postpone(
    pool: &Pool,
    id: &PaymentId,
    worker: &str,
    postponement: &Postponement,
) -> Result<(), LedgerError> {
    let Postponement { next_try_at, transaction, error } = postponement;
    let transaction = transaction.as_deref().map(storable);
    let texts = (storable(worker), storable(error));
    let done =
        pool.write(POSTPONE, &[&pool.deadline(), &id.as_str(), &texts.0, next_try_at, &transaction, &texts.1]).await?;
    if done { Ok(()) } else { Err(LedgerError::Conflict { id: id.clone(), to: "postponed" }) }
}

fn unresolved(pool: &Pool, row: &Row) -> Result<Unresolved, LedgerError> {
    Ok(Unresolved {
        record: read::record(pool, row)?,
        settle_request: pool.get::<&str>(row, 20)?.into(),
        valid_before: pool.get::<Option<i64>>(row, 21)?.and_then(|at| u64::try_from(at).ok()),
        tries: u32::try_from(pool.get::<i64>(row, 22)?).unwrap_or(u32::MAX),
    })
}
