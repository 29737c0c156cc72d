//! A ledger with millions of payments, made faster than by paying.

use std::path::Path;

use farebox::ledger::sqlite::SqliteLedger;
use farebox::ledger::{Ledger, UnixMillis};
use rusqlite::{Connection, params};

use super::Failure;

/// Over how long the payments are spread, the youngest now: half of them are older than [`KEEP_DAYS`].
pub const SPREAD_DAYS: i64 = 800;
/// What is kept while pruning runs.
pub const KEEP_DAYS: i64 = 400;
pub const DAY: UnixMillis = 86_400_000;

const PAYERS: u64 = 100_000;
const ROUTES: u64 = 20;

const INSERT: &str = r#"
INSERT INTO payment (id, digest, state, route, host, payer, network, asset, amount, way, facilitator, "transaction",
                     valid_before, reserved_at, updated_at, settled_at, delivered_at)
VALUES (?1, ?2, 'settled', ?3, 'api.example.com', ?4, 'eip155:84532', '0x036CbD53842c5426634e7929541eC2318f3dCF7e', '10000',
        'usdc', 'main', ?5, ?6, ?7, ?7 + 40, ?7 + 40, ?7 + 60)"#;

/// Makes a ledger of so many settled and delivered payments. Indexes and triggers come back when the rows are there.
pub async fn fill(path: &Path, rows: u64, now: UnixMillis) -> Result<(), Failure> {
    SqliteLedger::open(path)?.close().await?;
    let mut file = Connection::open(path)?;
    file.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA temp_store = FILE;")?;
    let apart: Vec<(String, String, String)> = file
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE tbl_name = 'payment' AND type IN ('index', 'trigger') AND sql IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (kind, name, _) in &apart {
        file.execute_batch(&format!("DROP {kind} {name}"))?;
    }
    let transaction = file.transaction()?;
    insert(&transaction, rows, now)?;
    transaction.commit()?;
    for (_, name, sql) in &apart {
        eprintln!("  {name}");
        file.execute_batch(sql)?;
    }
    file.execute("UPDATE tally SET payments = ?1 WHERE name = 'settled'", [i64::try_from(rows)?])?;
    file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// Ids in their order, as evenly spread as digests are: their index grows at its end, and new ids fall anywhere into it.
fn insert(file: &Connection, rows: u64, now: UnixMillis) -> Result<(), Failure> {
    let mut statement = file.prepare(INSERT)?;
    let apart = u64::MAX / rows.max(1);
    for n in 0..rows {
        let (high, low) = (n * apart, n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let id = format!("{high:016x}{low:016x}{low:016x}{high:016x}");
        let payer = format!("0x{:040x}", low % PAYERS);
        let ago = i64::try_from(u128::from(rows - n) * (SPREAD_DAYS * DAY) as u128 / u128::from(rows))?;
        let at = now - ago;
        let digest = [(low % 256) as u8; 32];
        let transaction = format!("0x{low:064x}");
        statement.execute(params![
            id,
            &digest[..],
            format!("route-{}", low % ROUTES),
            payer,
            transaction,
            at / 1000 + 60,
            at
        ])?;
    }
    Ok(())
}
