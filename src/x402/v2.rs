//! x402 version 2 (specification v2, sections 5.1 to 5.3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::money::Amount;

/// What is being paid for; stands once per challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceInfo {
    /// The URL that the payment opens.
    pub url: String,
    /// For people; may be empty.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub description: String,
    /// What the resource answers with; may be empty.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub mime_type: String,
}

/// One way to pay: an entry of `accepts`, the `accepted` of a payment, the `paymentRequirements` that
/// a facilitator is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequirements {
    /// `exact`.
    pub scheme: String,
    /// A CAIP-2 name such as `eip155:84532`.
    pub network: String,
    /// In atomic units of the asset.
    pub amount: Amount,
    /// The token's address (on Solana, its mint).
    pub asset: String,
    /// Who is paid.
    pub pay_to: String,
    /// Seconds for which a signed payment is good.
    pub max_timeout_seconds: u64,
    /// What the scheme needs besides: for EIP-3009 the token's EIP-712 `name` and `version`.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub extra: Map<String, Value>,
}

/// The JSON in a `PAYMENT-REQUIRED` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// Always 2.
    pub x402_version: u8,
    /// Why payment is asked for (again): a sentence, or a code of [`super::Reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is being paid for.
    pub resource: ResourceInfo,
    /// Every way to pay.
    pub accepts: Vec<PaymentRequirements>,
    /// Left out when empty: `null` breaks clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Map<String, Value>>,
}
