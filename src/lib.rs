//! Farebox puts a price on HTTP routes.
//!
//! It is a reverse proxy that stands in front of backends nobody changes. Rules in one TOML file say what each
//! route costs; a priced route is answered `402 Payment Required` with x402 terms (version 1 and version 2 at
//! once), and opened when a payment has been verified and settled through a facilitator and written to the ledger.
//!
//! # What holds
//!
//! Nobody pays twice, nobody pays for nothing, nobody rides free. A payment is durable in the [`ledger`] before its
//! settlement is asked for, and settled there before the client sees the response. An outcome that nobody knows is
//! answered so that the client sends the same payment again, never with new terms.
//!
//! # The life of a request
//!
//! [`proxy`] hands a request's facts to [`gate::Gate::decide`], which makes the path canonical and finds the
//! [`route`]. A free route is forwarded. A priced one without a payment gets the route's challenge, rendered ahead of
//! time by [`x402::challenge`]. A pass or a payment whose window ([`access`]) is open is forwarded; a new payment is
//! matched to an offer, checked locally ([`evm`]), reserved in the ledger, and settled by a [`facilitator`] before,
//! while or after the upstream answers, as the route says.
//!
//! # The house
//!
//! Imports point downwards only, in this order: `cli`, `proxy`, `admin`, `gate`, `resolve`, `access`, `limit`,
//! `ledger`, `facilitator`, `config`, `route`, `evm`, `x402`, `outbound`, `money`. `telemetry` and `aside` import none of them and
//! may be imported by all. Only `proxy` knows Pingora.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
// What a client, a facilitator or a file sends must not be able to reach a panic, and an overflow is one in a release
// too. Tests may (clippy.toml).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(not(test), deny(clippy::string_slice, clippy::arithmetic_side_effects))]

pub mod access;
pub mod admin;
pub mod aside;
pub mod cli;
pub mod config;
pub mod evm;
pub mod facilitator;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gate;
pub mod ledger;
pub mod limit;
pub mod money;
pub mod outbound;
pub mod proxy;
pub mod resolve;
pub mod route;
pub mod telemetry;
pub mod x402;

#[cfg(test)]
#[path = "../tests/support/node.rs"]
mod node;
