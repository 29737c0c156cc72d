//! The wire against recordings: what real clients send is understood, what is answered has the reference's shape.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use alloy::primitives::Address;
use farebox::evm::eip3009::{self, Token};
use farebox::money::Amount;
use farebox::x402::challenge::{ChallengeTemplate, UNPAID_V1};
use farebox::x402::offer::Scheme;
use farebox::x402::payment::Payload;
use farebox::x402::{Asset, Dialect, Network, Offer, Payment, Reason, SettlementResponse, header};
use serde_json::{Map, Value, json};

fn golden(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

fn read(path: &str) -> Vec<u8> {
    fs::read(golden(path)).unwrap()
}

fn header_json(path: &str) -> Value {
    header::decode_json(&read(path)).unwrap()
}

/// What the recorded seller asked for.
fn offer() -> Offer {
    let network = Network::parse("base-sepolia").unwrap();
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

/// Every recorded payment, by the name of its file.
fn payments() -> Vec<(String, Payment)> {
    let mut payments: Vec<_> = fs::read_dir(golden("payments"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let dialect = if name.ends_with(".v1.b64") { Dialect::V1 } else { Dialect::V2 };
            let payment = header::decode_payment(dialect, &fs::read(&path).unwrap());
            let payment = payment.unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, payment)
        })
        .collect();
    payments.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(payments.len() >= 24, "the recordings are there");
    payments
}

/// The names of an object's keys, and of its values' types, all the way down.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), shape(value))).collect()),
    }
}

#[test]
fn what_clients_sign_is_recovered_to_the_payer() {
    let offer = offer();
    let address: Address = offer.asset.address.parse().unwrap();
    let token = Token::new(84532, address, offer.asset.eip712.as_ref().unwrap());
    let payer: Address = "0x90F79bf6EB2c4f870365E785982E1f101E93b906".parse().unwrap();
    for (name, payment) in payments() {
        match &payment.payload {
            Payload::Eip3009 { authorization, signature } => {
                assert_eq!(authorization.from, payer, "{name}");
                assert_eq!(authorization.value, offer.amount, "{name}");
                assert!(offer.same_address(&authorization.to.to_string(), &offer.pay_to), "{name}");
                assert_eq!(eip3009::recover(&token, authorization, signature), Some(payer), "{name}");
            }
            Payload::Opaque(payload) => {
                assert!(name.contains("permit2") || name.contains("upto"), "{name}");
                assert!(payload.get("permit2Authorization").is_some(), "{name}");
            }
        }
    }
}

#[test]
fn what_clients_accept_matches_the_offer() {
    let offer = offer();
    for (name, payment) in payments() {
        match (payment.dialect, &payment.accepted) {
            (Dialect::V1, None) => assert_eq!(Some(payment.network.as_str()), offer.network.v1_name(), "{name}"),
            (Dialect::V2, Some(accepted)) => {
                let exact = !name.contains("upto");
                assert_eq!(offer.is_accepted_by(accepted), exact, "{name}");
            }
            (Dialect::V1, Some(_)) | (Dialect::V2, None) => panic!("{name}: {payment:?}"),
        }
        assert_eq!(payment.scheme, if name.contains("upto") { "upto" } else { "exact" }, "{name}");
    }
}

#[test]
fn no_two_recorded_payments_have_the_same_digest() {
    let payments = payments();
    let digests: std::collections::HashSet<_> = payments.iter().map(|(_, payment)| payment.digest).collect();
    assert_eq!(digests.len(), payments.len());
}

#[test]
fn the_v2_terms_are_the_reference_sellers() {
    let url = "http://127.0.0.1:4411/weather";
    let template = ChallengeTemplate::new(&[offer()], "Weather report", "application/json");
    let rendered: Value =
        header::decode_json(&template.render(url, Some("Payment required")).payment_required).unwrap();
    assert_eq!(rendered, header_json("seller/unpaid.v2.b64"));
    let unpaid: Value = header::decode_json(&template.render(url, None).payment_required).unwrap();
    assert_eq!(unpaid["error"], "PAYMENT-SIGNATURE header is required");
    assert_eq!(unpaid.get("extensions"), None);
}

#[test]
fn the_v1_terms_are_the_reference_sellers() {
    let template =
        ChallengeTemplate::new(&[Offer { max_timeout_seconds: 60, ..offer() }], "Weather report", "application/json");
    let body = template.render("http://127.0.0.1:4410/weather", None).body;
    let rendered: Value = serde_json::from_slice(&body).unwrap();
    let mut reference: Value = serde_json::from_slice(&read("seller/unpaid.v1.json")).unwrap();
    // A discovery hint of that seller's, for which Farebox has no say.
    reference["accepts"][0].as_object_mut().unwrap().remove("outputSchema");
    assert_eq!(rendered, reference);
    assert_eq!(rendered["error"], UNPAID_V1);
}

#[test]
fn settlements_have_the_reference_sellers_shape() {
    let network = offer().network;
    for (dialect, path) in [(Dialect::V1, "seller/settled.v1.b64"), (Dialect::V2, "seller/settled.v2.b64")] {
        let reference = header::decode_settlement(&read(path)).unwrap();
        assert!(reference.success);
        let payer = reference.payer.as_deref();
        let ours = SettlementResponse::settled(dialect, &network, &reference.transaction, payer, offer().amount);
        assert_eq!(SettlementResponse { amount: None, ..ours.clone() }, reference, "{dialect:?}");

        let written: Value = header::decode_json(header::encode_json(&ours).as_bytes()).unwrap();
        let mut expected = shape(&header_json(path));
        if dialect == Dialect::V2 {
            expected["amount"] = json!("string");
        }
        assert_eq!(shape(&written), expected, "{dialect:?}");
    }
}

#[test]
fn a_failed_settlement_has_the_reference_sellers_shape_without_the_facilitators_text() {
    let reference = header_json("seller/failed.v2.b64");
    let payer = reference["payer"].as_str();
    let ours = SettlementResponse::failed(Dialect::V2, &offer().network, Reason::NonceAlreadyUsed, payer, None);
    let mut expected = reference.clone();
    expected.as_object_mut().unwrap().remove("errorMessage");
    assert_eq!(serde_json::to_value(&ours).unwrap(), expected);
    assert_eq!(header::decode_settlement(&read("seller/failed.v2.b64")).unwrap(), ours);
}
