//! What is measured.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use farebox::config::{LedgerUrl, PostgresUrl};
use farebox::ledger::Ledger;
use farebox::ledger::memory::MemoryLedger;
use farebox::ledger::postgres::PostgresLedger;
use farebox::ledger::sqlite::SqliteLedger;

use super::payments::Sample;
use super::postgres::Server;
use super::{Args, Failure};

/// Before anything is measured, for each row.
pub const WARM_UP: Duration = Duration::from_secs(1);

/// Payments per second that SQLite has to do with 64 in flight.
const GOAL: f64 = 3_000.0;

/// Which ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Durable in nothing: what the bench itself can do.
    Memory,
    /// One file.
    Sqlite,
    /// A database on this machine.
    Postgres,
}

/// One row of the table.
pub struct Row {
    /// For people.
    pub name: String,
    /// Whose payments.
    pub kind: Kind,
    /// Payments under way at once.
    pub in_flight: usize,
    /// The least payments per second that are good enough.
    pub goal: Option<f64>,
    /// One a round.
    pub samples: Vec<Sample>,
}

/// The rows that are asked for.
pub fn chosen(args: &Args) -> Vec<Row> {
    let row = |name: &str, kind, in_flight, goal| Row {
        name: format!("{name}, {in_flight} in flight"),
        kind,
        in_flight,
        goal,
        samples: Vec::new(),
    };
    let rows = vec![
        row("memory", Kind::Memory, args.in_flight, None),
        row("SQLite", Kind::Sqlite, args.in_flight, Some(GOAL)),
        row("PostgreSQL", Kind::Postgres, args.in_flight, None),
        row("SQLite", Kind::Sqlite, 1, None),
        row("PostgreSQL", Kind::Postgres, 1, None),
    ];
    let text = args.row.as_deref().unwrap_or_default();
    rows.into_iter().filter(|row| row.name.contains(text)).collect()
}

/// The ledgers of the rows.
pub struct Opened {
    ledgers: Vec<(Kind, Arc<dyn Ledger>)>,
    /// Ends after them.
    _server: Option<Server>,
}

/// Opens each ledger that a row asks for, empty.
pub async fn open(rows: &[Row], folder: &Path) -> Result<Opened, Failure> {
    let asked = |kind| rows.iter().any(|row| row.kind == kind);
    let mut ledgers: Vec<(Kind, Arc<dyn Ledger>)> = Vec::new();
    if asked(Kind::Memory) {
        ledgers.push((Kind::Memory, Arc::new(MemoryLedger::default())));
    }
    if asked(Kind::Sqlite) {
        ledgers.push((Kind::Sqlite, Arc::new(SqliteLedger::open(&folder.join("farebox.db"))?)));
    }
    let mut server = None;
    if asked(Kind::Postgres) {
        let started = server.insert(Server::start(folder, None)?);
        let url = postgres_url(&started.database("farebox").await?)?;
        ledgers.push((Kind::Postgres, Arc::new(PostgresLedger::open(&url).await?)));
    }
    Ok(Opened { ledgers, _server: server })
}

impl Opened {
    /// The ledger of a row.
    pub fn of(&self, kind: Kind) -> Result<Arc<dyn Ledger>, Failure> {
        let found = self.ledgers.iter().find(|(known, _)| *known == kind);
        Ok(found.ok_or_else(|| format!("no ledger is open for {kind:?}"))?.1.clone())
    }

    /// Lets go of every file.
    pub async fn close(self) -> Result<(), Failure> {
        for (_, ledger) in &self.ledgers {
            ledger.close().await?;
        }
        Ok(())
    }
}

fn postgres_url(text: &str) -> Result<PostgresUrl, Failure> {
    match LedgerUrl::parse(text, Path::new("/")) {
        Ok(LedgerUrl::Postgres(url)) => Ok(*url),
        Ok(other) => Err(format!("not a database's URL: {other:?}").into()),
        Err((wrong, _)) => Err(wrong.into()),
    }
}
