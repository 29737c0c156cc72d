//! What is written, one statement per change. A change whose guard does not hold touches no row.

use rusqlite::{Connection, ffi, params};

use super::seen::Seen;
use super::{Outcome, place, read};
use crate::ledger::{
    CUT_OFF, Held, LedgerError, NewPayment, Opening, RELEASED, RULED_FAILED, Recovered, Reservation, Ruling, State,
    StoredKey, Transition, UnixMillis,
};
use crate::x402::PaymentId;

/// A new row, or where a place is given the failed one there, written again as if it were new.
pub(super) const RESERVE: &str = r#"
INSERT INTO payment (seq, era, id, id_head, digest, state, route, host, payer, network, asset, amount, way, valid_before,
                     reserved_at, updated_at)
SELECT place.seq, place.seq >> 16, ?1, unhex(substr(?1, 1, 16)), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12
FROM (SELECT coalesce(?13, (SELECT max(seq) + 1 FROM payment), 1) AS seq) AS place WHERE true
ON CONFLICT (seq) DO UPDATE SET
    digest = excluded.digest, state = excluded.state, route = excluded.route, host = excluded.host,
    payer = excluded.payer, network = excluded.network, asset = excluded.asset, amount = excluded.amount,
    way = excluded.way, valid_before = excluded.valid_before,
    reserved_at = excluded.reserved_at, updated_at = excluded.updated_at,
    facilitator = NULL, "transaction" = NULL, error = NULL, settled_at = NULL, delivered_at = NULL, uses = 0,
    tries = 0, next_try_at = NULL, claimed_by = NULL, claimed_until = NULL, by_operator = 0
WHERE payment.state = 'failed'
RETURNING seq"#;

const ASK_WITH: &str = "INSERT OR REPLACE INTO settle_request (payment, body) VALUES (?1, ?2)";

pub(super) fn reserve(
    connection: &Connection,
    seen: &Seen,
    payment: &NewPayment,
    opening: Opening,
) -> Outcome<Reservation> {
    let place = if seen.may_hold(&payment.id) { place::find(connection, &payment.id)? } else { None };
    match place {
        Some(seq) => {
            let held = read::at(connection, seq)?;
            if held.state != State::Failed {
                return Ok(Ok(Reservation::Held(Box::new(held))));
            }
        }
        // Before there is a row: one that is undone only costs a look.
        None => seen.add(&payment.id),
    }
    let amount = payment.amount.to_string();
    // Later than any clock: all the same which.
    let valid_before = payment.valid_before.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
    let values = params![
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
        place,
    ];
    let seq: i64 = match connection.prepare_cached(RESERVE)?.query_row(values, |row| row.get(0)) {
        // Of the index over ids. Only this statement is undone, and nobody else's write with it.
        Err(error) if is_unique_violation(&error) => {
            let text = format!("the id of another payment of this era begins as that of {}", payment.id);
            return Ok(Err(LedgerError::Unavailable(text)));
        }
        reserved => reserved?,
    };
    connection.prepare_cached(ASK_WITH)?.execute(params![seq, &*payment.settle_request])?;
    Ok(Ok(Reservation::Fresh))
}

fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}

const SETTLING: &str = "UPDATE payment SET state = 'settling', updated_at = ?2 WHERE seq = ?1 AND state = 'reserved'";

const SETTLED: &str = r#"
UPDATE payment SET
    state = 'settled', updated_at = ?2, settled_at = ?2, facilitator = ?3, error = NULL,
    "transaction" = coalesce(nullif(?4, ''), "transaction"),
    payer = CASE payer WHEN '' THEN coalesce(?5, '') ELSE payer END
WHERE seq = ?1 AND state IN ('settling', 'unknown')"#;

const UNKNOWN: &str = r#"
UPDATE payment SET
    state = 'unknown', updated_at = ?2, next_try_at = ?2, facilitator = ?3, "transaction" = ?4, error = ?5
WHERE seq = ?1 AND state = 'settling'"#;

const RELEASED_BY_HOLDER: &str = "
UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3 WHERE seq = ?1 AND state IN ('reserved', 'settling')";

const FAILED: &str = "
UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3
WHERE seq = ?1 AND state IN ('reserved', 'settling', 'unknown')";

const DELIVERED: &str =
    "UPDATE payment SET delivered_at = coalesce(delivered_at, ?2) WHERE seq = ?1 AND state = 'settled'";

const RULED_AS_SETTLED: &str = r#"
UPDATE payment SET
    state = 'settled', updated_at = ?2, settled_at = ?2, "transaction" = ?3, error = NULL, by_operator = 1
WHERE seq = ?1 AND state = 'unknown'"#;

const RULED_AS_FAILED: &str = "UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3, by_operator = 1 WHERE seq = ?1 AND state = 'unknown'";

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

pub(super) fn count_use(connection: &Connection, id: &PaymentId, limit: u32) -> Outcome<bool> {
    let Some(seq) = place::find(connection, id)? else { return Ok(Err(not_settled(id))) };
    let counted = connection
        .prepare_cached("UPDATE payment SET uses = uses + 1 WHERE seq = ?1 AND state = 'settled' AND uses < ?2")?
        .execute(params![seq, limit])?;
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
