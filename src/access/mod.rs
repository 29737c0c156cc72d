//! Access windows: what a settled payment opens, and how a client proves it.
//!
//! A client has two proofs: the payment itself again, which [`receipts`] remembers (and [`readings`] knows by its bytes),
//! and a [`pass`], which proves the window by its signature alone; `proven` knows those that have come before. A browser
//! carries the pass in a [`cookie`]. Neither asks a facilitator.

pub mod cookie;
pub mod delivery;
pub mod keys;
pub mod pass;
mod proven;
pub mod readings;
pub mod receipts;

pub use cookie::{PassCookie, strip_passes};
pub use delivery::{Delivery, Remembered};
pub use keys::PassKeys;
pub use pass::{Claims, Denied, Pass};
pub use readings::{HeaderDigest, Reading, Readings};
pub use receipts::{Receipt, Receipts};
