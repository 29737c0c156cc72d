//! One structured line a request.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use super::labels::{Label, Outcome};

/// The target of access lines, for filters.
pub const ACCESS_TARGET: &str = "farebox::access";

/// What is written about a request when it has ended; borrowed, and only looked at when access lines are on.
///
/// There is no field for a query, a signature or a pass: queries can hold secrets, the others are secrets.
pub struct AccessLine<'a> {
    /// As the client sent it.
    pub method: &'a str,
    /// As the client sent it, without a port.
    pub host: &'a str,
    /// The canonical path, without the query.
    pub path: &'a str,
    /// The route's name; `None` where none answered.
    pub route: Option<&'a str>,
    /// How it ended.
    pub outcome: Outcome,
    /// The status that was sent; `None` where the client hung up before.
    pub status: Option<u16>,
    /// Bytes of body that were sent.
    pub bytes_sent: u64,
    /// From the request's head to the response's end.
    pub duration: Duration,
    /// From forwarding to the head of the upstream's response.
    pub upstream: Option<Duration>,
    /// How long the settlement took.
    pub settle: Option<Duration>,
    /// The payer's address.
    pub payer: Option<&'a str>,
    /// The payment id.
    pub payment_id: Option<&'a str>,
    /// The CAIP-2 name of the network that was paid on.
    pub network: Option<&'a str>,
    /// Atomic units.
    pub amount: Option<&'a dyn Display>,
    /// The transaction that settled it.
    pub transaction: Option<&'a str>,
    /// Who asked; behind a trusted proxy, whom it named.
    pub client: Option<IpAddr>,
}

impl AccessLine<'_> {
    /// Whether access lines are on: one load of an atomic.
    pub fn is_written() -> bool {
        tracing::enabled!(target: ACCESS_TARGET, tracing::Level::INFO)
    }

    /// Writes it, with the time of writing.
    pub fn emit(&self) {
        tracing::info!(
            target: ACCESS_TARGET,
            client = self.client.map(tracing::field::display),
            method = self.method,
            host = self.host,
            path = self.path,
            route = self.route,
            outcome = self.outcome.label(),
            status = self.status,
            bytes_sent = self.bytes_sent,
            duration_ms = milliseconds(self.duration),
            upstream_ms = self.upstream.map(milliseconds),
            settle_ms = self.settle.map(milliseconds),
            payer = self.payer,
            payment_id = self.payment_id,
            network = self.network,
            amount = self.amount.map(tracing::field::display),
            transaction = self.transaction,
            "request",
        );
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
