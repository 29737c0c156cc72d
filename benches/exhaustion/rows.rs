//! What the load asks for: the free route, whoever else is there.

use super::load::{Expected, Request};

/// The free route.
pub const FREE: &str = "/free/data";

/// The priced route.
pub const PRICED: &str = "/priced/data";

/// The free route, as everybody asks for it.
pub fn free() -> Request {
    Request { path: FREE, header: None, expected: Expected::Success }
}
