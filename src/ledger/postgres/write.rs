//! What is written, a statement each: a payment is taken, moved on and counted by one node at a time.
//!
//! Every one ends with the same two columns: whether it happened, and whether it was asked in time (see
//! [`Pool::deadline`]). Those that are a holder's say so: `holder` is this node.

use super::node::Node;
use super::pool::Pool;
use super::read::{self, storable};
use crate::ledger::{
    ABANDONED, CUT_OFF, Held, LedgerError, NewPayment, Opening, RELEASED, RULED_FAILED, Recovered, Reservation, Ruling,
    State, StoredKey, Transition, UNWRITTEN, UnixMillis,
};
use crate::x402::PaymentId;

/// How often a reservation is tried that finds the payment neither free nor held: others change it at the same time.
const RESERVE_TRIES: usize = 8;

const RESERVE: &str = "
WITH done AS (
    INSERT INTO farebox_payment AS payment
        (id, digest, state, route, host, payer, network, asset, amount, way, valid_before, reserved_at, updated_at,
         holder, settle_request)
    SELECT $2, $3, $4, $5, $6, $7, $8, $9, $10::text::numeric, $11, $12, $13, $13, $14, $15
    WHERE clock_timestamp() < $1
    ON CONFLICT (id) DO UPDATE SET
        digest = excluded.digest, state = excluded.state, route = excluded.route, host = excluded.host,
        payer = excluded.payer, network = excluded.network, asset = excluded.asset, amount = excluded.amount,
        way = excluded.way, valid_before = excluded.valid_before, reserved_at = excluded.reserved_at,
        updated_at = excluded.updated_at, holder = excluded.holder, settle_request = excluded.settle_request,
        facilitator = NULL, transaction = NULL, error = NULL, settled_at = NULL, delivered_at = NULL, uses = 0,
        tries = 0, next_try_at = NULL, claimed_by = NULL, claimed_until = NULL, by_operator = false
    WHERE payment.state = 'failed'
    RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

pub(super) async fn reserve(
    pool: &Pool,
    node: Node,
    payment: &NewPayment,
    opening: Opening,
) -> Result<Reservation, LedgerError> {
    let amount = payment.amount.to_string();
    // Later than any clock: all the same which.
    let valid_before = payment.valid_before.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
    for _ in 0..RESERVE_TRIES {
        let taken = pool
            .write(
                RESERVE,
                &[
                    &pool.deadline(),
                    &payment.id.as_str(),
                    &&payment.digest[..],
                    &opening.state().name(),
                    &storable(&payment.route),
                    &storable(&payment.host),
                    &storable(&payment.payer),
                    &payment.network.caip2(),
                    &storable(&payment.asset),
                    &amount,
                    &storable(&payment.way),
                    &valid_before,
                    &payment.now,
                    &node.id,
                    &storable(&payment.settle_request),
                ],
            )
            .await?;
        if taken {
            return Ok(Reservation::Fresh);
        }
        if let Some((record, _)) = read::find(pool, &payment.id).await?
            && record.state != State::Failed
        {
            return Ok(Reservation::Held(Box::new(record)));
        }
    }
    Err(pool.place.unavailable("a payment is reserved and released again and again"))
}

const SETTLING: &str = "
WITH done AS (
    UPDATE farebox_payment SET state = 'settling', updated_at = $3
    WHERE id = $2 AND state = 'reserved' AND holder = $4 AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

/// Whoever learns that the money moved may say so.
const SETTLED: &str = "
WITH done AS (
    UPDATE farebox_payment SET
        state = 'settled', updated_at = $3, settled_at = $3, facilitator = $4, error = NULL, settle_request = NULL,
        transaction = coalesce(nullif($5, ''), transaction),
        payer = CASE payer WHEN '' THEN coalesce($6, '') ELSE payer END,
        holder = CASE state WHEN 'unknown' THEN NULL ELSE holder END
    WHERE id = $2 AND state IN ('settling', 'unknown') AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

const UNKNOWN: &str = "
WITH done AS (
    UPDATE farebox_payment SET
        state = 'unknown', updated_at = $3, next_try_at = $3, facilitator = $4, transaction = $5, error = $6,
        holder = NULL
    WHERE id = $2 AND state = 'settling' AND holder = $7 AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

const RELEASED_BY_HOLDER: &str = "
WITH done AS (
    UPDATE farebox_payment SET state = 'failed', updated_at = $3, error = $4, holder = NULL, settle_request = NULL
    WHERE id = $2 AND state IN ('reserved', 'settling') AND holder = $5 AND clock_timestamp() < $1
    RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

const FAILED: &str = "
WITH done AS (
    UPDATE farebox_payment SET state = 'failed', updated_at = $3, error = $4, holder = NULL, settle_request = NULL
    WHERE id = $2 AND (state = 'unknown' OR state IN ('reserved', 'settling') AND holder = $5)
        AND clock_timestamp() < $1
    RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

const DELIVERED: &str = "
WITH done AS (
    UPDATE farebox_payment SET delivered_at = coalesce(delivered_at, $3), holder = NULL
    WHERE id = $2 AND state = 'settled' AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

const RULED_AS_SETTLED: &str = "
WITH done AS (
    UPDATE farebox_payment SET
        state = 'settled', updated_at = $3, settled_at = $3, transaction = $4, error = NULL, settle_request = NULL,
        holder = NULL, by_operator = true
    WHERE id = $2 AND state = 'unknown' AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

const RULED_AS_FAILED: &str = "
WITH done AS (
    UPDATE farebox_payment SET
        state = 'failed', updated_at = $3, error = $4, settle_request = NULL, holder = NULL, by_operator = true
    WHERE id = $2 AND state = 'unknown' AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

pub(super) async fn advance(
    pool: &Pool,
    node: Node,
    id: &PaymentId,
    transition: &Transition,
    now: UnixMillis,
) -> Result<(), LedgerError> {
    let (until, key) = (pool.deadline(), id.as_str());
    let done = match transition {
        Transition::Settling => pool.write(SETTLING, &[&until, &key, &now, &node.id]).await?,
        Transition::Settled { facilitator, transaction, payer } => {
            let payer = payer.as_deref().map(storable);
            let texts = (storable(facilitator), storable(transaction));
            pool.write(SETTLED, &[&until, &key, &now, &texts.0, &texts.1, &payer]).await?
        }
        Transition::Unknown { facilitator, transaction, error } => {
            let transaction = transaction.as_deref().map(storable);
            let texts = (storable(facilitator), storable(error));
            pool.write(UNKNOWN, &[&until, &key, &now, &texts.0, &transaction, &texts.1, &node.id]).await?
        }
        Transition::Released { error } => {
            pool.write(RELEASED_BY_HOLDER, &[&until, &key, &now, &storable(error), &node.id]).await?
        }
        Transition::Failed { error } => pool.write(FAILED, &[&until, &key, &now, &storable(error), &node.id]).await?,
        Transition::Delivered => pool.write(DELIVERED, &[&until, &key, &now]).await?,
        Transition::Ruled(Ruling::Settled { transaction }) => {
            pool.write(RULED_AS_SETTLED, &[&until, &key, &now, &storable(transaction)]).await?
        }
        Transition::Ruled(Ruling::Failed) => pool.write(RULED_AS_FAILED, &[&until, &key, &now, &RULED_FAILED]).await?,
    };
    if done { Ok(()) } else { Err(transition.conflict(id)) }
}

const COUNT_USE: &str = "
WITH done AS (
    UPDATE farebox_payment SET uses = uses + 1
    WHERE id = $2 AND state = 'settled' AND uses < $3 AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1,
    EXISTS (SELECT FROM farebox_payment WHERE id = $2 AND state = 'settled')";

pub(super) async fn count_use(pool: &Pool, id: &PaymentId, limit: u32) -> Result<bool, LedgerError> {
    let row = pool.row(COUNT_USE, &[&pool.deadline(), &id.as_str(), &i64::from(limit)]).await?;
    match (pool.done(&row)?, pool.get::<bool>(&row, 2)?) {
        (true, _) => Ok(true),
        (false, true) => Ok(false),
        (false, false) => Err(LedgerError::Conflict { id: id.clone(), to: "used" }),
    }
}

/// A payment's holder that is gone: its lease has ended.
pub(super) const IS_GONE: &str = "(holder IS NULL OR NOT EXISTS (
    SELECT FROM farebox_node AS node WHERE node.id = holder AND node.alive_until > clock_timestamp()))";

pub(super) async fn hold(
    pool: &Pool,
    node: Node,
    id: &PaymentId,
    now: UnixMillis,
) -> Result<Option<Held>, LedgerError> {
    let sql = format!(
        "WITH done AS (
            UPDATE farebox_payment SET
                state = CASE state WHEN 'reserved' THEN 'failed' WHEN 'settling' THEN 'unknown' ELSE state END,
                error = CASE state WHEN 'reserved' THEN $5 WHEN 'settling' THEN $6 ELSE error END,
                updated_at = CASE state WHEN 'settled' THEN updated_at ELSE $4 END,
                next_try_at = CASE state WHEN 'settling' THEN $4 END,
                facilitator = CASE state WHEN 'settling' THEN coalesce(facilitator, '') ELSE facilitator END,
                transaction = CASE state WHEN 'settling' THEN NULL ELSE transaction END,
                settle_request = CASE state WHEN 'settling' THEN settle_request END,
                holder = CASE state WHEN 'settled' THEN $3 END
            WHERE id = $2 AND (holder = $3 OR {IS_GONE}) AND clock_timestamp() < $1
                AND (state IN ('reserved', 'settling') OR state = 'settled' AND delivered_at IS NULL)
            RETURNING 1)
        SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1"
    );
    pool.write(&sql, &[&pool.deadline(), &id.as_str(), &node.id, &now, &ABANDONED, &UNWRITTEN]).await?;
    let Some((record, holder)) = read::find(pool, id).await? else { return Ok(None) };
    let elsewhere = match record.state {
        State::Reserved | State::Settling => true,
        State::Settled => record.delivered_at.is_none() && holder != Some(node.id),
        State::Unknown | State::Failed => false,
    };
    Ok(Some(Held { record, elsewhere }))
}

const LET_GO: &str = "
WITH done AS (
    UPDATE farebox_payment SET holder = NULL
    WHERE id = $2 AND state = 'settled' AND holder = $3 AND clock_timestamp() < $1 RETURNING 1)
SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1";

pub(super) async fn let_go(pool: &Pool, node: Node, id: &PaymentId) -> Result<(), LedgerError> {
    pool.write(LET_GO, &[&pool.deadline(), &id.as_str(), &node.id]).await.map(drop)
}

/// Closes what nodes that are gone have left open and, where it says so, what this one has, its claims too. Rows that
/// somebody changes at this moment are not waited for: they are not left over.
pub(super) async fn recover(pool: &Pool, node: Node, now: UnixMillis, own_too: bool) -> Result<Recovered, LedgerError> {
    let sql = format!(
        "WITH left_over AS (
            SELECT seq FROM farebox_payment
            WHERE state IN ('reserved', 'settling') AND ($6 AND holder = $3 OR {IS_GONE}) AND clock_timestamp() < $1
            FOR UPDATE SKIP LOCKED),
        done AS (
            UPDATE farebox_payment SET
                state = CASE state WHEN 'reserved' THEN 'failed' ELSE 'unknown' END,
                error = CASE state WHEN 'reserved' THEN $4 ELSE $5 END,
                settle_request = CASE state WHEN 'settling' THEN settle_request END,
                updated_at = $2, next_try_at = $2, holder = NULL
            FROM left_over WHERE farebox_payment.seq = left_over.seq
            RETURNING state),
        unclaimed AS (
            UPDATE farebox_payment SET claimed_by = NULL, claimed_until = NULL, holder = NULL
            WHERE $6 AND state = 'unknown' AND holder = $3 AND clock_timestamp() < $1)
        SELECT EXISTS (SELECT FROM done), clock_timestamp() < $1,
            (SELECT count(*) FROM done WHERE state = 'failed'), (SELECT count(*) FROM done WHERE state = 'unknown')"
    );
    let row = pool.row(&sql, &[&pool.deadline(), &now, &node.id, &RELEASED, &CUT_OFF, &own_too]).await?;
    pool.done(&row)?;
    let count = |column| Ok(u64::try_from(pool.get::<i64>(&row, column)?).unwrap_or(0));
    Ok(Recovered { released: count(2)?, unknown: count(3)? })
}

pub(super) async fn pass_keys(pool: &Pool) -> Result<Vec<StoredKey>, LedgerError> {
    let stored = stored_keys(pool).await?;
    if !stored.is_empty() {
        return Ok(stored);
    }
    let key = StoredKey::random();
    // Of nodes that start together the first one's stands.
    let first = "INSERT INTO farebox_pass_key (seq, id, secret) VALUES (1, $1, $2) ON CONFLICT DO NOTHING";
    pool.rows(first, &[&key.id, &&key.secret[..]]).await?;
    stored_keys(pool).await
}

async fn stored_keys(pool: &Pool) -> Result<Vec<StoredKey>, LedgerError> {
    let rows = pool.rows("SELECT id, secret FROM farebox_pass_key ORDER BY seq DESC", &[]).await?;
    let damaged = |_| pool.place.unavailable("a pass key is damaged");
    rows.iter()
        .map(|row| {
            let secret = pool.get::<&[u8]>(row, 1)?.try_into().map_err(damaged)?;
            Ok(StoredKey { id: pool.get(row, 0)?, secret })
        })
        .collect()
}
