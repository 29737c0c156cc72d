//! When the money moves: each settle mode against upstreams that serve, refuse, stay silent and die half way.

use serde_json::Value;

use crate::support::payer::decode;
use crate::support::{Answer, House, Request, Settle, Verify};

/// What a client saw of its paid request.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    complete: bool,
    /// `success` of the settlement header, where there is one.
    settled: Option<bool>,
}

/// What is left in the ledger: state, and whether it was delivered.
type Left = (&'static str, bool);

struct Case {
    settle: &'static str,
    path: &'static str,
    seen: Seen,
    /// Calls of `/verify` and `/settle`.
    calls: (usize, usize),
    charged: usize,
    left: Left,
}

const fn case(
    settle: &'static str,
    path: &'static str,
    seen: (u16, bool, Option<bool>),
    calls: (usize, usize),
    charged: usize,
    left: Left,
) -> Case {
    Case { settle, path, seen: Seen { status: seen.0, complete: seen.1, settled: seen.2 }, calls, charged, left }
}

const FAILED: Left = ("failed", false);
const DELIVERED: Left = ("settled", true);
const UNDELIVERED: Left = ("settled", false);

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Nothing is charged unless the upstream's head is a success.
    case("on-success", "/paid/ok",         (200, true,  Some(true)), (1, 1), 1, DELIVERED),
    case("on-success", "/paid/status/404", (404, true,  None),       (1, 0), 0, FAILED),
    case("on-success", "/paid/status/500", (500, true,  None),       (1, 0), 0, FAILED),
    case("on-success", "/paid/never",      (504, true,  None),       (1, 0), 0, FAILED),
    case("on-success", "/paid/cut",        (502, true,  None),       (1, 0), 0, FAILED),
    case("on-success", "/paid/half",       (200, false, Some(true)), (1, 1), 1, UNDELIVERED),
    // The money has moved first: what fails afterwards can be had again.
    case("before",     "/paid/ok",         (200, true,  Some(true)), (0, 1), 1, DELIVERED),
    case("before",     "/paid/status/404", (404, true,  Some(true)), (0, 1), 1, UNDELIVERED),
    case("before",     "/paid/status/500", (500, true,  Some(true)), (0, 1), 1, UNDELIVERED),
    case("before",     "/paid/never",      (504, true,  Some(true)), (0, 1), 1, UNDELIVERED),
    case("before",     "/paid/cut",        (502, true,  Some(true)), (0, 1), 1, UNDELIVERED),
    case("before",     "/paid/half",       (200, false, Some(true)), (0, 1), 1, UNDELIVERED),
    case("overlap",    "/paid/ok",         (200, true,  Some(true)), (0, 1), 1, DELIVERED),
    case("overlap",    "/paid/status/404", (404, true,  Some(true)), (0, 1), 1, UNDELIVERED),
    case("overlap",    "/paid/status/500", (500, true,  Some(true)), (0, 1), 1, UNDELIVERED),
    case("overlap",    "/paid/never",      (504, true,  Some(true)), (0, 1), 1, UNDELIVERED),
    case("overlap",    "/paid/cut",        (502, true,  Some(true)), (0, 1), 1, UNDELIVERED),
    case("overlap",    "/paid/half",       (200, false, Some(true)), (0, 1), 1, UNDELIVERED),
];

async fn check_all(settle: &str) {
    for case in CASES.iter().filter(|case| case.settle == settle) {
        let name = format!("{} {}", case.settle, case.path);
        let house =
            House::build(&format!("settle = \"{settle}\""), |setup| setup.upstream("read_timeout = \"300ms\"")).await;
        let payment = house.payment(case.path).await;
        let response = house.redeem(case.path, &payment).await;
        let settled = response.settlement().map(|settlement| settlement["success"] == true);
        let seen = Seen { status: response.status, complete: response.complete, settled };
        assert_eq!(seen, case.seen, "{name}: {response:?}");
        assert_eq!(house.facilitator.calls(), case.calls, "{name}");
        assert_eq!(house.facilitator.charged(), case.charged, "{name}");
        let (state, delivered) = case.left;
        house
            .gateway
            .entry_becomes(&format!("{name}: {state}, delivered {delivered}"), |entry| {
                entry.state() == state && entry.delivered() == delivered
            })
            .await;
    }
}

#[tokio::test]
async fn on_success_charges_only_for_a_success() {
    check_all("on-success").await;
}

#[tokio::test]
async fn before_charges_first() {
    check_all("before").await;
}

#[tokio::test]
async fn overlap_charges_meanwhile() {
    check_all("overlap").await;
}

#[tokio::test]
async fn what_the_upstream_could_not_serve_can_be_paid_for_with_the_same_payment() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    house.upstream.queue(Answer::text(503, "later"));
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 503);
    assert_eq!(house.facilitator.charged(), 0);
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, house.facilitator.charged()), (200, 1));
}

