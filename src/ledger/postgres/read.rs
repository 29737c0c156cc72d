//! What is read: one payment, many, their sums and their counts.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::pool::Pool;
use crate::ledger::totals::{Entry, Sums};
use crate::ledger::{Counts, Filter, GroupBy, LedgerError, Record, State, Total};
use crate::x402::{Network, PaymentId};

pub(super) const COLUMNS: &str =
    "id, digest, state, route, host, payer, network, asset, amount::text, way, facilitator, transaction,
    error, reserved_at, updated_at, settled_at, delivered_at, uses, by_operator, holder";

/// A payment and the node that works on it.
pub(super) async fn find(pool: &Pool, id: &PaymentId) -> Result<Option<(Record, Option<i64>)>, LedgerError> {
    let sql = format!("SELECT {COLUMNS} FROM farebox_payment WHERE id = $1");
    let rows = pool.rows(&sql, &[&id.as_str()]).await?;
    rows.first().map(|row| Ok((record(pool, row)?, pool.get(row, 19)?))).transpose()
}

/// Hands over one payment after the other, newest first, until there are no more or none is wanted.
pub(super) async fn each(
    pool: &Pool,
    filter: &Filter,
    mut hand: impl FnMut(Record) -> ControlFlow<()>,
) -> Result<(), LedgerError> {
    let mut query = Query::over(filter, &format!("SELECT {COLUMNS}"));
    query.sql.push_str(" ORDER BY reserved_at DESC, seq DESC");
    if let Some(limit) = filter.limit {
        query.add(" LIMIT ", i64::from(limit));
    }
    pool.each_row(&query.sql, &query.parameters(), |row| Ok(hand(record(pool, &row)?))).await
}

pub(super) async fn totals(pool: &Pool, filter: &Filter, by: GroupBy) -> Result<Vec<Total>, LedgerError> {
    let columns = "SELECT route, payer, settled_at, network, asset, amount::text, delivered_at IS NOT NULL";
    let mut query = Query::over(filter, columns);
    query.sql.push_str(" AND state = 'settled'");
    let mut sums = Sums::new(by);
    pool.each_row(&query.sql, &query.parameters(), |row| {
        sums.add(Entry {
            route: pool.get(&row, 0)?,
            payer: pool.get(&row, 1)?,
            settled_at: pool.get(&row, 2)?,
            network: pool.get(&row, 3)?,
            asset: pool.get(&row, 4)?,
            amount: parsed(pool, &row, 5, |text| text.parse().ok())?,
            delivered: pool.get(&row, 6)?,
        })?;
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok(sums.finish())
}

/// One statement, so that all of it is of one moment. What is not tallied is few.
pub(super) const COUNTS: &str = "SELECT
    (SELECT count(*) FROM farebox_payment WHERE state = 'reserved'),
    (SELECT count(*) FROM farebox_payment WHERE state = 'settling'),
    (SELECT count(*) FROM farebox_payment WHERE state = 'unknown'),
    (SELECT count(*) FROM farebox_payment WHERE state = 'settled' AND delivered_at IS NULL),
    (SELECT coalesce(sum(payments), 0)::bigint FROM farebox_tally WHERE state = 'settled'),
    (SELECT coalesce(sum(payments), 0)::bigint FROM farebox_tally WHERE state = 'failed'),
    (SELECT min(updated_at) FROM farebox_payment WHERE state IN ('settling', 'unknown'))";

pub(super) async fn counts(pool: &Pool) -> Result<Counts, LedgerError> {
    let row = pool.row(COUNTS, &[]).await?;
    let count = |column| Ok(u64::try_from(pool.get::<i64>(&row, column)?).unwrap_or(0));
    Ok(Counts {
        reserved: count(0)?,
        settling: count(1)?,
        unknown: count(2)?,
        undelivered: count(3)?,
        settled: count(4)?,
        failed: count(5)?,
        oldest_unsettled: pool.get(&row, 6)?,
    })
}

/// A statement that grows, and the values of its parameters.
pub(super) struct Query {
    pub(super) sql: String,
    values: Vec<Box<dyn ToSql + Send + Sync>>,
}

impl Query {
    /// The state is spelled out: an index over some states is of use only to a statement that names its state.
    pub(super) fn over(filter: &Filter, columns: &str) -> Query {
        let mut query = Query { sql: format!("{columns} FROM farebox_payment WHERE true"), values: Vec::new() };
        if let Some(route) = &filter.route {
            query.add(" AND route = ", storable(route).into_owned());
        }
        if let Some(payer) = &filter.payer {
            query.add(" AND lower(payer) = ", storable(payer).to_ascii_lowercase());
        }
        if let Some(since) = filter.since {
            query.add(" AND reserved_at >= ", since);
        }
        if let Some(until) = filter.until {
            query.add(" AND reserved_at < ", until);
        }
        if let Some(state) = filter.state {
            query.sql.push_str(&format!(" AND state = '{}'", state.name()));
        }
        query
    }

    pub(super) fn add(&mut self, condition: &str, value: impl ToSql + Send + Sync + 'static) {
        self.values.push(Box::new(value));
        self.sql.push_str(&format!("{condition}${}", self.values.len()));
    }

    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

/// A text as the database can keep it: it refuses NUL, and what somebody sent must not keep a payment from being written.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

pub(super) fn record(pool: &Pool, row: &Row) -> Result<Record, LedgerError> {
    let text = |column| Ok(Arc::from(pool.get::<&str>(row, column)?));
    let maybe_text = |column| Ok(pool.get::<Option<&str>>(row, column)?.map(Arc::from));
    let digest: &[u8] = pool.get(row, 1)?;
    Ok(Record {
        id: parsed(pool, row, 0, PaymentId::parse)?,
        digest: digest.try_into().map_err(|_| pool.place.unavailable("a payment's digest is damaged"))?,
        state: parsed(pool, row, 2, State::from_name)?,
        route: text(3)?,
        host: text(4)?,
        payer: text(5)?,
        network: parsed(pool, row, 6, |name| Network::parse(name).ok())?,
        asset: text(7)?,
        amount: parsed(pool, row, 8, |digits| digits.parse().ok())?,
        way: text(9)?,
        facilitator: maybe_text(10)?,
        transaction: maybe_text(11)?,
        error: maybe_text(12)?,
        reserved_at: pool.get(row, 13)?,
        updated_at: pool.get(row, 14)?,
        settled_at: pool.get(row, 15)?,
        delivered_at: pool.get(row, 16)?,
        uses: u32::try_from(pool.get::<i64>(row, 17)?).unwrap_or(u32::MAX),
        by_operator: pool.get(row, 18)?,
    })
}

/// A text that has to be a value of ours; what is not is damage, whoever did it.
fn parsed<T>(pool: &Pool, row: &Row, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, LedgerError> {
    let text: &str = pool.get(row, column)?;
    parse(text).ok_or_else(|| pool.place.unavailable(&format!("{text:?} does not belong in a payment")))
}
