//! A ledger with millions of payments, made faster than by paying.

use std::path::Path;

use farebox::ledger::sqlite::SqliteLedger;
use farebox::ledger::{Ledger, UnixMillis};
use rusqlite::{Connection, named_params};

use super::Failure;

/// Over how long the payments are spread, the youngest now: half of them are older than [`KEEP_DAYS`].
pub const SPREAD_DAYS: i64 = 800;
/// What is kept while pruning runs.
pub const KEEP_DAYS: i64 = 400;
const DAY: UnixMillis = 86_400_000;

/// Every payment is one of 100,000 payers' and one of 20 routes'.
const INSERT: &str = r#"
INSERT INTO payment (seq, era, id, id_head, digest, state, route, host, payer, network, asset, amount, way, facilitator,
                     "transaction", valid_before, reserved_at, updated_at, settled_at, delivered_at)
WITH RECURSIVE
    number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :rows),
    made(n, low, head, at) AS (
        SELECT n, n * 2654435761 % 4294967296,
            printf('%08x%08x', n * 2246822519 % 4294967296, n * 2654435761 % 4294967296),
            :since + n * (:now - :since) / :rows
        FROM number)
SELECT n + 1, n + 1 >> 16, head || head || head || head, unhex(head), randomblob(32), 'settled',
    'route-' || (low % 20), 'api.example.com', printf('0x%040x', low % 100000), 'eip155:84532',
    '0x036CbD53842c5426634e7929541eC2318f3dCF7e', '10000', 'usdc', 'main', printf('0x%064x', low),
    at / 1000 + 60, at, at + 40, at + 40, at + 60
FROM made"#;

/// Makes a ledger of so many settled and delivered payments. Indexes and triggers come back when the rows are there.
pub async fn fill(path: &Path, rows: u64, now: UnixMillis) -> Result<(), Failure> {
    SqliteLedger::open(path)?.close().await?;
    let file = Connection::open(path)?;
    file.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA temp_store = FILE;",
    )?;
    let apart: Vec<(String, String, String)> = file
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE tbl_name = 'payment' AND type IN ('index', 'trigger') AND sql IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (kind, name, _) in &apart {
        file.execute_batch(&format!("DROP {kind} {name}"))?;
    }
    file.execute(
        INSERT,
        named_params! { ":rows": i64::try_from(rows)?, ":now": now, ":since": now - SPREAD_DAYS * DAY },
    )?;
    for (_, name, sql) in &apart {
        eprintln!("  {name}");
        file.execute_batch(sql)?;
    }
    file.execute("UPDATE tally SET payments = ?1 WHERE name = 'settled'", [i64::try_from(rows)?])?;
    drop(file);
    // Gigabytes that the system would still be writing while payments are measured.
    std::fs::File::open(path)?.sync_all()?;
    Ok(())
}