#[tokio::test]
async fn under_on_success_the_upstream_waits_for_the_verification_and_the_client_for_the_settlement() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    let verify = house.facilitator.hold_verify(Verify::Valid);
    let settle = house.facilitator.hold_settle(Settle::Settled);
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;

    house.facilitator.verify_reached(1).await;
    assert_eq!(house.upstream.count(), 0, "nothing is forwarded unverified");
    verify.release();
    house.facilitator.settle_reached(1).await;
    assert_eq!(house.upstream.count(), 1, "settled after the upstream's head");
    assert_eq!(house.gateway.only_entry().state(), "settling", "written before /settle was called");
    settle.release();
    let head = connection.head("GET").await;
    assert_eq!(head.status, 200);
    assert_eq!(house.upstream.only_request().headers.all("farebox-transaction"), Vec::<&str>::new());
}

#[tokio::test]
async fn under_before_the_upstream_waits_for_the_settlement_and_is_told_the_transaction() {
    let house = House::with_route("settle = \"before\"").await;
    let payment = house.payment("/paid/ok").await;
    let settle = house.facilitator.hold_settle(Settle::Settled);
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;

    house.facilitator.settle_reached(1).await;
    assert_eq!(house.upstream.count(), 0, "nothing is forwarded unpaid");
    assert_eq!(house.gateway.only_entry().state(), "settling", "written before /settle was called");
    settle.release();
    let head = connection.head("GET").await;
    let shown = decode(head.headers.get("payment-response").expect("PAYMENT-RESPONSE"));
    let request = house.upstream.only_request();
    assert_eq!(request.header("farebox-transaction"), shown["transaction"].as_str());
}

#[tokio::test]
async fn under_overlap_the_upstream_works_while_the_payment_settles() {
    let house = House::with_route("settle = \"overlap\"").await;
    let payment = house.payment("/paid/ok").await;
    let settle = house.facilitator.hold_settle(Settle::Settled);
    let upstream = house.upstream.hold(Answer::text(200, "ok"));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;

    // Both are under way before either has answered.
    house.facilitator.settle_reached(1).await;
    house.upstream.reached(1).await;
    upstream.release();
    settle.release();
    let head = connection.head("GET").await;
    assert_eq!(head.status, 200);
    assert_eq!(house.upstream.only_request().headers.all("farebox-transaction"), Vec::<&str>::new());
}

#[tokio::test]
async fn under_overlap_a_refused_payment_hides_what_the_upstream_answered() {
    let house = House::with_route("settle = \"overlap\"").await;
    let payment = house.payment("/paid/ok").await;
    let settle = house.facilitator.hold_settle(Settle::Refused("insufficient_funds"));
    house.upstream.queue(Answer::text(200, "the secret"));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    house.facilitator.settle_reached(1).await;
    house.upstream.reached(1).await;
    settle.release();
    let head = connection.head("GET").await;
    let response = connection.finish(head).await;
    assert_eq!((response.status, response.error().as_str()), (402, "insufficient_funds"));
    assert!(!response.text().contains("secret"));
    assert_eq!(house.gateway.only_entry().state(), "failed");
}

#[tokio::test]
async fn under_on_success_a_refused_settlement_hides_what_the_upstream_answered() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    house.facilitator.on_settle(Settle::Refused("insufficient_funds"));
    house.upstream.queue(Answer::Full {
        status: 200,
        headers: vec![("X-Secret", "secret".into()), ("Set-Cookie", "secret=1".into())],
        body: b"the secret".to_vec(),
    });
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, response.error().as_str()), (402, "insufficient_funds"));
    assert_eq!(response.settlement().expect("PAYMENT-RESPONSE")["errorReason"], "insufficient_funds");
    assert!(!format!("{response:?}").contains("secret"), "{response:?}");
    assert_eq!(house.gateway.only_entry().state(), "failed");
}

#[tokio::test]
async fn the_facilitator_is_asked_about_this_payment_and_these_terms() {
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let challenge = house.challenge("/paid/ok").await;
        let payment = house.payer.pay_v2(&challenge);
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
        for call in house.facilitator.verifies().iter().chain(&house.facilitator.settles()) {
            let body: Value = serde_json::from_slice(&call.body).expect("JSON");
            assert_eq!(body["paymentPayload"], payment.json, "{settle}");
            assert_eq!(body["paymentRequirements"], challenge.v2["accepts"][0], "{settle}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_falls_silent_in_mid_body_leaves_the_payment_undelivered() {
    let house = House::build("", |setup| setup.upstream("read_timeout = \"300ms\"")).await;
    let payment = house.payment("/paid/sse").await;
    let events = house.upstream.stream();
    events.send(b"data: 0\n\n".to_vec()).await.expect("the upstream is read");
    let response = house.redeem("/paid/sse", &payment).await;
    assert_eq!((response.status, response.complete), (200, false));
    let entry = house.gateway.only_entry();
    assert_eq!((entry.state(), entry.delivered()), ("settled", false));
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn switching_protocols_is_a_success_and_is_paid_first() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ws").await;
    let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_vec();
    bytes.extend_from_slice(b"frames");
    house.upstream.queue(Answer::Raw(bytes));
    let request = Request::get("/paid/ws").header("Upgrade", "websocket").header("Connection", "Upgrade");
    let mut connection = house.gateway.connect().await;
    connection.send(&request.header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==").paid(&payment)).await;
    let head = connection.head("GET").await;
    assert_eq!(head.status, 101, "{head:?}");
    assert!(head.headers.get("payment-response").is_some(), "{head:?}");
    assert_eq!(house.facilitator.charged(), 1);
}
