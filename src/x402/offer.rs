//! One way to pay a route.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Asset, Network, v1, v2};
use crate::money::Amount;

/// The key of `extra` that names the EIP-712 type to sign: a hint to clients, no part of the terms.
pub const PRIMARY_TYPE: &str = "primaryType";

/// What [`PRIMARY_TYPE`] says of an EIP-3009 token.
pub const TRANSFER_WITH_AUTHORIZATION: &str = "TransferWithAuthorization";

/// The x402 scheme of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Exactly the amount, in one transfer.
    Exact,
}

impl Scheme {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Exact => "exact",
        }
    }
}

/// One way to pay a route: an entry of `accepts`. Offers of one `[pay.NAME]` differ in their amount alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The `[pay.NAME]` it comes from.
    pub way: Arc<str>,
    /// How the money moves.
    pub scheme: Scheme,
    /// Where it moves.
    pub network: Network,
    /// What moves.
    pub asset: Asset,
    /// How much of it, in atomic units.
    pub amount: Amount,
    /// To whom.
    pub pay_to: Arc<str>,
    /// Seconds for which a signed payment is good, and for which this quote is honoured after a reload.
    pub max_timeout_seconds: u64,
    /// What stands in `extra`: EIP-712 name and version, the file's own keys, and what the facilitator supplied. The same
    /// for all routes that offer this way to pay.
    pub extra: Arc<Map<String, Value>>,
}

impl Offer {
    /// This offer as an entry of a v2 challenge.
    pub fn to_v2(&self) -> v2::PaymentRequirements {
        v2::PaymentRequirements {
            scheme: self.scheme.name().to_owned(),
            network: self.network.caip2().to_owned(),
            amount: self.amount,
            asset: self.asset.address.to_string(),
            pay_to: self.pay_to.to_string(),
            max_timeout_seconds: self.max_timeout_seconds,
            extra: (*self.extra).clone(),
        }
    }

    /// This offer as an entry of a v1 challenge; `None` where v1 clients do not know the network.
    pub fn to_v1(&self, resource: &v2::ResourceInfo) -> Option<v1::PaymentRequirements> {
        Some(v1::PaymentRequirements {
            scheme: self.scheme.name().to_owned(),
            network: self.network.v1_name()?.to_owned(),
            max_amount_required: self.amount,
            resource: resource.url.clone(),
            description: resource.description.clone(),
            mime_type: resource.mime_type.clone(),
            pay_to: self.pay_to.to_string(),
            max_timeout_seconds: self.max_timeout_seconds,
            asset: self.asset.address.to_string(),
            extra: (*self.extra).clone(),
        })
    }

    /// Whether a v2 payment's `accepted` names this offer. Compared by value, as clients write it: addresses in
    /// any case, `extra` as a superset (without [`PRIMARY_TYPE`]); `maxTimeoutSeconds` must be what was offered.
    pub fn is_accepted_by(&self, accepted: &v2::PaymentRequirements) -> bool {
        self.scheme.name() == accepted.scheme
            && self.network.caip2() == accepted.network
            && self.amount == accepted.amount
            && self.same_address(&self.asset.address, &accepted.asset)
            && self.same_address(&self.pay_to, &accepted.pay_to)
            && self.max_timeout_seconds == accepted.max_timeout_seconds
            && self.extra.iter().all(|(key, value)| key == PRIMARY_TYPE || accepted.extra.get(key) == Some(value))
    }

    /// EVM addresses are hex in any case; Solana's base58 has only one.
    pub fn same_address(&self, a: &str, b: &str) -> bool {
        if self.network.evm_chain_id().is_some() { a.eq_ignore_ascii_case(b) } else { a == b }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn offer(network: &str) -> Offer {
        let network = Network::parse(network).unwrap();
        Offer {
            way: "usdc".into(),
            scheme: Scheme::Exact,
            asset: Asset::known(&network, "USDC").unwrap(),
            network,
            amount: Amount::from(1000),
            pay_to: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".into(),
            max_timeout_seconds: 300,
            extra: Arc::new(Map::from_iter([("name".to_owned(), json!("USDC")), ("version".to_owned(), json!("2"))])),
        }
    }

    #[test]
    fn an_offer_is_accepted_by_value() {
        let offer = offer("base-sepolia");
        let same: [fn(&mut v2::PaymentRequirements); 4] = [
            |_| {},
            |a| a.asset.make_ascii_lowercase(),
            |a| a.pay_to = a.pay_to.to_ascii_uppercase(),
            |a| drop(a.extra.insert("more".to_owned(), json!(1))),
        ];
        for (case, change) in same.into_iter().enumerate() {
            let mut accepted = offer.to_v2();
            change(&mut accepted);
            assert!(offer.is_accepted_by(&accepted), "case {case}");
        }
        let other: [fn(&mut v2::PaymentRequirements); 8] = [
            |a| a.scheme = "upto".to_owned(),
            |a| a.network = "eip155:8453".to_owned(),
            |a| a.amount = Amount::from(1),
            |a| a.asset = a.pay_to.clone(),
            |a| a.pay_to = a.asset.clone(),
            |a| a.max_timeout_seconds = 301,
            |a| drop(a.extra.remove("name")),
            |a| drop(a.extra.insert("version".to_owned(), json!("1"))),
        ];
        for (case, change) in other.into_iter().enumerate() {
            let mut accepted = offer.to_v2();
            change(&mut accepted);
            assert!(!offer.is_accepted_by(&accepted), "case {case}");
        }
    }

    #[test]
    fn only_ethereums_addresses_have_no_case() {
        assert!(offer("base").same_address("0xAb", "0xaB"));
        assert!(!offer("solana").same_address("Ab", "aB"));
    }

    #[test]
    fn a_network_without_a_v1_name_makes_no_v1_entry() {
        let resource = v2::ResourceInfo {
            url: "https://a.test/".to_owned(),
            description: String::new(),
            mime_type: String::new(),
        };
        assert_eq!(offer("base").to_v1(&resource).map(|entry| entry.network).as_deref(), Some("base"));
        assert_eq!(offer("ethereum").to_v1(&resource), None);
    }
}
