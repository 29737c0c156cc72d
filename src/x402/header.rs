//! Header values: base64 of JSON, in and out.
//!
//! Payments are decoded liberally where clients differ (base64 alphabet, padding, key order, unknown fields) and
//! strictly where money depends on it (types, digits, lengths). How many bytes a header may have is for the caller
//! to limit; the depth of the JSON is limited by serde_json, to 127, and a payment's to one less, see [`decode_payment`].

use alloy::primitives::{Address, B256};
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fields::Fields;
use super::payment::{Authorization, Payload};
use super::{Dialect, Payment, SettlementResponse, solana, v2};

/// v2: terms.
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// v2: a payment.
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// v2: what became of it.
pub const PAYMENT_RESPONSE: &str = "payment-response";
/// v1: a payment.
pub const X_PAYMENT: &str = "x-payment";
/// v1: what became of it.
pub const X_PAYMENT_RESPONSE: &str = "x-payment-response";

/// Why a header's value could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is no x402 value: an answer of 400 says to the client what is wrong with it.
    #[error("{0}")]
    Malformed(String),
    /// It is one, of a version that this header does not carry: 402 with `invalid_x402_version`.
    #[error("x402Version: this header carries version {expected}, found {found}")]
    Version {
        /// What the payload says.
        found: u64,
        /// The header's own.
        expected: u8,
    },
}

/// What a client is told of a payment that [`can_be_kept`] refuses.
const NOT_KEPT: &str =
    "the JSON nests too deep, or holds a number with more digits than are kept: write it as a string";

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

impl Dialect {
    /// The header that carries a payment.
    pub fn payment_header(self) -> &'static str {
        match self {
            Dialect::V1 => X_PAYMENT,
            Dialect::V2 => PAYMENT_SIGNATURE,
        }
    }

    /// The header that carries what became of it.
    pub fn settlement_header(self) -> &'static str {
        match self {
            Dialect::V1 => X_PAYMENT_RESPONSE,
            Dialect::V2 => PAYMENT_RESPONSE,
        }
    }
}

/// Decodes the value of a payment header of that dialect.
///
/// A payload of the other version is refused as [`DecodeError::Version`], as the reference implementation does: the
/// header decides in which dialect a client is answered. One that could not be read back from the ledger is malformed:
/// its outcome could not be asked for a second time.
pub fn decode_payment(dialect: Dialect, value: &[u8]) -> Result<Payment, DecodeError> {
    // Of keys that stand twice the last one counts, here and in `json`, from which the facilitator is asked.
    let payment = read_payment(dialect, decode_json(value)?)?;
    if can_be_kept(&payment.json) { Ok(payment) } else { Err(DecodeError::Malformed(NOT_KEPT.to_owned())) }
}

/// Levels of arrays and objects that can be read: of JSON that nests deeper, `serde_json` reads nothing.
const LEVELS_MAX: usize = 127;

/// Whether the ledger, which keeps a payment one level deep in what its facilitator was asked, can give it back.
fn can_be_kept(json: &Value) -> bool {
    levels(json) < LEVELS_MAX
}

