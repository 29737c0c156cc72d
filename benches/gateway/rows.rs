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
    /// nginx.
    pub nginx: Process,
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
    /// nginx.
    Nginx,
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
            Server::Nginx => &self.nginx,
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
    /// What is good enough.
    pub goals: Vec<Goal>,
}

/// What a row has to reach.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Of another row's requests per second, taken in the same round, that share.
    Share(f64, &'static str),
    /// So many requests per second.
    Rate(f64),
}

const NGINX_STATIC: &str = "nginx, static 402";
const NGINX_FORWARDING: &str = "nginx, forwarding";
const FREE_ROUTE: &str = "Farebox, free route";
const STATIC: &str = "bare proxy, static 402";
/// As Farebox does: it says who asked, in three `X-Forwarded-*` headers.
const FORWARDING: &str = "bare proxy, forwarding the same way";

/// The rows whose name has that text in it, and those that they are compared with.
pub fn chosen(text: Option<&str>, paid: &Paid) -> Vec<Row> {
    let rows = all(paid);
    let Some(text) = text else { return rows };
    let wanted: Vec<_> = rows
        .iter()
        .filter(|row| row.name.contains(text))
        .flat_map(|row| [row.name].into_iter().chain(row.others()))
        .collect();
    rows.into_iter().filter(|row| wanted.contains(&row.name)).collect()
}

impl Row {
    /// The rows that this one is compared with.
    fn others(&self) -> impl Iterator<Item = &'static str> {
        let goals = self.goals.iter().filter_map(|goal| match goal {
            Goal::Share(_, other) => Some(*other),
            Goal::Rate(_) => None,
        });
        goals.chain([self.baseline])
    }
}

fn all(paid: &Paid) -> Vec<Row> {
    let challenge = |name, server, goals: &[Goal]| Row {
        name,
        server,
        path: PRICED,
        header: None,
        expected: Expected::Challenge,
        baseline: STATIC,
        goals: goals.to_vec(),
    };
    let forward = |name, server, path, header, goals: &[Goal]| Row {
        name,
        server,
        path,
        header,
        expected: Expected::Success,
        baseline: FORWARDING,
        goals: goals.to_vec(),
    };
    let pass = Some(("farebox-pass", paid.pass.clone()));
    let payment = Some(("payment-signature", paid.payment.clone()));
    let forged = Some(("payment-signature", paid.forged.clone()));
    let of_free = |share| [Goal::Share(share, FREE_ROUTE)];
    vec![
        challenge(NGINX_STATIC, Server::Nginx, &[]),
        challenge(STATIC, Server::Bare, &[]),
        challenge("Farebox, challenge", Server::Quiet, &[Goal::Share(0.95, STATIC), Goal::Share(0.6, NGINX_STATIC)]),
        Row { header: forged, ..challenge("Farebox, forged payment", Server::Quiet, &[Goal::Rate(10_000.0)]) },
        forward(NGINX_FORWARDING, Server::Nginx, FORWARDED, None, &[]),
        forward(FORWARDING, Server::Bare, FORWARDED, None, &[]),
        forward("bare proxy, without X-Forwarded-*", Server::Bare, FREE, None, &[]),
        forward(FREE_ROUTE, Server::Quiet, FREE, None, &[Goal::Share(0.95, FORWARDING)]),
        forward("Farebox, window by pass", Server::Quiet, PRICED, pass, &of_free(0.9)),
        forward("Farebox, window by the same payment", Server::Quiet, PRICED, payment, &of_free(0.85)),
        challenge("Farebox, challenge, access log on", Server::Logging, &[]),
        forward("Farebox, free route, access log on", Server::Logging, FREE, None, &[]),
    ]
}
