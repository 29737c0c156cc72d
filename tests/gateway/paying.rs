//! Paying, in either version and in the spellings that clients use.

use farebox::x402::Dialect;
use serde_json::{Value, json};

use crate::support::payer::{decode, encode};
use crate::support::{Answer, Challenge, House, Payer, Request, Verify};

const TRANSACTION: &str = "0x0000000000000000000000000000000000000000000000000000000000000001";

#[tokio::test]
async fn a_v2_payment_is_verified_settled_answered_and_kept() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    let payment = house.payer.pay_v2(&challenge);
    let response = house.redeem("/paid/ok", &payment).await;

    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    let settlement = response.settlement().expect("PAYMENT-RESPONSE");
    assert_eq!(settlement["success"], true);
    assert_eq!(settlement["transaction"], TRANSACTION);
    assert_eq!(settlement["network"], "eip155:84532");
    assert_same_address(&settlement["payer"], &house.payer);
    assert!(settlement.get("errorReason").is_none());
    assert!(response.settlement_v1().is_none(), "answered in the caller's version");
    assert_eq!(response.header("cache-control"), Some("private"));
    assert!(response.headers.lists("access-control-expose-headers", "PAYMENT-RESPONSE"));

    for call in [&house.facilitator.verifies()[0], &house.facilitator.settles()[0]] {
        let body: Value = serde_json::from_slice(&call.body).expect("JSON");
        assert_eq!(body["x402Version"], 2);
        assert_eq!(body["paymentPayload"], payment.json, "passed on as the client sent it");
        assert_eq!(body["paymentRequirements"], challenge.v2["accepts"][0]);
    }
    assert_eq!(house.facilitator.calls(), (1, 1));

    let entry = house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    assert_eq!(entry.state(), "settled");
    assert_eq!(entry.text("route"), "paid");
    assert_eq!(entry.text("network"), "eip155:84532");
    assert_eq!(entry.text("amount"), "10000");
    assert_eq!(entry.text("transaction"), TRANSACTION);
    assert_eq!(entry.text("facilitator"), "main");
    assert_same_address(&entry.0["payer"], &house.payer);
}

#[tokio::test]
async fn a_v1_payment_is_verified_settled_answered_and_kept() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    let payment = house.payer.pay_v1(&challenge);
    let response = house.redeem("/paid/ok", &payment).await;

    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    let settlement = response.settlement_v1().expect("X-PAYMENT-RESPONSE");
    assert_eq!(settlement["success"], true);
    assert_eq!(settlement["transaction"], TRANSACTION);
    assert_eq!(settlement["network"], "base-sepolia");
    assert_same_address(&settlement["payer"], &house.payer);
    assert!(response.settlement().is_none(), "answered in the caller's version");

    for call in [&house.facilitator.verifies()[0], &house.facilitator.settles()[0]] {
        let body: Value = serde_json::from_slice(&call.body).expect("JSON");
        assert_eq!(body["x402Version"], 1);
        assert_eq!(body["paymentPayload"], payment.json, "passed on as the client sent it");
        assert_eq!(body["paymentRequirements"], challenge.v1["accepts"][0]);
    }
    let entry = house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    assert_eq!((entry.state(), entry.text("network")), ("settled", "eip155:84532"));
}

#[tokio::test]
async fn a_client_that_pays_in_both_versions_is_judged_once_by_the_second() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    let (v2, v1) = (house.payer.pay_v2(&challenge), house.payer.pay_v1(&challenge));
    let response = house.gateway.send(Request::get("/paid/ok").paid(&v1).paid(&v2)).await;

    assert_eq!(response.status, 200);
    assert!(response.settlement().is_some() && response.settlement_v1().is_none());
    assert_eq!(house.facilitator.charged(), 1);
    let settle: Value = serde_json::from_slice(&house.facilitator.settles()[0].body).expect("JSON");
    assert_eq!(settle["paymentPayload"], v2.json);
}

