//! Where a payment's row is: its id is looked for era by era, the newest first.

use rusqlite::{Connection, OptionalExtension, params};

use crate::x402::PaymentId;

/// Nearly always.
pub(super) const IN_NEWEST: &str = "
SELECT seq FROM payment
WHERE era = (SELECT max(seq) >> 16 FROM payment) AND id_head = unhex(substr(?1, 1, 16)) AND id = ?1";

pub(super) const IN_ERA: &str = "
SELECT seq FROM payment WHERE era = ?2 AND id_head = unhex(substr(?1, 1, 16)) AND id = ?1";

/// Eras whose payments are all gone are not in it.
pub(super) const OLDER: &str = "SELECT max(era) FROM payment WHERE era < ?1";

/// `payment.seq`, if there is such a payment.
pub(super) fn find(connection: &Connection, id: &PaymentId) -> rusqlite::Result<Option<i64>> {
    let newest = connection.prepare_cached(IN_NEWEST)?.query_row(params![id.as_str()], |row| row.get(0)).optional()?;
    if newest.is_some() {
        return Ok(newest);
    }
    let mut in_era = connection.prepare_cached(IN_ERA)?;
    let mut next = older(connection, i64::MAX)?;
    while let Some(era) = next {
        let found = in_era.query_row(params![id.as_str(), era], |row| row.get(0)).optional()?;
        if found.is_some() {
            return Ok(found);
        }
        next = older(connection, era)?;
    }
    Ok(None)
}

/// The era before this one.
pub(super) fn older(connection: &Connection, era: i64) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(OLDER)?.query_row(params![era], |row| row.get(0))
}
