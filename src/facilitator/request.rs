//! What a facilitator is sent.

use serde_json::json;

use super::Order;
use crate::x402::Dialect;

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
        json!({
            "x402Version": version,
            "paymentPayload": self.payment.json,
            "paymentRequirements": requirements,
        })
        .to_string()
    }
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
        let keys: Vec<&String> = sent.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["paymentPayload", "paymentRequirements", "x402Version"], "and nothing is added");
    }
}
