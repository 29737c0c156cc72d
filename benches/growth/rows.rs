//! What the load asks for.

/// The free route.
pub const FREE: &str = "/free/data";

/// Where the bare proxy says who asked, as Farebox does everywhere.
pub const FORWARDED: &str = "/forwarded/data";

/// The priced route.
pub const PRICED: &str = "/priced/data";

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
