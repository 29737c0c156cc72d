//! The built binary over real sockets: what clients, operators, facilitators and upstreams see of it.
//!
//! Each test has a gateway, an upstream and a facilitator of its own. Nothing waits for time to pass: a test waits
//! for a thing to happen, with a limit.

mod bodies;
mod bypass;
mod challenge;
mod commands;
mod concurrency;
mod crash;
mod delivery;
mod disk;
mod door;
mod edge_connections;
mod edge_h2;
mod edge_tls;
mod forwarding;
mod heads;
mod hostile;
mod identity;
mod last_byte;
mod ledger_trouble;
mod limits;
mod malformed;
#[path = "../support/node.rs"]
mod node;
mod operations;
mod paying;
mod receipts;
mod redelivery;
mod reference;
mod refusals;
mod reload;
mod resolution;
mod retention;
mod ruling;
mod sandbox;
mod secrets;
mod settlement;
mod shared_ledger;
mod shutdown;
mod smuggling;
mod strain;
mod streaming;
mod support;
mod trouble;
mod windows;
mod wire;
