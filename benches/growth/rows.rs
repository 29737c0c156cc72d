//! What the load asks for.

/// The free route.
pub const FREE: &str = "/free/data";

/// What begins so, the bare proxy forwards as Farebox forwards everything: it says who asked.
pub const FORWARDED: &str = "/forwarded/";

/// The priced route.
pub const PRICED: &str = "/priced/data";

/// What is behind the proxies, and how many bytes it has.
pub const FILES: [(&str, usize); 2] = [(FREE, 1024), (PRICED, 1024)];

/// What every answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 200.
    Success,
    /// 402.
    Challenge,
}

/// One kind of load.
pub struct Row {
    /// For people.
    pub name: &'static str,
    /// What is asked for.
    pub path: &'static str,
    /// What is sent besides.
    pub header: Option<(&'static str, String)>,
    /// What every answer has to be.
    pub expected: Expected,
}

/// The priced route, of one who does not pay.
pub fn challenge() -> Row {
    Row { name: "challenge", path: PRICED, header: None, expected: Expected::Challenge }
}

/// The free route.
pub fn free() -> Row {
    Row { name: "free route", path: FREE, header: None, expected: Expected::Success }
}

/// The priced route, of one who has paid.
pub fn pass(pass: String) -> Row {
    let header = Some(("farebox-pass", pass));
    Row { name: "window by pass", path: PRICED, header, expected: Expected::Success }
}
