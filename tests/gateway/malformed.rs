//! Payment headers that cannot be read: 400, and what is wrong with them.

use serde_json::{Value, json};

use crate::support::payer::{encode, now};
use crate::support::{House, Request};

/// `[server] payment_header_bytes`, set for these tests.
const HEADER_BYTES: usize = 8192;

async fn house() -> House {
    House::build("", |setup| setup.server(&format!("payment_header_bytes = {HEADER_BYTES}"))).await
}

#[tokio::test]
async fn a_header_that_cannot_be_read_is_a_bad_request_that_says_why() {
    let house = house().await;
    let text = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let nested = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let values: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("not base64", "!!! not base64 !!!".into()),
        ("base64 of no JSON", text("not json")),
        ("base64 of binary", "/////w==".into()),
        ("null", text("null")),
        ("a number", text("1")),
        ("an array", text("[]")),
        ("an empty object", text("{}")),
        ("cut short", text("{\"x402Version\":2,\"payload\":{\"signa")),
        ("trailing bytes", text("{} {}")),
        ("deeply nested", text(&nested)),
    ];
    for (what, value) in &values {
        for name in ["PAYMENT-SIGNATURE", "X-PAYMENT"] {
            let response = house.gateway.send(Request::get("/paid/ok").header(name, value)).await;
            assert_eq!(response.status, 400, "{what} in {name}: {response:?}");
            assert_eq!(response.error(), "invalid_payload", "{what} in {name}");
            assert!(!response.json()["message"].as_str().expect("a message").is_empty(), "{what} in {name}");
            assert_eq!(response.header("cache-control"), Some("no-store"), "{what} in {name}");
        }
    }
    touched_nothing(&house);
}

#[tokio::test]
async fn fields_of_the_wrong_shape_are_named() {
    let house = house().await;
    let honest = house.payment("/paid/ok").await;
    let field = |name: &str| format!("/payload/authorization/{name}");
    let shapes: Vec<(&str, String, Value)> = vec![
        ("from", field("from"), "0x1234".into()),
        ("from", field("from"), json!(null)),
        ("to", field("to"), "somebody".into()),
        ("value", field("value"), "-1".into()),
        ("value", field("value"), "1e4".into()),
        ("value", field("value"), "0x2710".into()),
        ("value", field("value"), "9".repeat(100).into()),
        ("validAfter", field("validAfter"), "yesterday".into()),
        ("validBefore", field("validBefore"), "99999999999999999999999999".into()),
        ("nonce", field("nonce"), "0x12".into()),
        ("nonce", field("nonce"), json!(["0x"])),
        ("signature", "/payload/signature".into(), "0xzz".into()),
        ("signature", "/payload/signature".into(), 12.into()),
        ("x402Version", "/x402Version".into(), "two".into()),
        ("accepted", "/accepted".into(), "exact".into()),
        ("accepted", "/accepted/amount".into(), "ten".into()),
        ("payload", "/payload".into(), json!([])),
    ];
    for (field, pointer, value) in shapes {
        let payment = honest.clone().with(&pointer, value.clone());
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!(response.status, 400, "{field} as {value}: {response:?}");
        assert_eq!(response.error(), "invalid_payload", "{field} as {value}");
        let message = response.json()["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(field), "{field} as {value}: {message:?} does not say what is wrong");
    }
    touched_nothing(&house);
}

#[tokio::test]
async fn a_missing_field_is_malformed() {
    let house = house().await;
    let honest = house.payment("/paid/ok").await;
    for (pointer, key) in [
        ("", "x402Version"),
        ("", "payload"),
        ("", "accepted"),
        ("/payload", "signature"),
        ("/payload/authorization", "from"),
        ("/payload/authorization", "nonce"),
        ("/payload/authorization", "value"),
    ] {
        let response = house.redeem("/paid/ok", &honest.clone().without(pointer, key)).await;
        assert_eq!((response.status, response.error().as_str()), (400, "invalid_payload"), "without {key}");
    }
    touched_nothing(&house);
}

#[tokio::test]
async fn two_headers_of_one_name_are_refused_even_when_both_are_good() {
    let house = house().await;
    let challenge = house.challenge("/paid/ok").await;
    for pay in [crate::support::Payer::pay_v2, crate::support::Payer::pay_v1] {
        let (first, second) = (pay(&house.payer, &challenge), pay(&house.payer, &challenge));
        let response = house.gateway.send(Request::get("/paid/ok").paid(&first).paid(&second)).await;
        assert_eq!((response.status, response.error().as_str()), (400, "invalid_payload"));
        let twice = house.gateway.send(Request::get("/paid/ok").paid(&first).paid(&first)).await;
        assert_eq!(twice.status, 400);
    }
    touched_nothing(&house);
}

#[tokio::test]
async fn a_payment_header_has_a_size_limit() {
    let house = house().await;
    let challenge = house.challenge("/paid/ok").await;
    for (length, status) in [(HEADER_BYTES, 200), (HEADER_BYTES + 4, 400)] {
        let mut payment = house.payer.pay_v2(&challenge);
        // Four characters carry three bytes; the quotes of the padding are there before it is measured.
        payment.json["padding"] = "".into();
        let missing = length / 4 * 3 - payment.json.to_string().len();
        payment.json["padding"] = "x".repeat(missing).into();
        assert_eq!(encode(&payment.json).len(), length);
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!(response.status, status, "{length} bytes: {response:?}");
    }
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn numbers_instead_of_decimal_strings_are_judged_not_crashed_on() {
    let house = house().await;
    let challenge = house.challenge("/paid/ok").await;
    let payment = house.payer.pay_v2(&challenge).with("/payload/authorization/validBefore", (now() + 60).into());
    let response = house.redeem("/paid/ok", &payment).await;
    assert!([400, 402].contains(&response.status), "{response:?}");
    touched_nothing(&house);
}

fn touched_nothing(house: &House) {
    assert_eq!(house.facilitator.calls(), (0, 0), "what cannot be read asks nobody");
    assert_eq!(house.upstream.count(), 0);
    assert!(house.gateway.ledger().is_empty());
    assert!(!house.gateway.stderr().contains("panicked"));
}
