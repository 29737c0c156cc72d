//! What a route costs, and how often one may ask for it.

use std::time::Duration;

use serde::Serialize;

use crate::config::{Charge, LimitBy, RouteLimit, SettleMode, Terms, Verify};
use crate::money::Amount;
use crate::x402::{Network, Offer};

/// What a route costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "charge", rename_all = "snake_case")]
pub enum Price {
    /// Nothing.
    Free,
    /// One of several ways to pay.
    Priced {
        /// Each way.
        offers: Vec<PricedOffer>,
        /// When the money moves: `on-success`, `before` or `overlap`.
        settle: &'static str,
        /// Who verifies, under `on-success`: `facilitator` or `local`.
        verify: Option<&'static str>,
        /// How long one payment opens the route; `None`: for one request.
        window: Option<OpenWindow>,
        /// Requests of each client address that cost nothing; `None`: none do.
        free: Option<FreeRequests>,
    },
}

/// One way to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PricedOffer {
    /// The `[pay.NAME]`.
    pub way: String,
    /// In whole tokens.
    pub units: String,
    /// The token's symbol.
    pub symbol: String,
    /// In atomic units.
    pub amount: Amount,
    /// The token's address.
    pub asset: String,
    /// Where the money moves.
    pub network: Network,
    /// To whom.
    pub pay_to: String,
}

/// An access window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenWindow {
    /// From settlement.
    pub milliseconds: u64,
    /// Requests it opens, the paid one included; `None`: any number.
    pub uses: Option<u32>,
}

/// How often one may ask for a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestLimit {
    /// As the file has it: `100/min`.
    pub rate: String,
    /// Whose requests are counted together: `client` or `payer`.
    pub by: &'static str,
}

/// A priced route's allowance for each client address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FreeRequests {
    /// How many.
    pub uses: u32,
    /// For so long, from the first one.
    pub milliseconds: u64,
}

impl Price {
    pub(super) fn of(charge: &Charge) -> Price {
        match charge {
            Charge::Free => Price::Free,
            Charge::Priced(terms) => Price::Priced {
                offers: terms.offers.iter().map(PricedOffer::of).collect(),
                settle: match terms.settle {
                    SettleMode::OnSuccess => "on-success",
                    SettleMode::Before => "before",
                    SettleMode::Overlap => "overlap",
                },
                verify: verifier(terms),
                window: terms
                    .window
                    .map(|window| OpenWindow { milliseconds: milliseconds(window.duration), uses: window.uses }),
                free: terms.free.map(|free| FreeRequests { uses: free.uses, milliseconds: milliseconds(free.per) }),
            },
        }
    }
}

impl RequestLimit {
    pub(super) fn of(limit: RouteLimit) -> RequestLimit {
        let by = match limit.by {
            LimitBy::Client => "client",
            LimitBy::Payer => "payer",
        };
        RequestLimit { rate: limit.rate.to_string(), by }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The other modes settle at once, which verifies too.
fn verifier(terms: &Terms) -> Option<&'static str> {
    match (terms.settle, terms.verify) {
        (SettleMode::OnSuccess, Verify::Facilitator) => Some("facilitator"),
        (SettleMode::OnSuccess, Verify::Local) => Some("local"),
        (SettleMode::Before | SettleMode::Overlap, Verify::Facilitator | Verify::Local) => None,
    }
}

impl PricedOffer {
    pub(super) fn of(offer: &Offer) -> PricedOffer {
        PricedOffer {
            way: offer.way.to_string(),
            units: offer.amount.to_units(offer.asset.decimals),
            symbol: offer.asset.symbol.to_string(),
            amount: offer.amount,
            asset: offer.asset.address.to_string(),
            network: offer.network.clone(),
            pay_to: offer.pay_to.to_string(),
        }
    }
}
