//! The ledger's tables: made and brought up to date by the first gateway that finds them missing or old.

use tokio_postgres::Row;

use super::pool::Pool;
use crate::ledger::LedgerError;

/// What makes version N of the tables out of version N - 1.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// `FAREBOX` in ASCII: one gateway at a time changes the tables, the others wait for it.
const LOCK: i64 = 0x46_4152_4542_4f58;

const VERSION: &str = "SELECT max(version) FROM farebox_schema";

/// Brings the tables up to date; all or nothing. Nodes that start together wait for each other.
pub(super) async fn migrate(pool: &Pool) -> Result<(), LedgerError> {
    if version(pool).await? == newest() {
        return Ok(());
    }
    let mut client = pool.apart().await?;
    let trouble = |error| pool.place.trouble(&error);
    let transaction = client.transaction().await.map_err(trouble)?;
    transaction.query("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(trouble)?;
    transaction
        .batch_execute("CREATE TABLE IF NOT EXISTS farebox_schema (version integer PRIMARY KEY)")
        .await
        .map_err(trouble)?;
    let made = read_version(pool, transaction.query(VERSION, &[]).await.map_err(trouble)?)?;
    for (step, version) in MIGRATIONS.iter().zip(1..).skip_while(|(_, version)| *version <= made) {
        transaction.batch_execute(step).await.map_err(trouble)?;
        transaction.execute("INSERT INTO farebox_schema VALUES ($1)", &[&version]).await.map_err(trouble)?;
    }
    transaction.commit().await.map_err(trouble)
}

/// Fails where there is no ledger of this version; changes nothing.
pub(super) async fn expect(pool: &Pool) -> Result<(), LedgerError> {
    match version(pool).await? {
        0 => Err(pool.place.unavailable("it has no ledger: has a gateway run with this URL?")),
        made if made < newest() => {
            Err(pool.place.unavailable("it was made by an older farebox: a start of the gateway brings it up to date"))
        }
        _ => Ok(()),
    }
}

/// The version of the tables that are there; 0 without any.
async fn version(pool: &Pool) -> Result<i32, LedgerError> {
    let present = pool.row("SELECT to_regclass('farebox_schema') IS NOT NULL", &[]).await?;
    if !pool.get::<bool>(&present, 0)? {
        return Ok(0);
    }
    read_version(pool, pool.rows(VERSION, &[]).await?)
}

fn read_version(pool: &Pool, rows: Vec<Row>) -> Result<i32, LedgerError> {
    let Some(row) = rows.first() else { return Ok(0) };
    let version = pool.get::<Option<i32>>(row, 0)?.unwrap_or(0);
    if version > newest() {
        let text = format!("it was made by a newer farebox (version {version} of the tables): use that one");
        return Err(pool.place.unavailable(&text));
    }
    Ok(version)
}

fn newest() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}
