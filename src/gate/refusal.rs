//! What a client is told of a payment that did not open anything.

use super::answer::{Answer, Settled, Trouble};
use super::generation::Quote;
use crate::telemetry::RouteMetrics;
use crate::x402::{Dialect, Network, Payment, Reason, SettlementResponse};

/// A 402 with x402's code for why a payment was refused, in the challenge and in the caller's settlement header.
pub(super) fn refuse(
    quote: &Quote,
    resource_url: &str,
    payment: &Payment,
    reason: Reason,
    metrics: &RouteMetrics,
) -> Answer {
    let response = Failed::of(payment).response(quote, reason, None);
    challenge(quote, resource_url, payment.dialect, reason, response.as_ref(), metrics)
}

/// The same for a payload of another version than its header's.
pub(super) fn wrong_version(quote: &Quote, resource_url: &str, dialect: Dialect, metrics: &RouteMetrics) -> Answer {
    let reason = Reason::InvalidX402Version;
    let response = Failed { dialect, network: None, payer: None }.response(quote, reason, None);
    challenge(quote, resource_url, dialect, reason, response.as_ref(), metrics)
}

/// The 503 that makes a conforming client send the same payment again; with the transaction, where one was named.
pub(super) fn pending(quote: &Quote, payment: &Payment, transaction: Option<&str>) -> Answer {
    let response = Failed::of(payment).response(quote, Reason::SettlementPending, transaction);
    let settled = response.as_ref().map(|response| Settled { dialect: payment.dialect, response });
    Answer::trouble(&Trouble::SettlementPending, settled)
}

fn challenge(
    quote: &Quote,
    resource_url: &str,
    dialect: Dialect,
    reason: Reason,
    response: Option<&SettlementResponse>,
    metrics: &RouteMetrics,
) -> Answer {
    metrics.refused(reason.code());
    let code = response.and_then(|response| response.error_reason.as_deref()).unwrap_or(reason.code());
    let challenge = quote.challenge.render(resource_url, Some(code));
    Answer::challenge(challenge, response.map(|response| Settled { dialect, response }))
}

/// What a payment says of itself, as far as it could be read.
struct Failed {
    dialect: Dialect,
    network: Option<Network>,
    payer: Option<String>,
}

impl Failed {
    fn of(payment: &Payment) -> Failed {
        Failed {
            dialect: payment.dialect,
            network: Network::parse(&payment.network).ok(),
            payer: payment.payer().map(|payer| payer.to_string()),
        }
    }

    /// Names the network that the payment names, else the route's first.
    fn response(self, quote: &Quote, reason: Reason, transaction: Option<&str>) -> Option<SettlementResponse> {
        let first = || quote.terms.offers.first().map(|offer| offer.network.clone());
        let network = self.network.or_else(first)?;
        Some(SettlementResponse::failed(self.dialect, &network, reason, self.payer.as_deref(), transaction))
    }
}
