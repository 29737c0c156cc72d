//! Unknown payments in the hands of one worker at a time.
//!
//! Every claim is made inside the writer's transaction: nothing comes between its look and its write.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Outcome, place, read};
use crate::ledger::{Claim, LedgerError, Postponement, UnixMillis, Unresolved};
use crate::x402::PaymentId;

/// A [`Claim`] on its way to the writer.
pub(super) struct Owned {
    worker: String,
    now: UnixMillis,
    until: UnixMillis,
}

impl Owned {
    pub(super) fn of(claim: Claim<'_>) -> Owned {
        Owned { worker: claim.worker.to_owned(), now: claim.now, until: claim.until }
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.now
    }
}

/// The index is named: of the two that fit, only its order finds the longest due without looking at all.
pub(super) const DUE: &str = "
SELECT id FROM payment INDEXED BY payment_due
WHERE state = 'unknown' AND next_try_at <= ?1 AND (claimed_until IS NULL OR claimed_until <= ?1)
ORDER BY next_try_at, seq LIMIT ?2";

const CLAIM: &str = "
UPDATE payment SET claimed_by = ?2, claimed_until = ?4
WHERE seq = ?1 AND state = 'unknown' AND (claimed_until IS NULL OR claimed_until <= ?3)";

/// What a record does not hold.
const REST: &str = "
SELECT coalesce(settle_request.body, ''), payment.valid_before, payment.tries
FROM payment LEFT JOIN settle_request ON settle_request.payment = payment.seq
WHERE payment.seq = ?1";

const POSTPONE: &str = r#"
UPDATE payment SET
    next_try_at = ?3, tries = tries + 1, error = ?5, "transaction" = coalesce(?4, "transaction"),
    claimed_by = NULL, claimed_until = NULL
WHERE seq = ?1 AND state = 'unknown' AND claimed_by = ?2"#;

pub(super) fn any_due(connection: &Connection, now: UnixMillis) -> Outcome<bool> {
    connection.prepare_cached(DUE)?.exists(params![now, 1]).map(Ok)
}

pub(super) fn claim_due(connection: &Connection, claim: &Owned, limit: u32) -> Outcome<Vec<Unresolved>> {
    let due = {
        let mut statement = connection.prepare_cached(DUE)?;
        let ids = statement.query_map(params![claim.now, limit], |row| read::parsed(row, 0, PaymentId::parse))?;
        ids.collect::<rusqlite::Result<Vec<_>>>()?
    };
    let mut claimed = Vec::with_capacity(due.len());
    for id in due {
        claimed.extend(take(connection, &id, claim)?);
    }
    Ok(Ok(claimed))
}

pub(super) fn claim(connection: &Connection, id: &PaymentId, claim: &Owned) -> Outcome<Option<Unresolved>> {
    take(connection, id, claim).map(Ok)
}

fn take(connection: &Connection, id: &PaymentId, claim: &Owned) -> rusqlite::Result<Option<Unresolved>> {
    let Some(seq) = place::find(connection, id)? else { return Ok(None) };
    let taken = connection.prepare_cached(CLAIM)?.execute(params![seq, claim.worker, claim.now, claim.until])?;
    if taken == 0 {
        return Ok(None);
    }
    let record = read::at(connection, seq)?;
    let whole = |row: &Row<'_>| {
        let valid_before: Option<i64> = row.get(1)?;
        Ok(Unresolved {
            record,
            settle_request: row.get_ref(0)?.as_str()?.into(),
            valid_before: valid_before.and_then(|at| u64::try_from(at).ok()),
            tries: row.get(2)?,
        })
    };
    connection.prepare_cached(REST)?.query_row(params![seq], whole).optional()
}

pub(super) fn postpone(
    connection: &Connection,
    id: &PaymentId,
    worker: &str,
    postponement: &Postponement,
) -> Outcome<()> {
    let Postponement { next_try_at, transaction, error } = postponement;
    let not_ours = || LedgerError::Conflict { id: id.clone(), to: "postponed" };
    let Some(seq) = place::find(connection, id)? else { return Ok(Err(not_ours())) };
    let changed = connection.prepare_cached(POSTPONE)?.execute(params![
        seq,
        worker,
        next_try_at,
        transaction.as_deref(),
        &**error
    ])?;
    Ok(if changed == 1 { Ok(()) } else { Err(not_ours()) })
}
