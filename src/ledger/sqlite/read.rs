//! What is read: one payment, many, their sums and their counts.

use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::types::{Type, Value};
use rusqlite::{Connection, Row, params, params_from_iter};

use super::seen::Seen;
use super::{Outcome, place};
use crate::ledger::totals::{Entry, Sums};
use crate::ledger::{Counts, Filter, GroupBy, Record, State, Total};
use crate::x402::{Network, PaymentId};

const COLUMNS: &str = r#"id, digest, state, route, host, payer, network, asset, amount, way, facilitator,
    "transaction", error, reserved_at, updated_at, settled_at, delivered_at, uses, by_operator"#;

pub(super) fn find(connection: &Connection, id: &PaymentId) -> rusqlite::Result<Option<Record>> {
    place::find(connection, id)?.map(|seq| at(connection, seq)).transpose()
}

/// The payment in this place.
pub(super) fn at(connection: &Connection, seq: i64) -> rusqlite::Result<Record> {
    connection.prepare_cached(&format!("SELECT {COLUMNS} FROM payment WHERE seq = ?1"))?.query_row(params![seq], record)
}

/// The same, without a look where the id was never seen.
pub(super) fn find_if_seen(connection: &Connection, seen: &Seen, id: &PaymentId) -> rusqlite::Result<Option<Record>> {
    if seen.may_hold(id) { find(connection, id) } else { Ok(None) }
}

/// Hands over one payment after the other, newest first, until there are no more or none is wanted.
pub(super) fn each(
    connection: &Connection,
    filter: &Filter,
    mut hand: impl FnMut(Record) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let (sql, values) = newest(filter);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        if hand(record(row)?).is_break() {
            break;
        }
    }
    Ok(())
}

pub(super) fn list(connection: &Connection, filter: &Filter) -> Outcome<Vec<Record>> {
    let mut found = Vec::new();
    each(connection, filter, |record| {
        found.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(Ok(found))
}

/// The statement of [`each`].
pub(super) fn newest(filter: &Filter) -> (String, Vec<Value>) {
    let (condition, mut values) = condition(filter);
    let mut sql = format!("SELECT {COLUMNS} FROM payment WHERE {condition} ORDER BY reserved_at DESC, seq DESC");
    if let Some(limit) = filter.limit {
        values.push(Value::from(limit));
        sql.push_str(" LIMIT ?");
    }
    (sql, values)
}

pub(super) fn totals(connection: &Connection, filter: &Filter, by: GroupBy) -> Outcome<Vec<Total>> {
    let (condition, values) = condition(filter);
    let mut statement = connection.prepare(&format!(
        "SELECT route, payer, settled_at, network, asset, amount, delivered_at IS NOT NULL
         FROM payment WHERE state = 'settled' AND {condition}"
    ))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut sums = Sums::new(by);
    while let Some(row) = rows.next()? {
        let entry = Entry {
            route: row.get_ref(0)?.as_str()?,
            payer: row.get_ref(1)?.as_str()?,
            settled_at: row.get(2)?,
            network: row.get_ref(3)?.as_str()?,
            asset: row.get_ref(4)?.as_str()?,
            amount: parsed(row, 5, |text| text.parse().ok())?,
            delivered: row.get(6)?,
        };
        if let Err(error) = sums.add(entry) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(sums.finish()))
}

/// How many payments there are.
pub(super) fn payments(connection: &Connection) -> rusqlite::Result<usize> {
    let payments: i64 = connection
        .prepare_cached("SELECT sum(payments) FROM tally WHERE name <> 'undelivered'")?
        .query_row([], |row| row.get(0))?;
    Ok(usize::try_from(payments).unwrap_or(0))
}

/// One statement, so that all of it is of one moment.
pub(super) const COUNTS: &str = "
SELECT name, payments FROM tally
UNION ALL
SELECT 'oldest', min(
    ifnull((SELECT min(updated_at) FROM payment WHERE state = 'settling'), 9223372036854775807),
    ifnull((SELECT min(updated_at) FROM payment WHERE state = 'unknown'), 9223372036854775807))";

pub(super) fn counts(connection: &Connection) -> Outcome<Counts> {
    let mut statement = connection.prepare_cached(COUNTS)?;
    let mut rows = statement.query([])?;
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(1)?;
        let payments = u64::try_from(number).unwrap_or(0);
        match row.get_ref(0)?.as_str()? {
            "reserved" => counts.reserved = payments,
            "settling" => counts.settling = payments,
            "settled" => counts.settled = payments,
            "undelivered" => counts.undelivered = payments,
            "unknown" => counts.unknown = payments,
            "failed" => counts.failed = payments,
            "oldest" => counts.oldest_unsettled = Some(number).filter(|at| *at != i64::MAX),
            _ => {}
        }
    }
    Ok(Ok(counts))
}

/// A filter as SQL and its values. The state is spelled out: an index over some states is of use only to a
/// statement that names its state.
fn condition(filter: &Filter) -> (String, Vec<Value>) {
    let mut terms = vec!["1".to_owned()];
    let mut values = Vec::new();
    let mut restrict = |term: &str, value: Value| {
        terms.push(term.to_owned());
        values.push(value);
    };
    if let Some(route) = &filter.route {
        restrict("route = ?", Value::from(route.clone()));
    }
    if let Some(payer) = &filter.payer {
        restrict("payer = ?", Value::from(payer.clone()));
    }
    if let Some(since) = filter.since {
        restrict("reserved_at >= ?", Value::from(since));
    }
    if let Some(until) = filter.until {
        restrict("reserved_at < ?", Value::from(until));
    }
    if let Some(state) = filter.state {
        terms.push(format!("state = '{}'", state.name()));
    }
    (terms.join(" AND "), values)
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: parsed(row, 0, PaymentId::parse)?,
        digest: row.get(1)?,
        state: parsed(row, 2, State::from_name)?,
        route: text(row, 3)?,
        host: text(row, 4)?,
        payer: text(row, 5)?,
        network: parsed(row, 6, |name| Network::parse(name).ok())?,
        asset: text(row, 7)?,
        amount: parsed(row, 8, |digits| digits.parse().ok())?,
        way: text(row, 9)?,
        facilitator: maybe_text(row, 10)?,
        transaction: maybe_text(row, 11)?,
        error: maybe_text(row, 12)?,
        reserved_at: row.get(13)?,
        updated_at: row.get(14)?,
        settled_at: row.get(15)?,
        delivered_at: row.get(16)?,
        uses: row.get(17)?,
        by_operator: row.get(18)?,
    })
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    Ok(Arc::from(row.get_ref(column)?.as_str()?))
}

fn maybe_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Arc<str>>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(Arc::from))
}

/// A text that has to be a value of ours; what is not is damage, whoever did it.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    parse(text).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("{text:?} does not belong there").into())
    })
}
