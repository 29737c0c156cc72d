//! What was recorded of a reference seller, and how it is asked again today.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use alloy::primitives::{Address, Bytes};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use farebox::evm::eip3009::{self, Token};
use farebox::x402::Dialect;
use farebox::x402::asset::Eip712Domain;
use farebox::x402::payment::Authorization;
use serde::Deserialize;
use serde_json::Value;

use crate::support::payer::{decode, now};
use crate::support::{Payer, Request, Response};

/// The token that recorded payments are in.
const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// Chains and EIP-712 names that recorded payments were signed for: the token's own first, then the mistakes.
const SIGNED_FOR: [(u64, &str); 3] = [(84532, "USDC"), (84532, "USD Coin"), (8453, "USDC")];

/// One request to a reference seller, and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The file's name, without its ending.
    #[serde(skip)]
    pub name: String,
    /// What is wrong or special about the request.
    pub note: String,
    /// Unix seconds.
    pub recorded_at: u64,
    pub request: Sent,
    pub answer: Answer,
}

/// A request, byte for byte but for what belongs to its connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    method: String,
    target: String,
    headers: Vec<String>,
    body: Option<String>,
}

/// What of an answer is compared; headers decoded.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    /// `PAYMENT-REQUIRED`.
    pub challenge: Option<Value>,
    /// `PAYMENT-RESPONSE` or `X-PAYMENT-RESPONSE`.
    pub settlement: Option<Value>,
    pub body: Value,
}

/// Everything that was recorded of the seller of one version, in order.
pub fn recordings(dialect: Dialect) -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/reference/v{}", dialect.version()));
    let mut recordings: Vec<Recording> = fs::read_dir(&folder)
        .expect("the recordings")
        .map(|entry| {
            let path = entry.expect("a recording").path();
            let text = fs::read_to_string(&path).expect("a recording");
            let recording = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
            Recording { name, ..recording }
        })
        .collect();
    recordings.sort_by(|a, b| a.name.cmp(&b.name));
    recordings
}

impl Recording {
    /// Whether it was sent at the same time as its neighbours of that name.
    pub fn is_race(&self) -> bool {
        self.name.contains("-race-")
    }

    /// The request as it would be sent today.
    pub fn request(&self, payers: &mut Payers) -> Request {
        let Sent { method, target, headers, body } = &self.request;
        let mut request = Request::new(method, target);
        for header in headers {
            let (name, value) = header.split_once(": ").expect("a header field");
            let is_payment = ["payment-signature", "x-payment"].contains(&name.to_ascii_lowercase().as_str());
            let value = if is_payment { payers.sign_again(value, self.recorded_at) } else { value.to_owned() };
            request = request.header(name, value);
        }
        request.body = body.clone().map(String::into_bytes);
        request
    }
}

impl Answer {
    /// What this gateway answered, in the words of the recording.
    pub fn of(response: &Response, payers: &Payers) -> Answer {
        let settlement = match (response.settlement(), response.settlement_v1()) {
            (Some(_), Some(_)) => panic!("a settlement in both versions: {response:?}"),
            (v2, v1) => v2.or(v1),
        };
        let header = |name| response.header(name).map(str::to_owned);
        let text = response.text();
        Answer {
            status: response.status,
            content_type: header("content-type"),
            cache_control: header("cache-control"),
            challenge: response.header("payment-required").map(decode),
            settlement: settlement.map(|settlement| payers.as_recorded(&settlement)),
            body: serde_json::from_str(&text).map_or(Value::from(text), |json| payers.as_recorded(&json)),
        }
    }
}

/// Somebody for everyone whose payments were recorded.
#[derive(Default)]
pub struct Payers {
    /// By the address in the recording.
    payers: HashMap<Address, Payer>,
    /// What was sent twice is sent twice.
    signed: HashMap<String, String>,
}

