//! What is written, one statement per change. A change whose guard does not hold touches no row.

use rusqlite::{Connection, ffi, params};

use super::seen::Seen;
use super::{Outcome, place, read};
use crate::ledger::{
    CUT_OFF, Held, LedgerError, NewPayment, Opening, RELEASED, RULED_FAILED, Recovered, Reservation, Ruling, State,
    StoredKey, Transition, UnixMillis,
};
use crate::x402::PaymentId;

/// The place of the next new row.
pub(super) const NEXT: &str = "SELECT coalesce(max(seq), 0) + 1 FROM payment";

pub(super) const RESERVE: &str = "
INSERT INTO payment (seq, era, id, id_head, digest, state, route, host, payer, network, asset, amount, way, valid_before,
                     reserved_at, updated_at)
VALUES (?1, ?1 >> 16, ?2, unhex(substr(?2, 1, 16)), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13)";

/// The failed row of the same payment, written again as if it were new.
pub(super) const RESERVE_AGAIN: &str = r#"
UPDATE payment SET
    digest = ?3, state = ?4, route = ?5, host = ?6, payer = ?7, network = ?8, asset = ?9, amount = ?10, way = ?11,
    valid_before = ?12, reserved_at = ?13, updated_at = ?13,
    facilitator = NULL, "transaction" = NULL, error = NULL, settled_at = NULL, delivered_at = NULL, uses = 0,
    tries = 0, next_try_at = NULL, claimed_by = NULL, claimed_until = NULL, by_operator = 0
WHERE seq = ?1 AND id = ?2 AND state = 'failed'"#;

pub(super) const ASK_WITH: &str = "INSERT OR REPLACE INTO settle_request (payment, body) VALUES (?1, ?2)";

pub(super) fn reserve(
    connection: &Connection,
    seen: &Seen,
    payment: &NewPayment,
    opening: Opening,
) -> Outcome<Reservation> {
    let failed = if seen.may_hold(&payment.id) { place::find(connection, &payment.id)? } else { None };
    if let Some(seq) = failed {
        let held = read::at(connection, seq)?;
        if held.state != State::Failed {
            return Ok(Ok(Reservation::Held(Box::new(held))));
        }
    }
    let (seq, reserve) = match failed {
        Some(seq) => (seq, RESERVE_AGAIN),
        None => {
            // Before there is a row: one that is undone only costs a look.
            seen.add(&payment.id);
            (connection.prepare_cached(NEXT)?.query_row([], |row| row.get(0))?, RESERVE)
        }
    };
    let amount = payment.amount.to_string();
    // Later than any clock: all the same which.
    let valid_before = payment.valid_before.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
    let values = params![
        seq,
        payment.id.as_str(),
        &payment.digest[..],
        opening.state().name(),
        &*payment.route,
        &*payment.host,
        &*payment.payer,
        payment.network.caip2(),
        &*payment.asset,
        amount,
        &*payment.way,
        valid_before,
        payment.now,
    ];
    match connection.prepare_cached(reserve)?.execute(values) {
        // Of the index over ids. Only this statement is undone, and nobody else's write with it.
        Err(error) if is_unique_violation(&error) => {
            let text = format!("the id of another payment of this era begins as that of {}", payment.id);
            return Ok(Err(LedgerError::Unavailable(text)));
        }
        written => match written? {
            1 => {}
            rows => return Err(rusqlite::Error::StatementChangedRows(rows)),
        },
    }
    connection.prepare_cached(ASK_WITH)?.execute(params![seq, &*payment.settle_request])?;
    Ok(Ok(Reservation::Fresh))
}

fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}

pub(super) const SETTLING: &str =
    "UPDATE payment SET state = 'settling', updated_at = ?2 WHERE seq = ?1 AND state = 'reserved'";

pub(super) const SETTLED: &str = r#"
UPDATE payment SET
    state = 'settled', updated_at = ?2, settled_at = ?2, facilitator = ?3, error = NULL,
    "transaction" = coalesce(nullif(?4, ''), "transaction"),
    payer = CASE payer WHEN '' THEN coalesce(?5, '') ELSE payer END
WHERE seq = ?1 AND state IN ('settling', 'unknown')"#;

pub(super) const UNKNOWN: &str = r#"
UPDATE payment SET
    state = 'unknown', updated_at = ?2, next_try_at = ?2, facilitator = ?3, "transaction" = ?4, error = ?5
WHERE seq = ?1 AND state = 'settling'"#;

pub(super) const RELEASED_BY_HOLDER: &str = "
UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3 WHERE seq = ?1 AND state IN ('reserved', 'settling')";

pub(super) const FAILED: &str = "
UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3
WHERE seq = ?1 AND (state = 'reserved' OR state = 'settling' OR state = 'unknown')";

pub(super) const DELIVERED: &str =
    "UPDATE payment SET delivered_at = coalesce(delivered_at, ?2) WHERE seq = ?1 AND state = 'settled'";

pub(super) const RULED_AS_SETTLED: &str = r#"
UPDATE payment SET
    state = 'settled', updated_at = ?2, settled_at = ?2, "transaction" = ?3, error = NULL, by_operator = 1
WHERE seq = ?1 AND state = 'unknown'"#;