#[tokio::test]
async fn payments_are_read_in_every_spelling_that_clients_use() {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    type Spell = fn(Value) -> (&'static str, String);
    fn lower_addresses(mut json: Value) -> Value {
        for pointer in
            ["/payload/authorization/from", "/payload/authorization/to", "/accepted/asset", "/accepted/payTo"]
        {
            if let Some(place) = json.pointer_mut(pointer) {
                *place = place.as_str().expect("address").to_lowercase().into();
            }
        }
        json
    }
    let spellings: [(&str, Dialect, Spell); 10] = [
        ("lower-case header", Dialect::V2, |json| ("payment-signature", encode(&json))),
        ("mixed-case header", Dialect::V1, |json| ("X-Payment", encode(&json))),
        ("without padding", Dialect::V2, |json| ("PAYMENT-SIGNATURE", STANDARD_NO_PAD.encode(json.to_string()))),
        ("URL-safe", Dialect::V2, |json| ("PAYMENT-SIGNATURE", URL_SAFE.encode(json.to_string()))),
        ("URL-safe without padding", Dialect::V1, |json| ("X-PAYMENT", URL_SAFE_NO_PAD.encode(json.to_string()))),
        ("lower-case addresses", Dialect::V2, |json| ("PAYMENT-SIGNATURE", encode(&lower_addresses(json)))),
        ("lower-case addresses in v1", Dialect::V1, |json| ("X-PAYMENT", encode(&lower_addresses(json)))),
        ("more in extra than was offered", Dialect::V2, |mut json| {
            json["accepted"]["extra"]["more"] = json!({"x": 1});
            ("PAYMENT-SIGNATURE", encode(&json))
        }),
        ("scheme and network at the top", Dialect::V2, |mut json| {
            json["scheme"] = "exact".into();
            json["network"] = "eip155:84532".into();
            ("PAYMENT-SIGNATURE", encode(&json))
        }),
        ("no resource, but extensions", Dialect::V2, |mut json| {
            json.as_object_mut().expect("object").remove("resource");
            json["extensions"] = json!({"bazaar": {"info": {}}});
            ("PAYMENT-SIGNATURE", encode(&json))
        }),
    ];
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    let count = spellings.len();
    for (what, dialect, spell) in spellings {
        let payment = house.payer.draft(&challenge, dialect).sign(&house.payer);
        let (name, value) = spell(payment.json);
        let response = house.gateway.send(Request::get("/paid/ok").header(name, value)).await;
        assert_eq!(response.status, 200, "{what}: {response:?}");
    }
    assert_eq!(house.facilitator.charged(), count, "each was charged");
}

#[tokio::test]
async fn a_smart_accounts_signature_is_left_to_the_facilitator() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    let signature = alloy::primitives::Bytes::from(vec![0x5a; 200]);
    let draft = house.payer.draft(&challenge, Dialect::V2);

    house.facilitator.on_verify(Verify::Invalid("invalid_exact_evm_signature"));
    let refused = house.redeem("/paid/ok", &draft.with_signature(&signature)).await;
    assert_eq!((refused.status, refused.error().as_str()), (402, "invalid_exact_evm_signature"));

    let accepted = house.redeem("/paid/ok", &draft.with_signature(&signature)).await;
    assert_eq!(accepted.status, 200);
    assert_eq!(house.facilitator.calls(), (2, 1));
}

#[tokio::test]
async fn with_local_verification_the_facilitator_is_asked_only_to_settle() {
    let house = House::with_route("verify = \"local\"").await;
    let payment = house.payment("/paid/ok").await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    assert_eq!(house.facilitator.calls(), (0, 1));
}

#[tokio::test]
async fn a_paid_answer_is_never_cached_by_others() {
    let house = House::with_route("").await;
    for (path, expected) in [("/paid/ok", "private"), ("/paid/public", "private"), ("/paid/no-store", "no-store")] {
        let payment = house.payment(path).await;
        let response = house.redeem(path, &payment).await;
        assert_eq!(response.status, 200);
        assert!(response.headers.lists("cache-control", expected), "{path}: {response:?}");
        assert!(!response.headers.lists("cache-control", "public"), "{path}: {response:?}");
        let kept_from_others = ["private", "no-store"].map(|policy| response.headers.lists("cache-control", policy));
        assert!(kept_from_others.contains(&true), "{path}: {response:?}");
    }
}

#[tokio::test]
async fn what_an_upstream_forbids_caches_stays_forbidden() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/no-cache").await;
    let response = house.redeem("/paid/no-cache", &payment).await;
    for policy in ["private", "no-cache", "must-revalidate"] {
        assert!(response.headers.lists("cache-control", policy), "{policy}: {response:?}");
    }
}

