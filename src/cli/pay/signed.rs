//! Signing a payment for a quote.

use alloy::hex;
use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;
use serde_json::{Value, json};

use super::terms::{Quote, Terms};
use crate::evm::eip3009;
use crate::x402::payment::Authorization;
use crate::x402::{Dialect, header};

/// Seconds before now from which a payment is good: clocks differ, and a block's time lags behind.
const VALID_SINCE_SECS: u64 = 600;
/// Seconds from now for which a payment is good at most. A seller may ask for less, but not for a cheque without end.
const VALID_FOR_SECS_MAX: u64 = 3600;

/// A payment as it is sent: once signed, the same one is sent again or none.
#[derive(Clone)]
pub struct SignedPayment {
    /// In which version.
    pub dialect: Dialect,
    /// What the header carries, decoded. Holds a signature.
    pub json: Value,
    /// The header's value.
    pub value: String,
    /// Unix seconds after which it moves no money any more.
    pub valid_before: u64,
}

impl std::fmt::Debug for SignedPayment {
    /// Without the signature.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedPayment")
            .field("dialect", &self.dialect)
            .field("valid_before", &self.valid_before)
            .finish_non_exhaustive()
    }
}

/// Signs what a quote asks for, at this time (Unix seconds), with a nonce that no other payment has.
pub fn sign(
    terms: &Terms,
    quote: &Quote,
    key: &PrivateKeySigner,
    now: u64,
) -> Result<SignedPayment, alloy::signers::Error> {
    let valid_for = quote.max_timeout_seconds.min(VALID_FOR_SECS_MAX);
    let authorization = Authorization {
        from: key.address(),
        to: quote.pay_to,
        value: quote.amount,
        valid_after: now.saturating_sub(VALID_SINCE_SECS),
        valid_before: now.saturating_add(valid_for),
        nonce: B256::new(rand::random()),
    };
    let signature = eip3009::sign(&quote.token, &authorization, key)?;
    let payload = json!({
        "signature": hex::encode_prefixed(&signature),
        "authorization": {
            "from": authorization.from.to_checksum(None),
            "to": authorization.to.to_checksum(None),
            "value": authorization.value.to_string(),
            "validAfter": authorization.valid_after.to_string(),
            "validBefore": authorization.valid_before.to_string(),
            "nonce": hex::encode_prefixed(authorization.nonce),
        },
    });
    let json = match quote.dialect {
        Dialect::V1 => json!({
            "x402Version": 1,
            "scheme": quote.entry.get("scheme"),
            "network": quote.entry.get("network"),
            "payload": payload,
        }),
        // What was accepted goes back as it came: a seller compares it with what it offered.
        Dialect::V2 => {
            let mut json = json!({"x402Version": 2, "accepted": quote.entry, "payload": payload});
            if let (Some(resource), Some(fields)) = (terms.json.get("resource"), json.as_object_mut()) {
                fields.insert("resource".to_owned(), resource.clone());
            }
            json
        }
    };
    let value = header::encode_json(&json);
    Ok(SignedPayment { dialect: quote.dialect, json, value, valid_before: authorization.valid_before })
}
