//! A signed payment, as a client sends it.

use std::fmt;
use std::sync::Arc;

use alloy::hex;
use alloy::primitives::{Address, B256, Bytes};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Dialect, v2};
use crate::money::Amount;

/// EIP-3009's `TransferWithAuthorization`, as it travels in an `exact` EVM payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// Atomic units.
    pub value: Amount,
    /// Unix seconds; good only after.
    pub valid_after: u64,
    /// Unix seconds; good only before.
    pub valid_before: u64,
    /// Chosen by the payer; the token accepts each once.
    pub nonce: B256,
}

/// What was signed.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// An EIP-3009 authorization and its signature (65 bytes from a key; longer from a smart account).
    Eip3009 {
        /// What is authorized.
        authorization: Authorization,
        /// By whom, unchecked.
        signature: Bytes,
    },
    /// Anything else (Solana's transaction, Permit2): the facilitator judges it.
    Opaque(Value),
}

impl fmt::Debug for Payload {
    /// Without the signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Eip3009 { authorization, .. } => {
                f.debug_struct("Eip3009").field("authorization", authorization).finish_non_exhaustive()
            }
            Payload::Opaque(_) => f.write_str("Opaque(..)"),
        }
    }
}

/// A payment as decoded from `PAYMENT-SIGNATURE` or `X-PAYMENT`; well-formed, nothing else is known of it yet.
#[derive(Clone)]
pub struct Payment {
    /// The version it was sent in.
    pub dialect: Dialect,
    /// The scheme's name, as sent.
    pub scheme: String,
    /// The network's name, as sent: CAIP-2 in v2, v1's name in v1.
    pub network: String,
    /// v2: the entry of `accepts` that the client chose.
    pub accepted: Option<v2::PaymentRequirements>,
    /// What was signed.
    pub payload: Payload,
    /// SHA-256 of what was signed and of its signature: the same payment again has the same digest, however its JSON
    /// is spelled.
    pub digest: [u8; 32],
    /// The whole payload as sent, for the facilitator. Holds a signature: never logged.
    pub json: Value,
}

impl fmt::Debug for Payment {
    /// Without the signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payment")
            .field("dialect", &self.dialect)
            .field("scheme", &self.scheme)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

impl Payment {
    /// Who pays, where the payload says so in the open.
    pub fn payer(&self) -> Option<Address> {
        match &self.payload {
            Payload::Eip3009 { authorization, .. } => Some(authorization.from),
            Payload::Opaque(_) => None,
        }
    }
}

/// What makes a payment unique: 64 hex digits.
///
/// For EIP-3009 the digest of network, asset, payer and nonce, which the token accepts once; for anything
/// else the digest of network, asset and the signed payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaymentId(Arc<str>);

impl PaymentId {
    /// The id of a payment of this asset (address in any case) on this network.
    pub fn of(payment: &Payment, network: &super::Network, asset: &str) -> PaymentId {
        let mut hash = Sha256::new();
        for part in [network.caip2(), asset.to_ascii_lowercase().as_str()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        match &payment.payload {
            Payload::Eip3009 { authorization, .. } => {
                hash.update(b"eip3009\0");
                hash.update(authorization.from);
                hash.update(authorization.nonce);
            }
            Payload::Opaque(_) => {
                hash.update(b"payload\0");
                hash.update(payment.digest);
            }
        }
        PaymentId::from_digest(&hash.finalize().into())
    }

    /// The id whose digest this is, as a pass carries it.
    pub fn from_digest(digest: &[u8; 32]) -> PaymentId {
        PaymentId(hex::Buffer::<32>::new().format(digest).into())
    }

    /// Reads an id back from the ledger or a command line.
    pub fn parse(text: &str) -> Option<PaymentId> {
        let well_formed = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        well_formed.then(|| PaymentId(text.into()))
    }

    /// The 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x402::Network;

    fn payment(dialect: Dialect, payload: Payload, digest: u8) -> Payment {
        let (scheme, network) = ("exact".to_owned(), "base".to_owned());
        Payment { dialect, scheme, network, accepted: None, payload, digest: [digest; 32], json: Value::Null }
    }

    fn signed(from: u8, nonce: u8, value: u64) -> Payload {
        let authorization = Authorization {
            from: Address::repeat_byte(from),
            to: Address::ZERO,
            value: Amount::from(value),
            valid_after: 0,
            valid_before: 1,
            nonce: B256::repeat_byte(nonce),
        };
        Payload::Eip3009 { authorization, signature: Bytes::from(vec![27; 65]) }
    }

    fn id(dialect: Dialect, payload: Payload, digest: u8, network: &str, asset: &str) -> PaymentId {
        PaymentId::of(&payment(dialect, payload, digest), &Network::parse(network).unwrap(), asset)
    }

    #[test]
    fn what_the_token_takes_once_has_one_id() {
        let first = id(Dialect::V1, signed(1, 1, 1000), 1, "base", "0xAbCd");
        // The other dialect, another spelling, another authorization under the same nonce.
        assert_eq!(id(Dialect::V2, signed(1, 1, 1000), 1, "base", "0xabcd"), first);
        assert_eq!(id(Dialect::V2, signed(1, 1, 2000), 2, "base", "0xabcd"), first);
        for other in [
            id(Dialect::V1, signed(2, 1, 1000), 1, "base", "0xabcd"),
            id(Dialect::V1, signed(1, 2, 1000), 1, "base", "0xabcd"),
            id(Dialect::V1, signed(1, 1, 1000), 1, "base-sepolia", "0xabcd"),
            id(Dialect::V1, signed(1, 1, 1000), 1, "base", "0xabce"),
            id(Dialect::V1, Payload::Opaque(Value::Null), 1, "base", "0xabcd"),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn anything_else_goes_by_its_digest() {
        let of = |digest| id(Dialect::V2, Payload::Opaque(Value::Null), digest, "solana", "EPjF");
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        let id = id(Dialect::V2, signed(1, 1, 1), 1, "base", "0xabcd");
        assert_eq!(PaymentId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(id.to_string(), id.as_str());
        for bad in ["", &id.as_str()[1..], &id.as_str().to_ascii_uppercase(), &format!("{id}0"), &"g".repeat(64)] {
            assert_eq!(PaymentId::parse(bad), None, "{bad:?}");
        }
    }
}