/// How deep it nests; as deep as was read, no deeper does this call itself.
fn levels(json: &Value) -> usize {
    let inside = |values: &mut dyn Iterator<Item = &Value>| values.map(levels).max().unwrap_or(0).saturating_add(1);
    match json {
        Value::Array(values) => inside(&mut values.iter()),
        Value::Object(fields) => inside(&mut fields.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Reads a payment of that dialect from its JSON.
pub fn read_payment(dialect: Dialect, json: Value) -> Result<Payment, DecodeError> {
    let root = Fields::root(&json)?;
    let found = root.integer("x402Version")?;
    let expected = dialect.version();
    if found != u64::from(expected) {
        return Err(DecodeError::Version { found, expected });
    }
    let accepted = match dialect {
        Dialect::V1 => None,
        Dialect::V2 => Some(accepted(&root.object("accepted", "accepted.")?)?),
    };
    let (scheme, network) = match &accepted {
        Some(accepted) => (accepted.scheme.clone(), accepted.network.clone()),
        None => (root.string("scheme")?.to_owned(), root.string("network")?.to_owned()),
    };
    let payload = payload(&root)?;
    let digest = digest(&payload);
    Ok(Payment { dialect, scheme, network, accepted, payload, digest, json })
}

fn accepted(fields: &Fields<'_>) -> Result<v2::PaymentRequirements, DecodeError> {
    Ok(v2::PaymentRequirements {
        scheme: fields.string("scheme")?.to_owned(),
        network: fields.string("network")?.to_owned(),
        amount: fields.amount("amount")?,
        asset: fields.string("asset")?.to_owned(),
        pay_to: fields.string("payTo")?.to_owned(),
        max_timeout_seconds: fields.integer("maxTimeoutSeconds")?,
        extra: fields.optional_map("extra")?,
    })
}

fn payload(root: &Fields<'_>) -> Result<Payload, DecodeError> {
    let fields = root.object("payload", "payload.")?;
    if fields.is_empty() {
        return Err(DecodeError::Malformed("payload: empty, expected what was signed".to_owned()));
    }
    if !fields.has("authorization") {
        if fields.has("transaction") && solana::message(fields.string("transaction")?).is_none() {
            let expected = "payload.transaction: expected base64 of a Solana transaction";
            return Err(DecodeError::Malformed(expected.to_owned()));
        }
        return Ok(Payload::Opaque(Value::Object(root.optional_map("payload")?)));
    }
    // A facilitator would choose one of them to settle, and it may not be the one that was checked here.
    for other in ["permit2Authorization", "transaction"] {
        if fields.has(other) {
            return Err(DecodeError::Malformed(format!("payload: both authorization and {other}, expected one")));
        }
    }
    let signed = fields.object("authorization", "payload.authorization.")?;
    let authorization = Authorization {
        from: Address::new(signed.hex("from")?),
        to: Address::new(signed.hex("to")?),
        value: signed.amount("value")?,
        valid_after: signed.unix_seconds("validAfter")?,
        valid_before: signed.unix_seconds("validBefore")?,
        nonce: B256::new(signed.hex("nonce")?),
    };
    Ok(Payload::Eip3009 { authorization, signature: fields.signature("signature")? })
}

/// SHA-256 of what was signed and of the signature, free of how the JSON spelled it.
fn digest(payload: &Payload) -> [u8; 32] {
    let mut hash = Sha256::new();
    match payload {
        Payload::Eip3009 { authorization, signature } => {
            hash.update(b"eip3009\0");
            hash.update(authorization.from);
            hash.update(authorization.to);
            hash.update(authorization.value.as_u256().to_be_bytes::<32>());
            hash.update(authorization.valid_after.to_be_bytes());
            hash.update(authorization.valid_before.to_be_bytes());
            hash.update(authorization.nonce);
            hash.update(signature);
        }
        Payload::Opaque(value) => {
            // One transaction is one payment, whatever stands beside it and whoever has signed it so far.
            if let Some(message) = value.get("transaction").and_then(Value::as_str).and_then(solana::message) {
                hash.update(b"solana\0");
                hash.update(message);
                return hash.finalize().into();
            }
            // Sorted whatever serde_json's features make of its maps.
            let mut sorted = value.clone();
            sorted.sort_all_objects();
            hash.update(b"payload\0");
            hash.update(sorted.to_string());
        }
    }
    hash.finalize().into()
}

/// Decodes the terms in a `PAYMENT-REQUIRED` header, as a client reads them.
pub fn decode_payment_required(value: &[u8]) -> Result<v2::PaymentRequired, DecodeError> {
    decode_json(value)
}

/// Decodes what became of a payment from a `PAYMENT-RESPONSE` or `X-PAYMENT-RESPONSE` header, as a client reads it.
pub fn decode_settlement(value: &[u8]) -> Result<SettlementResponse, DecodeError> {
    decode_json(value)
}

/// Decodes base64 (standard or URL-safe alphabet, padded or not, white space around it) of JSON.
pub fn decode_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, DecodeError> {
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err(DecodeError::Malformed("empty, expected base64 of a JSON object".to_owned()));
    }
    let url_safe = value.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url_safe { &LENIENT_URL_SAFE } else { &LENIENT_STANDARD };
    let json = engine.decode(value).map_err(|error| DecodeError::Malformed(format!("not base64: {error}")))?;
    serde_json::from_slice(&json)
        .map_err(|error| DecodeError::Malformed(format!("base64, but not of the JSON expected: {error}")))
}

/// Base64 (standard alphabet, padded) of a value's JSON.
pub fn encode_json<T: Serialize>(value: &T) -> String {
    // Wire types have string keys and no serializer that fails, so there always is JSON.
    STANDARD.encode(serde_json::to_vec(value).unwrap_or_default())
}

#[cfg(test)]
mod tests;
