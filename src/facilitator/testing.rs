//! Orders to try facilitators with.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256, Bytes, address};
use alloy::signers::local::PrivateKeySigner;
use serde_json::json;

use super::Order;
use crate::evm::eip3009::{self, Token};
use crate::money::Amount;
use crate::x402::offer::Scheme;
use crate::x402::payment::{Authorization, Payload};
use crate::x402::v2::ResourceInfo;
use crate::x402::{Asset, Dialect, Network, Offer, Payment};

/// Who pays in [`order`], and in the recorded answers.
pub(super) const PAYER: Address = address!("90F79bf6EB2c4f870365E785982E1f101E93b906");
/// Who is paid.
pub(crate) const PAY_TO: Address = address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// 0.001 USDC on that network.
pub(super) fn offer_on(network: &str) -> Offer {
    let network = Network::parse(network).unwrap();
    let asset = Asset::known(&network, "USDC").unwrap();
    Offer {
        way: "usdc".into(),
        scheme: Scheme::Exact,
        network,
        asset,
        amount: Amount::from(1000),
        pay_to: PAY_TO.to_string().into(),
        max_timeout_seconds: 60,
        extra: Arc::default(),
    }
}

/// A payment over [`offer_on`] Base Sepolia that claims to be [`PAYER`]'s; nobody signed it.
pub(crate) fn order(dialect: Dialect) -> Order {
    order_of(PAYER, dialect)
}

/// The same of anybody.
pub(super) fn order_of(from: Address, dialect: Dialect) -> Order {
    let authorization = Authorization {
        from,
        to: PAY_TO,
        value: Amount::from(1000),
        valid_after: 0,
        valid_before: unix_now() + 60,
        nonce: B256::repeat_byte(7),
    };
    let signature: Vec<u8> = (1..=65).collect();
    order_with(dialect, authorization, signature.into())
}

/// A payment that somebody did sign.
pub(crate) fn signed_order(key: &PrivateKeySigner, nonce: B256, change: impl FnOnce(&mut Authorization)) -> Order {
    let mut authorization = Authorization {
        from: key.address(),
        to: PAY_TO,
        value: Amount::from(1000),
        valid_after: 0,
        valid_before: unix_now() + 60,
        nonce,
    };
    change(&mut authorization);
    let offer = offer_on("base-sepolia");
    let domain = offer.asset.eip712.as_ref().unwrap();
    let token = Token::new(84532, offer.asset.address.parse().unwrap(), domain);
    let signature = eip3009::sign(&token, &authorization, key).unwrap();
    order_with(Dialect::V2, authorization, signature)
}

fn order_with(dialect: Dialect, authorization: Authorization, signature: Bytes) -> Order {
    let offer = offer_on("base-sepolia");
    let network = match dialect {
        Dialect::V1 => "base-sepolia",
        Dialect::V2 => "eip155:84532",
    };
    Order {
        payment: Payment {
            dialect,
            scheme: "exact".into(),
            network: network.into(),
            accepted: (dialect == Dialect::V2).then(|| offer.to_v2()),
            json: json!({
                "x402Version": dialect.version(),
                "scheme": "exact",
                "network": network,
                "accepted": offer.to_v2(),
                "payload": {
                    "signature": signature,
                    "authorization": {
                        "from": authorization.from,
                        "to": authorization.to,
                        "value": authorization.value,
                        "validAfter": authorization.valid_after.to_string(),
                        "validBefore": authorization.valid_before.to_string(),
                        "nonce": authorization.nonce,
                    },
                },
            }),
            payload: Payload::Eip3009 { authorization, signature },
            digest: [0; 32],
        },
        offer,
        resource: ResourceInfo {
            url: "https://api.example.com/premium".into(),
            description: "Premium".into(),
            mime_type: "application/json".into(),
        },
    }
}
