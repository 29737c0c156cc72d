//! What the load asks for.

use super::load::{Expected, Request};

/// The free route.
pub const FREE: &str = "/free/data";

/// What begins so, the bare proxy forwards as Farebox forwards everything: it says who asked.
pub const FORWARDED: &str = "/forwarded/";

/// The priced route.
pub const PRICED: &str = "/priced/data";

/// What is behind the proxies, and how many bytes it has.
pub const FILES: [(&str, usize); 2] = [(FREE, 1024), (PRICED, 1024)];

/// One kind of load.
pub struct Row {
    /// For people.
    pub name: &'static str,
    /// What is asked for.
    pub request: Request,
}

/// The priced route, of one who does not pay.
pub fn challenge() -> Row {
    Row { name: "challenge", request: Request { path: PRICED, header: None, expected: Expected::Challenge } }
}

/// The free route.
pub fn free() -> Row {
    Row { name: "free route", request: Request { path: FREE, header: None, expected: Expected::Success } }
}

/// The priced route, of one who has paid.
pub fn pass(pass: String) -> Row {
    let header = Some(("farebox-pass", pass));
    Row { name: "window by pass", request: Request { path: PRICED, header, expected: Expected::Success } }
}
