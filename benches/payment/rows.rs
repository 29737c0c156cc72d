//! The rows of first payments: each settle mode with each ledger.

use super::gateway::Mode;
use super::load::STATIC_NGINX_THEN;

/// Microseconds of the gateway's processor that a payment may cost, on the machine of [`STATIC_NGINX_THEN`].
const CPU: Goal = Goal::Cpu(250.0);

/// Payments per second with the SQLite ledger and 64 in flight, on that machine.
const RATE: Goal = Goal::Rate(3_000.0);

/// Which ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Durable in nothing.
    Memory,
    /// One file.
    Sqlite,
    /// A database of its own, in a server on this machine.
    Postgres,
}

/// What a row has to reach.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At most so many microseconds of the gateway's processor per payment.
    Cpu(f64),
    /// At least so many payments per second.
    Rate(f64),
}

impl Goal {
    /// As a multiple of what a static answer of nginx costs, or as a share of how many it gives in a second.
    pub fn of_nginx(self) -> f64 {
        match self {
            Goal::Cpu(microseconds) => microseconds * STATIC_NGINX_THEN / 1e6,
            Goal::Rate(rate) => rate / STATIC_NGINX_THEN,
        }
    }
}

/// One row of the table.
pub struct Row {
    /// For people, and for its gateway's files.
    pub name: &'static str,
    /// When the money moves.
    pub mode: Mode,
    /// Where the payments are remembered.
    pub kind: Kind,
    /// Whether each request is logged, to a file.
    pub access_log: bool,
    /// What is good enough.
    pub goal: Option<Goal>,
}

/// The rows whose name has that text in it.
pub fn chosen(text: Option<&str>) -> Vec<Row> {
    let row = |name, mode, kind, goal| Row { name, mode, kind, access_log: false, goal };
    let memory = |name, mode| row(name, mode, Kind::Memory, Some(CPU));
    let sqlite = |name, mode| row(name, mode, Kind::Sqlite, Some(RATE));
    let postgres = |name, mode| row(name, mode, Kind::Postgres, None);
    let all = [
        memory("memory, on-success", Mode::OnSuccess),
        memory("memory, on-success, verified here", Mode::Local),
        memory("memory, before", Mode::Before),
        memory("memory, overlap", Mode::Overlap),
        sqlite("SQLite, on-success", Mode::OnSuccess),
        sqlite("SQLite, on-success, verified here", Mode::Local),
        sqlite("SQLite, before", Mode::Before),
        sqlite("SQLite, overlap", Mode::Overlap),
        postgres("PostgreSQL, on-success", Mode::OnSuccess),
        postgres("PostgreSQL, on-success, verified here", Mode::Local),
        postgres("PostgreSQL, before", Mode::Before),
        postgres("PostgreSQL, overlap", Mode::Overlap),
        Row { access_log: true, ..row("memory, on-success, access log on", Mode::OnSuccess, Kind::Memory, None) },
    ];
    all.into_iter().filter(|row| row.name.contains(text.unwrap_or_default())).collect()
}
