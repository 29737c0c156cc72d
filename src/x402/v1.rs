//! x402 version 1, as its specification and its clients have it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::money::Amount;

/// One way to pay. `description` and `mime_type` are always written: old clients refuse an entry without them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequirements {
    /// `exact`: the only scheme that v1 clients know.
    pub scheme: String,
    /// A name such as `base-sepolia`; see [`super::Network::v1_name`].
    pub network: String,
    /// In atomic units of the asset.
    pub max_amount_required: Amount,
    /// The URL that the payment opens.
    pub resource: String,
    /// For people; may be empty.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub description: String,
    /// What the resource answers with; may be empty.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub mime_type: String,
    /// Who is paid.
    pub pay_to: String,
    /// Seconds for which a signed payment is good.
    pub max_timeout_seconds: u64,
    /// The token's address.
    pub asset: String,
    /// For EIP-3009 the token's EIP-712 `name` and `version`.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub extra: Map<String, Value>,
}

/// The JSON body of a v1 402.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// Always 1.
    pub x402_version: u8,
    /// Why payment is asked for (again).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Every way to pay that a v1 client can parse.
    pub accepts: Vec<PaymentRequirements>,
}
