//! The gate without a socket: real signed payments, a ledger that can fail or pause, a facilitator that can be told
//! what to answer.

mod ask;
pub(super) mod clock;
mod doubles;
mod stand;
mod wallet;

mod delivery;
mod elsewhere;
mod entry;
mod keeping;
mod ledger_faults;
mod limits;
mod model;
mod modes;
mod properties;
mod quotes;
mod races;
mod reconciler;
mod redelivery;
mod refusals;
mod resolution;
mod retention;
mod revenue;
mod tickets;
mod unpaid;
mod windows;

/// Every settle mode, as the file spells it.
const MODES: [&str; 3] = ["on-success", "before", "overlap"];
