//! Where a payment's row is: its id is looked for era by era, the newest first.

use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, params};

use crate::x402::PaymentId;

/// Nearly always.
pub(super) const IN_NEWEST: &str = "
SELECT seq FROM payment
WHERE era = (SELECT max(seq) >> 16 FROM payment) AND id_head = unhex(substr(?1, 1, 16)) AND id = ?1";

pub(super) const IN_ERA: &str = "
SELECT seq FROM payment WHERE era = ?2 AND id_head = unhex(substr(?1, 1, 16)) AND id = ?1";

/// One by one: SQLite would read every row for both at once.
const ERAS: &str = "SELECT (SELECT min(seq) FROM payment) >> 16, (SELECT max(seq) FROM payment) >> 16";

/// `payment.seq`, if there is such a payment.
pub(super) fn find(connection: &Connection, id: &PaymentId) -> rusqlite::Result<Option<i64>> {
    let newest = connection.prepare_cached(IN_NEWEST)?.query_row(params![id.as_str()], |row| row.get(0)).optional()?;
    if newest.is_some() {
        return Ok(newest);
    }
    let mut in_era = connection.prepare_cached(IN_ERA)?;
    for era in eras(connection)?.rev().skip(1) {
        let older = in_era.query_row(params![id.as_str(), era], |row| row.get(0)).optional()?;
        if older.is_some() {
            return Ok(older);
        }
    }
    Ok(None)
}

/// From the oldest to the newest; none where there is no payment.
pub(super) fn eras(connection: &Connection) -> rusqlite::Result<RangeInclusive<i64>> {
    let ends = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?));
    let ends = connection.prepare_cached(ERAS)?.query_row([], ends)?;
    let (oldest, newest) = ends.unwrap_or((0, -1));
    Ok(oldest..=newest)
}
