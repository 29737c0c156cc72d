//! What is measured, and what it is compared with.

use super::payment::Paid;
use super::process::Process;

/// The free route.
pub const FREE: &str = "/free/data";

/// Where the bare proxy says who asked, as Farebox does everywhere.
pub const FORWARDED: &str = "/forwarded/data";

/// The priced route.
pub const PRICED: &str = "/priced/data";

/// Every server under measurement.
pub struct Servers {
    /// Pingora alone.
    pub bare: Process,
    /// Farebox without its access log.
    pub quiet: Process,
    /// Farebox with its access log.
    pub logging: Process,
}

/// One of [`Servers`].
#[derive(Debug, Clone, Copy)]
pub enum Server {
    /// Pingora alone.
    Bare,
    /// Farebox without its access log.
    Quiet,
    /// Farebox with its access log.
    Logging,
}

impl Servers {
    /// The process of a row.
    pub fn of(&self, server: Server) -> &Process {
        match server {
            Server::Bare => &self.bare,
            Server::Quiet => &self.quiet,
            Server::Logging => &self.logging,
        }
    }
}

/// What every answer of a row has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 200.
    Success,
    /// 402.
    Challenge,
}

/// One row of the table.
pub struct Row {
    /// For people.
    pub name: &'static str,
    /// Who answers.
    pub server: Server,
    /// What is asked for.
    pub path: &'static str,
    /// What is sent besides.
    pub header: Option<(&'static str, String)>,
    /// What every answer has to be.
    pub expected: Expected,
    /// The name of the row that it is compared with; its own for one that others are compared with.
    pub baseline: &'static str,
    /// The least share of the baseline's requests per second that is good enough.
    pub goal: Option<f64>,
}

const STATIC: &str = "bare proxy, static 402";
/// As Farebox does: it says who asked, in three `X-Forwarded-*` headers.
const FORWARDING: &str = "bare proxy, forwarding the same way";

/// The rows whose name has that text in it, and their baselines.
pub fn chosen(text: Option<&str>, paid: &Paid) -> Vec<Row> {
    let rows = all(paid);
    let Some(text) = text else { return rows };
    let wanted: Vec<_> =
        rows.iter().filter(|row| row.name.contains(text)).flat_map(|row| [row.name, row.baseline]).collect();
    rows.into_iter().filter(|row| wanted.contains(&row.name)).collect()
}

fn all(paid: &Paid) -> Vec<Row> {
    let challenge = |name, server, goal| Row {
        name,
        server,
        path: PRICED,
        header: None,
        expected: Expected::Challenge,
        baseline: STATIC,
        goal,
    };
    let forward = |name, server, path, header, goal| Row {
        name,
        server,
        path,
        header,
        expected: Expected::Success,
        baseline: FORWARDING,
        goal,
    };
    let pass = Some(("farebox-pass", paid.pass.clone()));
    let payment = Some(("payment-signature", paid.payment.clone()));
    vec![
        challenge(STATIC, Server::Bare, None),
        challenge("Farebox, challenge", Server::Quiet, Some(0.8)),
        forward(FORWARDING, Server::Bare, FORWARDED, None, None),
        forward("bare proxy, without X-Forwarded-*", Server::Bare, FREE, None, None),
        forward("Farebox, free route", Server::Quiet, FREE, None, Some(0.95)),
        forward("Farebox, window by pass", Server::Quiet, PRICED, pass, Some(0.9)),
        forward("Farebox, window by the same payment", Server::Quiet, PRICED, payment, None),
        challenge("Farebox, challenge, access log on", Server::Logging, None),
        forward("Farebox, free route, access log on", Server::Logging, FREE, None, None),
    ]
}
