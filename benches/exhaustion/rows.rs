//! What the load asks for: the free route, whoever else is there.

/// The free route.
pub const FREE: &str = "/free/data";

/// The priced route.
pub const PRICED: &str = "/priced/data";

/// What every answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 200.
    Success,
    /// 402.
    #[expect(dead_code, reason = "the load knows it, this bench has no use for it")]
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

/// The free route, as everybody asks for it.
pub fn free() -> Row {
    Row { name: "free route", path: FREE, header: None, expected: Expected::Success }
}
