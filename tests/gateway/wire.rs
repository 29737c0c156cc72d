//! The shapes on the wire, against recorded transcripts of the reference implementation.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Challenge, House, Verify};

/// Recorded from a reference seller and a reference client, decoded.
fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/wire-{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every path to a value, with the value's type: `accepts.0.amount: string`.
fn shape(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, into: &mut BTreeSet<String>) {
        let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, &at(key), into)),
            Value::Array(items) => items.iter().for_each(|value| walk(value, &at("0"), into)),
            Value::String(_) => drop(into.insert(format!("{path}: string"))),
            Value::Number(_) => drop(into.insert(format!("{path}: number"))),
            Value::Bool(_) => drop(into.insert(format!("{path}: boolean"))),
            Value::Null => drop(into.insert(format!("{path}: null"))),
        }
    }
    let mut shapes = BTreeSet::new();
    walk(value, "", &mut shapes);
    // Farebox's one addition, for a client that signs only where it is told what.
    shapes.retain(|shape| !shape.ends_with("extra.primaryType: string"));
    shapes
}

#[tokio::test]
async fn offers_say_what_is_to_be_signed() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    for terms in [&challenge.v1, &challenge.v2] {
        assert_eq!(terms["accepts"][0]["extra"]["primaryType"], "TransferWithAuthorization");
    }
}

#[tokio::test]
async fn challenges_have_the_shape_of_the_reference() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    assert_eq!(shape(&challenge.v2), shape(&golden("v2-challenge")));
    assert_eq!(shape(&challenge.v1), v1_challenge());
}

/// Without `outputSchema`: an option that describes the resource's API, which Farebox does not know.
fn v1_challenge() -> BTreeSet<String> {
    let mut terms = golden("v1-challenge");
    terms["accepts"][0].as_object_mut().expect("an offer").remove("outputSchema").expect("there");
    shape(&terms)
}

#[tokio::test]
async fn payments_of_these_tests_have_the_shape_of_the_reference() {
    // Else the tests would prove something about themselves.
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    assert_eq!(shape(&house.payer.pay_v2(&challenge).json), shape(&golden("v2-payment")));
    assert_eq!(shape(&house.payer.pay_v1(&challenge).json), shape(&golden("v1-payment")));
}

#[tokio::test]
async fn settlements_have_the_shape_of_the_reference() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    let v2 = house.redeem("/paid/ok", &house.payer.pay_v2(&challenge)).await;
    let v1 = house.redeem("/paid/ok", &house.payer.pay_v1(&challenge)).await;
    let mut expected = shape(&golden("v2-settlement"));
    // The v2 specification (5.3.2) has it, as an option.
    expected.insert("amount: string".into());
    let mut found = shape(&v2.settlement().expect("PAYMENT-RESPONSE"));
    found.insert("amount: string".into());
    assert_eq!(found, expected);
    assert_eq!(shape(&v1.settlement_v1().expect("X-PAYMENT-RESPONSE")), shape(&golden("v1-settlement")));
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_reference() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    house.facilitator.on_verify(Verify::Invalid("insufficient_funds"));
    house.facilitator.on_verify(Verify::Invalid("insufficient_funds"));
    let v2 = Challenge::of(&house.redeem("/paid/ok", &house.payer.pay_v2(&challenge)).await);
    let v1 = Challenge::of(&house.redeem("/paid/ok", &house.payer.pay_v1(&challenge)).await);
    assert_eq!(shape(&v2.v2), shape(&golden("v2-challenge")));
    let mut found = shape(&v1.v1);
    // The reference names the payer in a v1 refusal; clients do not look at it.
    found.remove("payer: string");
    assert_eq!(found, v1_challenge());
}

#[tokio::test]
async fn the_facilitator_is_asked_in_the_shape_of_the_reference() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    for (dialect, payment) in [("v2", house.payer.pay_v2(&challenge)), ("v1", house.payer.pay_v1(&challenge))] {
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
        let body: Value =
            serde_json::from_slice(&house.facilitator.settles().pop().expect("a settle").body).expect("JSON");
        let keys: BTreeSet<&str> = body.as_object().expect("object").keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["paymentPayload", "paymentRequirements", "x402Version"]));
        assert_eq!(shape(&body["paymentPayload"]), shape(&golden(&format!("{dialect}-payment"))));
        let mut offer = golden(&format!("{dialect}-challenge"))["accepts"][0].take();
        offer.as_object_mut().expect("an offer").remove("outputSchema");
        assert_eq!(shape(&body["paymentRequirements"]), shape(&offer), "{dialect}");
    }
}

#[tokio::test]
async fn no_field_that_clients_choke_on_is_ever_null_or_empty() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    for terms in [&challenge.v2, &challenge.v1] {
        let shapes = shape(terms);
        assert!(!shapes.iter().any(|shape| shape.ends_with(": null")), "{shapes:?}");
        assert!(terms.get("extensions").is_none(), "left out when empty");
    }
    // Old clients refuse entries without these, even where there is nothing to say.
    for key in ["description", "mimeType"] {
        assert_eq!(challenge.v1["accepts"][0][key], "", "{key}");
    }
}
