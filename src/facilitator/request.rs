//! What a facilitator is sent.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::Order;
use crate::x402::asset::Eip712Domain;
use crate::x402::offer::Scheme;
use crate::x402::{Asset, Dialect, Network, Offer, header, v1, v2};

/// Of a token that Farebox does not know, whose request does not say. Only the sandbox asks, for a payer's first balance.
const USUAL_DECIMALS: u8 = 18;

/// In the order of their names, in which earlier versions have written them: what the ledger keeps is compared word for
/// word.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "paymentPayload")]
    payment_payload: &'a Value,
    #[serde(rename = "paymentRequirements")]
    payment_requirements: Value,
    #[serde(rename = "x402Version")]
    x402_version: u8,
}

impl Order {
    /// The JSON body of `/verify` and `/settle`: the payment as the client sent it, and the offer in the payment's
    /// dialect. It holds a signature: store it, never log it.
    ///
    /// The ledger keeps it, so that an unknown outcome can be asked for again word for word.
    pub fn settle_request(&self) -> String {
        let version = self.payment.dialect.version();
        let in_v1 = match self.payment.dialect {
            Dialect::V1 => self.offer.to_v1(&self.resource),
            Dialect::V2 => None,
        };
        // A v1 payment for a network without a v1 name is never matched to an offer. If one were, the facilitator
        // would see terms of the other version and refuse them, which moves nothing.
        let requirements = match in_v1 {
            Some(requirements) => json!(requirements),
            None => json!(self.offer.to_v2()),
        };
        let body =
            Body { payment_payload: &self.payment.json, payment_requirements: requirements, x402_version: version };
        // JSON whose keys are strings is always written.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// The order whose [`settle_request`](Order::settle_request) the ledger kept. `None` where it would not be asked
    /// for word for word: then it must not be asked for at all.
    pub fn restore(stored: &str, way: &Arc<str>, network: &Network) -> Option<Order> {
        let request: Value = serde_json::from_str(stored).ok()?;
        let requirements = request.get("paymentRequirements")?.clone();
        let dialect = match request.get("x402Version")?.as_u64()? {
            1 => Dialect::V1,
            2 => Dialect::V2,
            _ => return None,
        };
        let payment = header::read_payment(dialect, request.get("paymentPayload")?.clone()).ok()?;
        let (required, resource) = match dialect {
            Dialect::V1 => of_v1(serde_json::from_value(requirements).ok()?, network),
            Dialect::V2 => (serde_json::from_value(requirements).ok()?, resource("", "", "")),
        };
        let order = Order { payment, offer: offer(required, way, network)?, resource };
        (order.settle_request() == stored).then_some(order)
    }
}

fn resource(url: &str, description: &str, mime_type: &str) -> v2::ResourceInfo {
    v2::ResourceInfo { url: url.to_owned(), description: description.to_owned(), mime_type: mime_type.to_owned() }
}

fn of_v1(required: v1::PaymentRequirements, network: &Network) -> (v2::PaymentRequirements, v2::ResourceInfo) {
    let resource = resource(&required.resource, &required.description, &required.mime_type);
    let required = v2::PaymentRequirements {
        scheme: required.scheme,
        network: network.caip2().to_owned(),
        amount: required.max_amount_required,
        asset: required.asset,
        pay_to: required.pay_to,
        max_timeout_seconds: required.max_timeout_seconds,
        extra: required.extra,
    };
    (required, resource)
}

fn offer(required: v2::PaymentRequirements, way: &Arc<str>, network: &Network) -> Option<Offer> {
    let v2::PaymentRequirements { scheme, network: named, amount, asset, pay_to, max_timeout_seconds, extra } =
        required;
    if scheme != Scheme::Exact.name() || named != network.caip2() {
        return None;
    }
    let text = |key: &str| extra.get(key).and_then(Value::as_str).map(Arc::from);
    let eip712 = text("name").zip(text("version")).map(|(name, version)| Eip712Domain { name, version });
    let decimals = Asset::at(network, &asset).map_or(USUAL_DECIMALS, |known| known.decimals);
    let address: Arc<str> = asset.into();
    let asset = Asset { symbol: address.clone(), address, decimals, eip712 };
    let (way, network, pay_to) = (way.clone(), network.clone(), pay_to.into());
    Some(Offer { way, scheme: Scheme::Exact, network, asset, amount, pay_to, max_timeout_seconds, extra: extra.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::facilitator::testing::order;
    use crate::x402::Dialect;

    #[test]
    fn the_offer_is_written_in_the_payments_dialect() {
        let v1: Value = serde_json::from_str(&order(Dialect::V1).settle_request()).unwrap();
        assert_eq!(v1["x402Version"], 1);
        assert_eq!(v1["paymentRequirements"]["network"], "base-sepolia");
        assert_eq!(v1["paymentRequirements"]["maxAmountRequired"], "1000");
        assert_eq!(v1["paymentRequirements"]["resource"], "https://api.example.com/premium");

        let v2: Value = serde_json::from_str(&order(Dialect::V2).settle_request()).unwrap();
        assert_eq!(v2["x402Version"], 2);
        assert_eq!(v2["paymentRequirements"]["network"], "eip155:84532");
        assert_eq!(v2["paymentRequirements"]["amount"], "1000");
        assert_eq!(v2["paymentRequirements"].get("resource"), None, "v2 names the resource in the payload only");
    }

    #[test]
    fn the_payment_is_passed_on_as_it_was_sent() {
        let mut order = order(Dialect::V2);
        order.payment.json = json!({ "x402Version": 2, "unknown": [1, { "deep": null }], "payload": { "a": "0xAb" } });
        let sent: Value = serde_json::from_str(&order.settle_request()).unwrap();
        assert_eq!(sent["paymentPayload"], order.payment.json);
        let as_a_value = json!({
            "x402Version": 2, "paymentPayload": order.payment.json, "paymentRequirements": order.offer.to_v2(),
        });
        assert_eq!(order.settle_request(), as_a_value.to_string(), "as ledgers of earlier versions keep it");
        let keys: Vec<&String> = sent.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["paymentPayload", "paymentRequirements", "x402Version"], "and nothing is added");
    }
}
