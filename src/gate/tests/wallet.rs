//! A payer with a key of its own, and what it signs.

use alloy::primitives::{B256, Bytes};
use alloy::signers::local::PrivateKeySigner;
use serde_json::{Value, json};

use crate::evm::eip3009;
use crate::gate::generation::QuotedOffer;
use crate::gate::unix_millis;
use crate::x402::header::{decode_payment, encode_json};
use crate::x402::payment::Authorization;
use crate::x402::{Dialect, Offer, PaymentId};

/// Signs payments.
pub struct Wallet {
    key: PrivateKeySigner,
}

/// A signed payment, to be sent in either dialect.
#[derive(Clone)]
pub struct Signed {
    pub offer: Offer,
    pub authorization: Authorization,
    pub signature: Bytes,
}

impl Wallet {
    pub fn new() -> Wallet {
        Wallet { key: PrivateKeySigner::random() }
    }

    pub fn address(&self) -> String {
        self.key.address().to_string()
    }

    /// Pays an offer as it asks.
    pub fn pay(&self, quoted: &QuotedOffer) -> Signed {
        self.sign(quoted, |_| {})
    }

    /// Signs what the test makes of it.
    pub fn sign(&self, quoted: &QuotedOffer, change: impl FnOnce(&mut Authorization)) -> Signed {
        let offer = quoted.offer.clone();
        let now = u64::try_from(unix_millis() / 1000).unwrap();
        let mut authorization = Authorization {
            from: self.key.address(),
            to: offer.pay_to.parse().unwrap(),
            value: offer.amount,
            valid_after: now - 60,
            valid_before: now + offer.max_timeout_seconds,
            nonce: B256::new(rand::random()),
        };
        change(&mut authorization);
        let signature = eip3009::sign(&quoted.token.unwrap(), &authorization, &self.key).unwrap();
        Signed { offer, authorization, signature }
    }
}

impl Signed {
    fn payload(&self) -> Value {
        let Authorization { from, to, value, valid_after, valid_before, nonce } = &self.authorization;
        json!({
            "signature": self.signature,
            "authorization": {
                "from": from,
                "to": to,
                "value": value.to_string(),
                "validAfter": valid_after.to_string(),
                "validBefore": valid_before.to_string(),
                "nonce": nonce,
            },
        })
    }

    /// The value of `PAYMENT-SIGNATURE`.
    pub fn v2(&self) -> String {
        self.v2_with(|_| {})
    }

    /// The same with its JSON changed.
    pub fn v2_with(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut json = json!({ "x402Version": 2, "accepted": self.offer.to_v2(), "payload": self.payload() });
        change(&mut json);
        encode_json(&json)
    }

    /// The value of `X-PAYMENT`.
    pub fn v1(&self) -> String {
        self.v1_with(|_| {})
    }

    /// The same with its JSON changed.
    pub fn v1_with(&self, change: impl FnOnce(&mut Value)) -> String {
        let network = self.offer.network.v1_name().unwrap();
        let mut json = json!({ "x402Version": 1, "scheme": "exact", "network": network, "payload": self.payload() });
        change(&mut json);
        encode_json(&json)
    }

    /// What it goes by.
    pub fn id(&self) -> PaymentId {
        let payment = decode_payment(Dialect::V2, self.v2().as_bytes()).unwrap();
        PaymentId::of(&payment, &self.offer.network, &self.offer.asset.address)
    }

    /// What the ledger has of what was signed.
    pub fn digest(&self) -> [u8; 32] {
        decode_payment(Dialect::V2, self.v2().as_bytes()).unwrap().digest
    }
}