impl Payers {
    /// The same bytes, with another payer, times that are as far from now as they were from then, and a signature that
    /// is right or wrong for the same reason. A value that holds no authorization stays as it is.
    fn sign_again(&mut self, value: &str, recorded_at: u64) -> String {
        if let Some(signed) = self.signed.get(value) {
            return signed.clone();
        }
        let engine = engine_of(value);
        let Some(text) = engine.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return value.to_owned();
        };
        let Some(then) = authorization(&text) else { return value.to_owned() };
        let moved = |seconds: u64| seconds + now() - recorded_at;
        let payer = self.payers.entry(then.from).or_insert_with(Payer::new);
        let today = Authorization {
            from: payer.address(),
            valid_after: moved(then.valid_after),
            valid_before: moved(then.valid_before),
            ..then.clone()
        };
        let field = |name: &str, value: &dyn Display| format!("\"{name}\":\"{value}\"");
        let mut again = text.clone();
        for (name, old, new) in [
            ("from", &then.from as &dyn Display, &today.from as &dyn Display),
            ("validAfter", &then.valid_after, &today.valid_after),
            ("validBefore", &then.valid_before, &today.valid_before),
        ] {
            let (old, new) = (field(name, old), field(name, new));
            assert_eq!(again.matches(&old).count(), 1, "{old} in {text}");
            again = again.replace(&old, &new);
        }
        if let Some(signature) = key_signature(&text) {
            let signed = match signed_for(&then, &signature) {
                Some(token) => payer.sign(&token, &today),
                None => Payer::new().sign(&token_of(SIGNED_FOR[0]), &today),
            };
            again = again.replace(&signature.to_string(), &signed.to_string());
        }
        assert_eq!(again.len(), text.len(), "the padding stays what it was");
        let again = engine.encode(again);
        assert_eq!(is_url_safe(&again), is_url_safe(value), "the alphabet stays what it was");
        self.signed.insert(value.to_owned(), again.clone());
        again
    }

    /// What is said of today's payers, said of the recorded ones.
    fn as_recorded(&self, value: &Value) -> Value {
        let mut text = value.to_string();
        for (recorded, payer) in &self.payers {
            text = text.replace(&payer.address().to_string(), &recorded.to_string());
        }
        serde_json::from_str(&text).expect("still JSON")
    }
}

fn is_url_safe(value: &str) -> bool {
    value.contains(['-', '_'])
}

/// Base64 as this value has it.
fn engine_of(value: &str) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_encode_padding(value.len().is_multiple_of(4));
    GeneralPurpose::new(if is_url_safe(value) { &URL_SAFE } else { &STANDARD }, config)
}

/// The authorization in a payment's JSON, where it is whole.
fn authorization(json: &str) -> Option<Authorization> {
    let json: Value = serde_json::from_str(json).ok()?;
    let field = |name: &str| json.get("payload")?.get("authorization")?.get(name)?.as_str();
    Some(Authorization {
        from: field("from")?.parse().ok()?,
        to: field("to")?.parse().ok()?,
        value: field("value")?.parse().ok()?,
        valid_after: field("validAfter")?.parse().ok()?,
        valid_before: field("validBefore")?.parse().ok()?,
        nonce: field("nonce")?.parse().ok()?,
    })
}

/// The signature in a payment's JSON, where it has a key's length.
fn key_signature(json: &str) -> Option<Bytes> {
    let json: Value = serde_json::from_str(json).ok()?;
    let signature: Bytes = json.get("payload")?.get("signature")?.as_str()?.parse().ok()?;
    (signature.len() == 65).then_some(signature)
}

/// What the payer signed; `None` where it was somebody else who signed.
fn signed_for(authorization: &Authorization, signature: &Bytes) -> Option<Token> {
    let mut tokens = SIGNED_FOR.into_iter().map(token_of);
    tokens.find(|token| eip3009::recover(token, authorization, signature) == Some(authorization.from))
}

fn token_of((chain_id, name): (u64, &str)) -> Token {
    let domain = Eip712Domain { name: name.into(), version: "2".into() };
    Token::new(chain_id, USDC.parse().expect("an address"), &domain)
}
