//! What a 402 asks for, and which of its offers is paid.

use std::fmt;

use alloy::primitives::Address;
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::evm::eip3009::Token;
use crate::money::{Amount, Price};
use crate::x402::asset::Eip712Domain;
use crate::x402::{Asset, Dialect, Network, header, v1, v2};

/// What a 402 asks for, in one of the two versions.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The version that it is read in, and is paid in.
    pub dialect: Dialect,
    /// The whole of it, decoded.
    pub json: Value,
}

/// One offer that can be paid: everything that is shown to whoever pays, and that is signed.
#[derive(Debug, Clone)]
pub struct Quote {
    /// The version that it is paid in.
    pub dialect: Dialect,
    /// Where the money moves.
    pub network: Network,
    /// What moves; one that Farebox knows, for else its decimals would be hearsay.
    pub asset: Asset,
    /// How much of it.
    pub amount: Amount,
    /// To whom.
    pub pay_to: Address,
    /// Seconds for which the payment is to be good.
    pub max_timeout_seconds: u64,
    /// What it opens, as the seller describes it.
    pub resource: v2::ResourceInfo,
    /// Whose signature domain it is signed under.
    pub(super) token: Token,
    /// The entry of `accepts`, as sent.
    pub(super) entry: Value,
}

/// Why an offer is not paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpayable {
    /// Which one, from 1.
    pub number: usize,
    /// Why, in words.
    pub reason: String,
}

impl fmt::Display for Unpayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offer {}: {}", self.number, self.reason)
    }
}

impl Terms {
    /// Reads the terms of a 402: the v2 header where there is a readable one, else the v1 body; only the v1 body when
    /// that is the dialect to be spoken. The error says what was wrong with each.
    pub fn read(speak: Dialect, headers: &HeaderMap, body: &[u8]) -> Result<Terms, String> {
        let header = match speak {
            Dialect::V1 => Err("not looked at".to_owned()),
            Dialect::V2 => match headers.get(header::PAYMENT_REQUIRED) {
                None => Err("missing".to_owned()),
                Some(value) => header::decode_json(value.as_bytes()).map_err(|error| error.to_string()),
            },
        };
        let header = header.and_then(|json| Terms::of_version(Dialect::V2, json));
        header.or_else(|header| {
            let body = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"));
            body.and_then(|json| Terms::of_version(Dialect::V1, json))
                .map_err(|body| format!("PAYMENT-REQUIRED header: {header}; v1 terms in the body: {body}"))
        })
    }

    fn of_version(dialect: Dialect, json: Value) -> Result<Terms, String> {
        let version = json.get("x402Version").and_then(Value::as_u64);
        if version != Some(u64::from(dialect.version())) {
            return Err(format!("x402Version is not {}", dialect.version()));
        }
        if !json.get("accepts").is_some_and(Value::is_array) {
            return Err("no array \"accepts\"".to_owned());
        }
        Ok(Terms { dialect, json })
    }

    /// Why payment is asked for (again), in the seller's words.
    pub fn error(&self) -> Option<&str> {
        self.json.get("error").and_then(Value::as_str)
    }

    /// The first offer that can be paid within the limit, in whole tokens; else why each of them cannot.
    pub fn choose(&self, limit: Price) -> Result<Quote, Vec<Unpayable>> {
        let entries = self.json.get("accepts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut unpayable = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match self.quote(entry).and_then(|quote| quote.within(limit)) {
                Ok(quote) => return Ok(quote),
                Err(reason) => unpayable.push(Unpayable { number: index.saturating_add(1), reason }),
            }
        }
        Err(unpayable)
    }

    fn quote(&self, entry: &Value) -> Result<Quote, String> {
        let (offer, resource) = match self.dialect {
            Dialect::V1 => from_v1(read(entry)?),
            Dialect::V2 => (read(entry)?, self.json.get("resource").map_or_else(|| Ok(no_resource()), read)?),
        };
        if offer.scheme != "exact" {
            return Err(format!("scheme {:?}: only \"exact\" can be paid", offer.scheme));
        }
        let network = Network::parse(&offer.network).map_err(|error| format!("{:?}: {error}", offer.network))?;
        let Some(chain_id) = network.evm_chain_id() else {
            return Err(format!("{}: only EVM networks can be paid on", network.alias()));
        };
        let extra = |key| offer.extra.get(key).and_then(Value::as_str);
        if extra("assetTransferMethod").is_some_and(|method| method != "eip3009") {
            return Err("only EIP-3009 transfers can be signed".to_owned());
        }
        let (Some(name), Some(version)) = (extra("name"), extra("version")) else {
            return Err("no EIP-712 name and version of the token in \"extra\"".to_owned());
        };
        let Some(asset) = Asset::at(&network, &offer.asset) else {
            let alias = network.alias();
            return Err(format!(
                "{:?} on {alias}: unknown token; what its units are worth is anybody's guess",
                offer.asset
            ));
        };
        let address = |text: &str| text.parse().map_err(|_| format!("{text:?}: not an address"));
        let domain = Eip712Domain { name: name.into(), version: version.into() };
        Ok(Quote {
            dialect: self.dialect,
            amount: offer.amount,
            pay_to: address(&offer.pay_to)?,
            max_timeout_seconds: offer.max_timeout_seconds,
            resource,
            token: Token::new(chain_id, address(&asset.address)?, &domain),
            entry: entry.clone(),
            network,
            asset,
        })
    }
}

impl Quote {
    /// The amount in whole tokens, exactly, with the token's name.
    pub fn units(&self) -> String {
        format!("{} {}", self.amount.to_units(self.asset.decimals), self.asset.symbol)
    }

    fn within(self, limit: Price) -> Result<Quote, String> {
        let most = limit.to_atomic(self.asset.decimals).map_err(|error| format!("the limit of {limit}: {error}"))?;
        if self.amount > most {
            return Err(format!("{} on {} is above the limit of {limit}", self.units(), self.network.alias()));
        }
        Ok(self)
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("malformed: {error}"))
}

fn no_resource() -> v2::ResourceInfo {
    v2::ResourceInfo { url: String::new(), description: String::new(), mime_type: String::new() }
}

/// v1's fields under v2's names; the network keeps its v1 name.
fn from_v1(offer: v1::PaymentRequirements) -> (v2::PaymentRequirements, v2::ResourceInfo) {
    let resource = v2::ResourceInfo { url: offer.resource, description: offer.description, mime_type: offer.mime_type };
    let offer = v2::PaymentRequirements {
        scheme: offer.scheme,
        network: offer.network,
        amount: offer.max_amount_required,
        asset: offer.asset,
        pay_to: offer.pay_to,
        max_timeout_seconds: offer.max_timeout_seconds,
        extra: offer.extra,
    };
    (offer, resource)
}
