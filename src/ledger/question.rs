//! What an operator asks of the ledger, and what it answers: lists, sums and counts.

use std::sync::Arc;

use serde::Serialize;

use super::{State, UnixMillis};
use crate::money::Amount;
use crate::x402::Network;

/// Which payments to list or sum. Empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this route.
    pub route: Option<String>,
    /// Only of this payer (any case).
    pub payer: Option<String>,
    /// Reserved at or after.
    pub since: Option<UnixMillis>,
    /// Reserved before.
    pub until: Option<UnixMillis>,
    /// At most so many, newest first. Sums are over all of them and pay it no heed.
    pub limit: Option<u32>,
}

/// By what sums are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// One row per route.
    Route,
    /// One row per UTC day of settlement.
    Day,
    /// One row per payer.
    Payer,
}

/// A sum over settled payments of one group in one asset: different assets are never added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The route, the day (`2026-11-20`) or the payer.
    pub group: String,
    /// Where the money moved.
    pub network: Network,
    /// The token's address.
    pub asset: Arc<str>,
    /// How many payments.
    pub payments: u64,
    /// How many of them were delivered.
    pub delivered: u64,
    /// Atomic units.
    pub amount: Amount,
}

/// How many payments are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// See [`State::Reserved`].
    pub reserved: u64,
    /// See [`State::Settling`].
    pub settling: u64,
    /// See [`State::Settled`].
    pub settled: u64,
    /// Settled, but no response written in full.
    pub undelivered: u64,
    /// See [`State::Unknown`].
    pub unknown: u64,
    /// See [`State::Failed`].
    pub failed: u64,
    /// When the oldest unsettled (settling or unknown) payment was last changed.
    pub oldest_unsettled: Option<UnixMillis>,
}
