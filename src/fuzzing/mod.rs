//! What a stranger sends, as fuzzers send it: one function per kind of input, shared by `fuzz/` (coverage-guided,
//! long) and this module's tests (the committed seeds and random edits of them, short). Not in the binary.
//!
//! A target panics where something does not hold. Each says what it holds its code to beyond "no panic".

// A target panics on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod head;
mod money;
mod node;
mod text;

#[cfg(test)]
mod tests;

pub use self::head::unpaid_head;
pub use self::money::{facilitator_answer, payment_v1, payment_v2};
pub use self::node::node_answer;
pub use self::text::{config_file, pass, request_target};

/// Tries an input.
pub type Target = fn(&[u8]);

/// Every target, by the name of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/seeds`.
pub const TARGETS: [(&str, Target); 8] = [
    ("request_target", request_target),
    ("payment_v1", payment_v1),
    ("payment_v2", payment_v2),
    ("config_file", config_file),
    ("pass", pass),
    ("facilitator_answer", facilitator_answer),
    ("node_answer", node_answer),
    ("unpaid_head", unpaid_head),
];
