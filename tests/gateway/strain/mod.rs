//! What wears a gateway out: a long time of everything at once, and strangers who want all of it.

mod exhaustion;
mod soak;
mod town;
mod visitor;

use std::env;

/// A number that the environment may set.
fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

/// Bytes as people read them.
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}
