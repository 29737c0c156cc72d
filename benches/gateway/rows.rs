//! What a row of the table is; which rows there are is in [`super::table`].

use super::load::Request;
use super::servers::Server;

/// The priced route.
pub const PRICED: &str = "/priced/data";

/// What begins so, the bare proxy forwards as Farebox forwards everything: it says who asked.
pub const FORWARDED: &str = "/forwarded/";

/// A file behind the proxies.
pub struct File {
    /// On Farebox's free route.
    pub free: &'static str,
    /// Below [`FORWARDED`].
    pub forwarded: &'static str,
    /// How large it is.
    pub bytes: usize,
}

/// 1 KB, which is also what the priced route gives.
pub const SMALL: File = File { free: "/free/data", forwarded: "/forwarded/data", bytes: 1 << 10 };
/// 100 KB.
pub const MEDIUM: File = File { free: "/free/100k", forwarded: "/forwarded/100k", bytes: 100 << 10 };
/// 10 MB.
pub const LARGE: File = File { free: "/free/10m", forwarded: "/forwarded/10m", bytes: 10 << 20 };
/// All of them.
pub const FILES: [File; 3] = [SMALL, MEDIUM, LARGE];

/// One row of the table.
#[derive(Clone)]
pub struct Row {
    /// For people.
    pub name: &'static str,
    /// Who answers.
    pub server: Server,
    /// What is asked for.
    pub request: Request,
    /// The most connections that it is asked on.
    pub connections: usize,
    /// The name of the row that it is compared with; its own for one that others are compared with.
    pub baseline: &'static str,
    /// What is good enough.
    pub goals: Vec<Goal>,
}

/// What a row has to reach.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Of another row's requests per second, taken in the same round, at least that share.
    Share(f64, &'static str),
    /// Of another row's CPU time per request, taken in the same round, at most that share.
    Cpu(f64, &'static str),
    /// So many requests per second.
    Rate(f64),
}

impl Row {
    /// The rows that this one is compared with.
    pub fn others(&self) -> impl Iterator<Item = &'static str> {
        let goals = self.goals.iter().filter_map(|goal| match goal {
            Goal::Share(_, other) | Goal::Cpu(_, other) => Some(*other),
            Goal::Rate(_) => None,
        });
        goals.chain([self.baseline])
    }
}
