//! Somebody who pays, honestly or not.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use farebox::evm::eip3009::{self, Token};
use farebox::money::Amount;
use farebox::x402::Dialect;
use farebox::x402::asset::Eip712Domain;
use farebox::x402::payment::Authorization;
use serde_json::{Value, json};

use super::http::Response;

/// The JSON in a header's value.
pub fn decode(value: &str) -> Value {
    let bytes = STANDARD.decode(value).unwrap_or_else(|error| panic!("{error}: {value}"));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&bytes)))
}

/// JSON as a header's value.
pub fn encode(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

/// A 402, taken apart.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The JSON in `PAYMENT-REQUIRED`.
    pub v2: Value,
    /// The JSON body.
    pub v1: Value,
}

impl Challenge {
    /// Panics when it is not a 402 that both versions' clients can read.
    pub fn of(response: &Response) -> Challenge {
        assert_eq!(response.status, 402, "a challenge, not {response:?}");
        let header = response.header("payment-required").expect("a PAYMENT-REQUIRED header");
        Challenge { v2: decode(header), v1: response.json() }
    }

    /// The amount of the first offer.
    pub fn amount(&self) -> &str {
        self.v2["accepts"][0]["amount"].as_str().expect("an amount")
    }

    /// The resource's URL, which is the same in both versions.
    pub fn url(&self) -> &str {
        let url = self.v2["resource"]["url"].as_str().expect("a v2 resource");
        assert_eq!(self.v1["accepts"][0]["resource"], url, "both versions name one resource");
        url
    }
}

/// A key without a name.
pub struct Payer {
    key: PrivateKeySigner,
}

impl Payer {
    pub fn new() -> Payer {
        Payer { key: PrivateKeySigner::random() }
    }

    /// One whose key is known: a seed's.
    pub fn with_key(key: [u8; 32]) -> Payer {
        Payer { key: PrivateKeySigner::from_bytes(&key.into()).expect("a key of the curve") }
    }

    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Signs whatever it is given.
    pub fn sign(&self, token: &Token, authorization: &Authorization) -> Bytes {
        eip3009::sign(token, authorization, &self.key).expect("a signature")
    }

    pub fn pay_v1(&self, challenge: &Challenge) -> Payment {
        self.draft(challenge, Dialect::V1).sign(self)
    }

    pub fn pay_v2(&self, challenge: &Challenge) -> Payment {
        self.draft(challenge, Dialect::V2).sign(self)
    }

    /// What an honest client would sign for the first offer.
    pub fn draft(&self, challenge: &Challenge, dialect: Dialect) -> Draft {
        let (entry, amount) = match dialect {
            Dialect::V1 => (&challenge.v1["accepts"][0], "maxAmountRequired"),
            Dialect::V2 => (&challenge.v2["accepts"][0], "amount"),
        };
        let now = now();
        let extra = |key: &str| entry["extra"][key].as_str().expect("EIP-712 terms").into();
        let timeout = entry["maxTimeoutSeconds"].as_u64().expect("maxTimeoutSeconds");
        Draft {
            dialect,
            resource: challenge.v2["resource"].clone(),
            chain_id: chain_id(entry["network"].as_str().expect("a network")),
            asset: address(&entry["asset"]),
            domain: Eip712Domain { name: extra("name"), version: extra("version") },
            authorization: Authorization {
                from: self.address(),
                to: address(&entry["payTo"]),
                value: amount_of(&entry[amount]),
                valid_after: now.saturating_sub(600),
                valid_before: now.saturating_add(timeout),
                nonce: B256::from(rand::random::<[u8; 32]>()),
            },
            entry: entry.clone(),
        }
    }
}

/// A payment before it is signed. Fields changed here are signed as they are.
#[derive(Debug, Clone)]
pub struct Draft {
    pub dialect: Dialect,
    pub entry: Value,
    pub resource: Value,
    pub chain_id: u64,
    pub asset: Address,
    pub domain: Eip712Domain,
    pub authorization: Authorization,
}

impl Draft {
    pub fn sign(&self, payer: &Payer) -> Payment {
        let token = Token::new(self.chain_id, self.asset, &self.domain);
        self.with_signature(&payer.sign(&token, &self.authorization))
    }

    /// With any signature at all.
    pub fn with_signature(&self, signature: &Bytes) -> Payment {
        let authorization = &self.authorization;
        let payload = json!({
            "signature": signature.to_string(),
            "authorization": {
                "from": authorization.from.to_string(),
                "to": authorization.to.to_string(),
                "value": authorization.value.to_string(),
                "validAfter": authorization.valid_after.to_string(),
                "validBefore": authorization.valid_before.to_string(),
                "nonce": authorization.nonce.to_string(),
            },
        });
        let json = match self.dialect {
            Dialect::V1 => json!({
                "x402Version": 1, "scheme": self.entry["scheme"], "network": self.entry["network"], "payload": payload,
            }),
            Dialect::V2 => json!({
                "x402Version": 2, "resource": self.resource, "accepted": self.entry, "payload": payload,
            }),
        };
        Payment { dialect: self.dialect, json }
    }
}

/// A payment as its JSON. Fields changed here are changed after signing.
#[derive(Debug, Clone)]
pub struct Payment {
    pub dialect: Dialect,
    pub json: Value,
}

impl Payment {
    /// The header it travels in.
    pub fn header(&self) -> (&'static str, String) {
        let name = match self.dialect {
            Dialect::V1 => "X-PAYMENT",
            Dialect::V2 => "PAYMENT-SIGNATURE",
        };
        (name, encode(&self.json))
    }

    /// This payment with one place (a JSON pointer) changed.
    pub fn with(mut self, pointer: &str, value: Value) -> Payment {
        *self.json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer} in a payment")) = value;
        self
    }

    /// This payment without one key of one object.
    pub fn without(mut self, pointer: &str, key: &str) -> Payment {
        let object = self.json.pointer_mut(pointer).and_then(Value::as_object_mut);
        object.unwrap_or_else(|| panic!("no object at {pointer}")).remove(key);
        self
    }

    /// The signature's hex, to look for where it must not be.
    pub fn signature(&self) -> &str {
        self.json["payload"]["signature"].as_str().expect("a signature")
    }
}

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

fn chain_id(network: &str) -> u64 {
    match network {
        "base-sepolia" => 84532,
        "base" => 8453,
        caip2 => caip2.strip_prefix("eip155:").and_then(|id| id.parse().ok()).expect("an EVM network"),
    }
}

fn address(value: &Value) -> Address {
    value.as_str().and_then(|text| Address::from_str(text).ok()).unwrap_or_else(|| panic!("no address: {value}"))
}

fn amount_of(value: &Value) -> Amount {
    let text = value.as_str().unwrap_or_else(|| panic!("no amount: {value}"));
    Amount::from(U256::from_str(text).expect("a decimal amount"))
}
