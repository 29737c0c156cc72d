//! Reads the fields of a JSON object strictly, and says in a client developer's words which one is wrong.

use alloy::hex;
use alloy::primitives::Bytes;
use serde_json::{Map, Value};

use super::header::DecodeError;
use crate::money::Amount;

/// Bytes of a signature that are read. A smart account's is longer than a key's 65 bytes, and with EIP-6492
/// carries the account's deployment; more than this is no signature.
pub(super) const SIGNATURE_BYTES_MAX: usize = 8 * 1024;

/// An object inside a payment, and where it stands (`payload.authorization.`; empty at the top).
pub(super) struct Fields<'a> {
    path: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The whole of a header's JSON.
    pub(super) fn root(value: &'a Value) -> Result<Self, DecodeError> {
        let map = value.as_object().ok_or_else(|| DecodeError::Malformed(expected("a JSON object", value)))?;
        Ok(Fields { path: "", map })
    }

    /// The object at this key; `path` is where its own fields stand, with a trailing dot.
    pub(super) fn object(&self, key: &str, path: &'a str) -> Result<Fields<'a>, DecodeError> {
        let value = self.required(key, "an object")?;
        let map = value.as_object().ok_or_else(|| self.wrong(key, "an object", value))?;
        Ok(Fields { path, map })
    }

    /// A copy of the object at this key; none where it is left out or null.
    pub(super) fn optional_map(&self, key: &str) -> Result<Map<String, Value>, DecodeError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(other) => Err(self.wrong(key, "an object", other)),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(super) fn string(&self, key: &str) -> Result<&'a str, DecodeError> {
        let value = self.required(key, "a string")?;
        value.as_str().ok_or_else(|| self.wrong(key, "a string", value))
    }

    /// A JSON number, whole and not negative.
    pub(super) fn integer(&self, key: &str) -> Result<u64, DecodeError> {
        const WANTED: &str = "a whole number that is not negative";
        let value = self.required(key, WANTED)?;
        value.as_u64().ok_or_else(|| self.wrong(key, WANTED, value))
    }

    /// Atomic units: always a string, for a JSON number would lose digits.
    pub(super) fn amount(&self, key: &str) -> Result<Amount, DecodeError> {
        const WANTED: &str = "a string of decimal digits, at most 2^256 - 1";
        let value = self.required(key, WANTED)?;
        value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| self.wrong(key, WANTED, value))
    }

    /// Unix seconds: a string of decimal digits, as x402 writes it, or a JSON integer, as hand-written clients do.
    pub(super) fn unix_seconds(&self, key: &str) -> Result<u64, DecodeError> {
        const WANTED: &str = "Unix seconds as a string of decimal digits, at most 2^64 - 1";
        let value = self.required(key, WANTED)?;
        let seconds = match value {
            Value::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            Value::Number(number) => number.as_u64(),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        seconds.ok_or_else(|| self.wrong(key, WANTED, value))
    }

    /// So many bytes as `0x` and hex digits in any case.
    pub(super) fn hex<const N: usize>(&self, key: &str) -> Result<[u8; N], DecodeError> {
        let wanted = || format!("0x and {} hex digits", N.saturating_mul(2));
        let value = self.required(key, &wanted())?;
        let bytes = prefixed_hex(value).and_then(|digits| hex::decode_to_array(digits).ok());
        bytes.ok_or_else(|| self.wrong(key, &wanted(), value))
    }

    /// A signature as `0x` and hex digits: one byte to [`SIGNATURE_BYTES_MAX`].
    pub(super) fn signature(&self, key: &str) -> Result<Bytes, DecodeError> {
        const WANTED: &str = "0x and an even number of hex digits, 1 to 8192 bytes";
        let value = self.required(key, WANTED)?;
        prefixed_hex(value)
            .filter(|digits| (2..=SIGNATURE_BYTES_MAX * 2).contains(&digits.len()))
            .and_then(|digits| hex::decode(digits).ok())
            .map(Bytes::from)
            .ok_or_else(|| self.wrong(key, WANTED, value))
    }

    fn required(&self, key: &str, wanted: &str) -> Result<&'a Value, DecodeError> {
        self.map.get(key).ok_or_else(|| {
            let path = self.path;
            DecodeError::Malformed(format!("{path}{key}: missing, expected {wanted}"))
        })
    }

    fn wrong(&self, key: &str, wanted: &str, found: &Value) -> DecodeError {
        let path = self.path;
        DecodeError::Malformed(format!("{path}{key}: {}", expected(wanted, found)))
    }
}

/// The digits behind `0x`, without a second prefix that the hex decoder would let pass.
fn prefixed_hex(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix("0x").filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Says what was found: short strings as they are, of longer ones (a signature) only how long they are.
fn expected(wanted: &str, found: &Value) -> String {
    const SHOWN_BYTES_MAX: usize = 32;
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) if text.len() <= SHOWN_BYTES_MAX => format!("the string {found}"),
        Value::String(text) => format!("a string of {} bytes", text.len()),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    format!("expected {wanted}, found {found}")
}
