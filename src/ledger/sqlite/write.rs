//! What is written, one statement per change. A change whose guard does not hold touches no row.

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{Outcome, read};
use crate::ledger::{
    CUT_OFF, Held, LedgerError, NewPayment, Opening, RELEASED, RULED_FAILED, Recovered, Reservation, Ruling, StoredKey,
    Transition, UnixMillis,
};
use crate::x402::PaymentId;

/// A new row, or a failed one written again as if it were new; a row in any other state is left alone.
const RESERVE: &str = r#"
INSERT INTO payment (id, digest, state, route, host, payer, network, asset, amount, way, valid_before,
                     reserved_at, updated_at)
VALUES (:id, :digest, :state, :route, :host, :payer, :network, :asset, :amount, :way, :valid_before, :now, :now)
ON CONFLICT (id) DO UPDATE SET
    digest = excluded.digest, state = excluded.state, route = excluded.route, host = excluded.host,
    payer = excluded.payer, network = excluded.network, asset = excluded.asset, amount = excluded.amount,
    way = excluded.way, valid_before = excluded.valid_before,
    reserved_at = excluded.reserved_at, updated_at = excluded.updated_at,
    facilitator = NULL, "transaction" = NULL, error = NULL, settled_at = NULL, delivered_at = NULL, uses = 0,
    tries = 0, next_try_at = NULL, claimed_by = NULL, claimed_until = NULL, by_operator = 0
WHERE payment.state = 'failed'
RETURNING seq"#;

pub(super) fn reserve(connection: &Connection, payment: &NewPayment, opening: Opening) -> Outcome<Reservation> {
    let amount = payment.amount.to_string();
    // Later than any clock: all the same which.
    let valid_before = payment.valid_before.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
    let fresh: Option<i64> = connection
        .prepare_cached(RESERVE)?
        .query_row(
            named_params! {
                ":id": payment.id.as_str(),
                ":digest": &payment.digest[..],
                ":state": opening.state().name(),
                ":route": &*payment.route,
                ":host": &*payment.host,
                ":payer": &*payment.payer,
                ":network": payment.network.caip2(),
                ":asset": &*payment.asset,
                ":amount": amount,
                ":way": &*payment.way,
                ":valid_before": valid_before,
                ":now": payment.now,
            },
            |row| row.get(0),
        )
        .optional()?;
    if let Some(seq) = fresh {
        connection
            .prepare_cached("INSERT OR REPLACE INTO settle_request (payment, body) VALUES (?1, ?2)")?
            .execute(params![seq, &*payment.settle_request])?;
        return Ok(Ok(Reservation::Fresh));
    }
    let held = read::find(connection, &payment.id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(Ok(Reservation::Held(Box::new(held))))
}

const SETTLING: &str = "UPDATE payment SET state = 'settling', updated_at = ?2 WHERE id = ?1 AND state = 'reserved'";

const SETTLED: &str = r#"
UPDATE payment SET
    state = 'settled', updated_at = ?2, settled_at = ?2, facilitator = ?3, error = NULL,
    "transaction" = coalesce(nullif(?4, ''), "transaction"),
    payer = CASE payer WHEN '' THEN coalesce(?5, '') ELSE payer END
WHERE id = ?1 AND state IN ('settling', 'unknown')"#;

const UNKNOWN: &str = r#"
UPDATE payment SET
    state = 'unknown', updated_at = ?2, next_try_at = ?2, facilitator = ?3, "transaction" = ?4, error = ?5
WHERE id = ?1 AND state = 'settling'"#;

const RELEASED_BY_HOLDER: &str = "
UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3 WHERE id = ?1 AND state IN ('reserved', 'settling')";

const FAILED: &str = "
UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3
WHERE id = ?1 AND state IN ('reserved', 'settling', 'unknown')";

const DELIVERED: &str =
    "UPDATE payment SET delivered_at = coalesce(delivered_at, ?2) WHERE id = ?1 AND state = 'settled'";

const RULED_AS_SETTLED: &str = r#"
UPDATE payment SET
    state = 'settled', updated_at = ?2, settled_at = ?2, "transaction" = ?3, error = NULL, by_operator = 1
WHERE id = ?1 AND state = 'unknown'"#;

const RULED_AS_FAILED: &str = "UPDATE payment SET state = 'failed', updated_at = ?2, error = ?3, by_operator = 1 WHERE id = ?1 AND state = 'unknown'";

pub(super) fn advance(
    connection: &Connection,
    id: &PaymentId,
    transition: &Transition,
    now: UnixMillis,
) -> Outcome<()> {
    let key = id.as_str();
    let changed = match transition {
        Transition::Settling => connection.prepare_cached(SETTLING)?.execute(params![key, now])?,
        Transition::Settled { facilitator, transaction, payer } => connection
            .prepare_cached(SETTLED)?
            .execute(params![key, now, &**facilitator, &**transaction, payer.as_deref()])?,
        Transition::Unknown { facilitator, transaction, error } => connection
            .prepare_cached(UNKNOWN)?
            .execute(params![key, now, &**facilitator, transaction.as_deref(), &**error])?,
        Transition::Released { error } => {
            connection.prepare_cached(RELEASED_BY_HOLDER)?.execute(params![key, now, &**error])?
        }
        Transition::Failed { error } => connection.prepare_cached(FAILED)?.execute(params![key, now, &**error])?,
        Transition::Delivered => connection.prepare_cached(DELIVERED)?.execute(params![key, now])?,
        Transition::Ruled(Ruling::Settled { transaction }) => {
            connection.prepare_cached(RULED_AS_SETTLED)?.execute(params![key, now, &**transaction])?
        }
        Transition::Ruled(Ruling::Failed) => {
            connection.prepare_cached(RULED_AS_FAILED)?.execute(params![key, now, RULED_FAILED])?
        }
    };
    Ok(if changed == 1 { Ok(()) } else { Err(transition.conflict(id)) })
}

/// Where there is nothing to close, nothing is written, and no flush of the disk is waited for.
pub(super) fn hold(connection: &Connection, id: &PaymentId, now: UnixMillis) -> Outcome<Option<Held>> {
    let Some(record) = read::find(connection, id)? else { return Ok(Ok(None)) };
    let Some(closing) = Transition::closing(&record) else { return Ok(Ok(Some(Held { record, elsewhere: false }))) };
    if let Err(conflict) = advance(connection, id, &closing, now)? {
        return Ok(Err(conflict));
    }
    Ok(Ok(read::find(connection, id)?.map(|record| Held { record, elsewhere: false })))
}

pub(super) fn count_use(connection: &Connection, id: &PaymentId, limit: u32) -> Outcome<bool> {
    let counted = connection
        .prepare_cached("UPDATE payment SET uses = uses + 1 WHERE id = ?1 AND state = 'settled' AND uses < ?2")?
        .execute(params![id.as_str(), limit])?;
    if counted == 1 {
        return Ok(Ok(true));
    }
    let settled = connection
        .prepare_cached("SELECT 1 FROM payment WHERE id = ?1 AND state = 'settled'")?
        .exists(params![id.as_str()])?;
    Ok(if settled { Ok(false) } else { Err(LedgerError::Conflict { id: id.clone(), to: "used" }) })
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
