//! The wire: x402 version 1 and version 2 as clients and facilitators speak them.
//!
//! Nothing here knows a route, a ledger or a socket. Types mirror the JSON; [`header`] turns them into
//! header values and back; [`challenge`] renders a 402 that a v1 and a v2 client can both pay.

pub mod asset;
pub mod challenge;
mod fields;
pub mod header;
pub mod network;
pub mod offer;
pub mod payment;
pub mod reason;
pub mod settlement;
mod solana;
pub mod v1;
pub mod v2;

use serde::{Deserialize, Deserializer};

pub use asset::Asset;
pub use network::{Network, V1Reach};
pub use offer::Offer;
pub use payment::{Payment, PaymentId};
pub use reason::Reason;
pub use settlement::SettlementResponse;

/// Which version of x402 a client speaks; it is answered in the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `X-PAYMENT` and `X-PAYMENT-RESPONSE`, terms in the body.
    V1,
    /// `PAYMENT-SIGNATURE` and `PAYMENT-RESPONSE`, terms in the `PAYMENT-REQUIRED` header.
    V2,
}

impl Dialect {
    /// The number in `x402Version`.
    pub fn version(self) -> u8 {
        match self {
            Dialect::V1 => 1,
            Dialect::V2 => 2,
        }
    }
}

/// Some implementations write `null` where the specification has an empty value or leaves the field out.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