pub(super) const RULED_AS_FAILED: &str = "UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3, by_operator = 1 WHERE seq = ?1 AND state = 'unknown'";

pub(super) fn advance(
    connection: &Connection,
    id: &PaymentId,
    transition: &Transition,
    now: UnixMillis,
) -> Outcome<()> {
    let Some(seq) = place::find(connection, id)? else { return Ok(Err(transition.conflict(id))) };
    let changed = match transition {
        Transition::Settling => connection.prepare_cached(SETTLING)?.execute(params![seq, now])?,
        Transition::Settled { facilitator, transaction, payer } => connection
            .prepare_cached(SETTLED)?
            .execute(params![seq, now, &**facilitator, &**transaction, payer.as_deref()])?,
        Transition::Unknown { facilitator, transaction, error } => connection
            .prepare_cached(UNKNOWN)?
            .execute(params![seq, now, &**facilitator, transaction.as_deref(), &**error])?,
        Transition::Released { error } => {
            connection.prepare_cached(RELEASED_BY_HOLDER)?.execute(params![seq, now, &**error])?
        }
        Transition::Failed { error } => connection.prepare_cached(FAILED)?.execute(params![seq, now, &**error])?,
        Transition::Delivered => connection.prepare_cached(DELIVERED)?.execute(params![seq, now])?,
        Transition::Ruled(Ruling::Settled { transaction }) => {
            connection.prepare_cached(RULED_AS_SETTLED)?.execute(params![seq, now, &**transaction])?
        }
        Transition::Ruled(Ruling::Failed) => {
            connection.prepare_cached(RULED_AS_FAILED)?.execute(params![seq, now, RULED_FAILED])?
        }
    };
    Ok(if changed == 1 { Ok(()) } else { Err(transition.conflict(id)) })
}

/// Where there is nothing to close, nothing is written, and no flush of the disk is waited for.
pub(super) fn hold(connection: &Connection, seen: &Seen, id: &PaymentId, now: UnixMillis) -> Outcome<Option<Held>> {
    let Some(record) = read::find_if_seen(connection, seen, id)? else { return Ok(Ok(None)) };
    let Some(closing) = Transition::closing(&record) else { return Ok(Ok(Some(Held { record, elsewhere: false }))) };
    if let Err(conflict) = advance(connection, id, &closing, now)? {
        return Ok(Err(conflict));
    }
    Ok(Ok(read::find(connection, id)?.map(|record| Held { record, elsewhere: false })))
}

pub(super) const COUNT_USE: &str =
    "UPDATE payment SET uses = uses + 1 WHERE seq = ?1 AND state = 'settled' AND uses < ?2";

pub(super) fn count_use(connection: &Connection, id: &PaymentId, limit: u32) -> Outcome<bool> {
    let Some(seq) = place::find(connection, id)? else { return Ok(Err(not_settled(id))) };
    let counted = connection.prepare_cached(COUNT_USE)?.execute(params![seq, limit])?;
    if counted == 1 {
        return Ok(Ok(true));
    }
    let settled = connection
        .prepare_cached("SELECT 1 FROM payment WHERE seq = ?1 AND state = 'settled'")?
        .exists(params![seq])?;
    Ok(if settled { Ok(false) } else { Err(not_settled(id)) })
}

fn not_settled(id: &PaymentId) -> LedgerError {
    LedgerError::Conflict { id: id.clone(), to: "used" }
}

pub(super) fn pass_keys(connection: &Connection) -> Outcome<Vec<StoredKey>> {
    let stored = {
        let mut statement = connection.prepare("SELECT id, secret FROM pass_key ORDER BY seq DESC")?;
        let keys = statement.query_map([], |row| Ok(StoredKey { id: row.get(0)?, secret: row.get(1)? }))?;
        keys.collect::<rusqlite::Result<Vec<_>>>()?
    };
    if !stored.is_empty() {
        return Ok(Ok(stored));
    }
    let key = StoredKey::random();
    connection.execute("INSERT INTO pass_key (id, secret) VALUES (?1, ?2)", params![key.id, &key.secret[..]])?;
    Ok(Ok(vec![key]))
}

/// Each finds its rows by the partial index over open payments: a start takes no longer with millions of settled ones.
pub(super) fn recover(connection: &Connection, now: UnixMillis) -> Outcome<Recovered> {
    let released = connection.execute(
        "UPDATE payment SET state = 'failed', updated_at = ?1, error = ?2 WHERE state = 'reserved'",
        params![now, RELEASED],
    )?;
    let unknown = connection.execute(
        "UPDATE payment SET state = 'unknown', updated_at = ?1, next_try_at = ?1, error = ?2 WHERE state = 'settling'",
        params![now, CUT_OFF],
    )?;
    // Of the run that ended: what it was at is nobody's now.
    connection.execute("UPDATE payment SET claimed_by = NULL, claimed_until = NULL WHERE state = 'unknown'", [])?;
    let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
    Ok(Ok(Recovered { released: count(released), unknown: count(unknown) }))
}

pub(super) fn check(connection: &Connection) -> Outcome<()> {
    connection.prepare_cached("UPDATE pulse SET beats = (beats + 1) % 1000000")?.execute([])?;
    Ok(Ok(()))
}
