//! What a client asks of a [stand](super::stand), and what it sees.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::wallet::Signed;
use crate::gate::facts::Facts;
use crate::gate::{Identity, unix_millis};
use crate::telemetry::Outcome;
use crate::x402::header::{decode_payment_required, decode_settlement};
use crate::x402::{SettlementResponse, v2};

pub const HOST: &str = "shop.test";

/// A request to be made.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: Method,
    pub target: String,
    pub host: &'static str,
    pub headers: HeaderMap,
    pub peer: IpAddr,
}

/// How the upstream answers a request that is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// With this status, and the client gets all of it.
    Answers(u16),
    /// With this status, and the client is gone before the end.
    BreaksOff(u16),
    /// Not at all.
    Fails,
}

/// What a client sees in the end.
#[derive(Debug, Clone)]
pub struct Seen {
    pub status: u16,
    pub outcome: Outcome,
    /// Whether the upstream's response came through.
    pub served: bool,
    /// Whether the upstream was asked.
    pub forwarded: bool,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Value,
    pub identity: Option<Identity>,
}

impl Ask {
    pub fn get(target: &str) -> Ask {
        Ask {
            method: Method::GET,
            target: target.to_owned(),
            host: HOST,
            headers: HeaderMap::new(),
            peer: [192, 0, 2, 1].into(),
        }
    }

    pub fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Ask {
        self.headers.append(name, HeaderValue::from_str(value.as_ref()).unwrap());
        self
    }

    pub fn method(mut self, method: Method) -> Ask {
        self.method = method;
        self
    }

    pub fn host(mut self, host: &'static str) -> Ask {
        self.host = host;
        self
    }

    pub fn from(mut self, peer: impl Into<IpAddr>) -> Ask {
        self.peer = peer.into();
        self
    }

    pub fn paying(self, signed: &Signed) -> Ask {
        self.with("payment-signature", signed.v2())
    }

    pub fn facts(&self) -> Facts<'_> {
        Facts {
            method: &self.method,
            target: self.target.as_bytes(),
            authority: self.host,
            host: self.host,
            encrypted: false,
            peer: self.peer,
            headers: &self.headers,
            now: unix_millis(),
        }
    }
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.header(name).map(|value| value.to_str().unwrap())
    }

    /// What a v2 client is told of its payment.
    pub fn settlement(&self) -> Option<SettlementResponse> {
        self.header("payment-response").map(|value| decode_settlement(value.as_bytes()).unwrap())
    }

    /// What a v1 client is told of its payment.
    pub fn settlement_v1(&self) -> Option<SettlementResponse> {
        self.header("x-payment-response").map(|value| decode_settlement(value.as_bytes()).unwrap())
    }

    /// A v2 challenge's terms.
    pub fn terms(&self) -> v2::PaymentRequired {
        decode_payment_required(self.header("payment-required").expect("a challenge").as_bytes()).unwrap()
    }

    /// The `error` of the body.
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// Whether the client is told to send the same payment again, and not to sign another.
    pub fn says_same_payment_again(&self) -> bool {
        self.status != 402 && self.body["retry"] == "same_payment" && self.header("retry-after").is_some()
    }
}