#[tokio::test]
async fn what_an_upstream_claims_about_payments_is_not_passed_on() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/pretender").await;
    let response = house.redeem("/paid/pretender", &payment).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.settlement().expect("the gateway's own")["success"], true);
    assert_eq!(response.headers.all("x-payment-response"), Vec::<&str>::new());
    assert_eq!(response.headers.all("farebox-pass"), Vec::<&str>::new());
}

#[tokio::test]
async fn what_a_facilitator_supplies_as_extra_does_not_break_evm_terms() {
    let house = House::with_route("").await;
    house.facilitator.set_supported(json!({
        "kinds": [{"x402Version": 2, "scheme": "exact", "network": "eip155:84532",
                   "extra": {"facilitatorAddress": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"}}],
    }));
    let challenge = house.challenge("/paid/ok").await;
    assert_eq!(challenge.v2["accepts"][0]["extra"]["name"], "USDC");
    assert_eq!(house.redeem("/paid/ok", &house.payer.pay_v2(&challenge)).await.status, 200);
}

#[tokio::test]
async fn the_settlement_is_on_disk_before_the_head_is_sent() {
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let stream = house.upstream.stream();
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        let head = connection.head("GET").await;
        assert_eq!(head.status, 200);
        let entry = house.gateway.only_entry();
        assert_eq!((entry.state(), entry.delivered()), ("settled", false), "{settle}: while the body is awaited");
        let shown = decode(head.headers.get("payment-response").expect("PAYMENT-RESPONSE"));
        assert_eq!(shown["transaction"], entry.text("transaction"));
        drop(stream);
        assert!(connection.finish(head).await.complete);
        house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    }
}

#[tokio::test]
async fn a_payment_pays_for_any_method_and_carries_its_body() {
    let house = House::with_route("").await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let challenge = Challenge::of(&house.gateway.send(Request::new(method, "/paid/echo")).await);
        let payment = house.payer.pay_v2(&challenge);
        let request = Request { body: Some(method.into()), ..Request::new(method, "/paid/echo") };
        let response = house.gateway.send(request.paid(&payment)).await;
        assert_eq!((response.status, response.text().as_str()), (200, method));
    }
}

#[tokio::test]
async fn a_head_request_can_be_paid() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    let response = house.gateway.send(Request::head("/paid/ok").paid(&payment)).await;
    assert_eq!((response.status, response.body.len()), (200, 0));
    assert_eq!(response.settlement().expect("PAYMENT-RESPONSE")["success"], true);
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
}

#[tokio::test]
async fn interim_responses_do_not_settle_twice() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/early").await;
    let response = house.redeem("/paid/early", &payment).await;
    assert_eq!((response.status, response.text().as_str()), (200, "early"));
    assert_eq!(house.facilitator.calls(), (1, 1));
}

#[tokio::test]
async fn redirects_and_not_modified_are_successes() {
    let house = House::with_route("").await;
    for status in [204, 302, 304] {
        let path = format!("/paid/status/{status}");
        let payment = house.payment(&path).await;
        let response = house.redeem(&path, &payment).await;
        assert_eq!(response.status, status);
        assert_eq!(response.settlement().expect("PAYMENT-RESPONSE")["success"], true);
    }
    assert_eq!(house.facilitator.charged(), 3);
}

#[tokio::test]
async fn cookies_of_the_upstream_survive() {
    let house = House::with_route("window = \"60s\"").await;
    let payment = house.payment("/paid/cookie").await;
    let response = house.redeem("/paid/cookie", &payment).await;
    let cookies = response.headers.all("set-cookie");
    assert!(cookies.contains(&"session=1") && cookies.contains(&"theme=dark"), "{cookies:?}");
    assert_eq!(cookies.len(), 3, "and the gateway's own: {cookies:?}");
}

fn assert_same_address(value: &Value, payer: &Payer) {
    let text = value.as_str().unwrap_or_else(|| panic!("an address, not {value}"));
    assert!(text.eq_ignore_ascii_case(&payer.address().to_string()), "{text} is not {}", payer.address());
}

#[tokio::test]
async fn an_answer_without_a_body_of_known_length_is_passed_on() {
    // HTTP/1.0 style: the body ends with the connection.
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    house.upstream.queue(Answer::Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end".to_vec()));
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, response.text().as_str()), (200, "until the end"));
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
}
