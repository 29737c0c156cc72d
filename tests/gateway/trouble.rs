//! Facilitators that do not answer, answer nonsense, or answer "no": what is unknown is never answered with a 402,
//! and never charged twice.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::facilitator::LEAK;
use crate::support::{Answer, Gateway, House, Payment, Request, Response, Settle, Setup, Verify};

const SHORT: &str = "verify_timeout = \"400ms\"\nsettle_timeout = \"400ms\"";

async fn house(settle: &str) -> House {
    House::build(&format!("settle = \"{settle}\""), |setup| setup.facilitator(SHORT)).await
}

/// Answers to `/settle` that leave open whether the money moved.
fn open_ended() -> Vec<(&'static str, Settle)> {
    let transaction = format!("0x{}", "ab".repeat(32));
    let json = |status, body: Value| Settle::Answer(Answer::json(status, &body));
    vec![
        ("moved, but the connection was cut", Settle::MovedBut(Answer::Cut)),
        ("moved, but it never answered", Settle::MovedBut(Answer::Never)),
        ("moved, but 500 without a decision", Settle::MovedBut(Answer::text(500, LEAK))),
        ("moved, but 502 of a balancer", Settle::MovedBut(Answer::text(502, "<html>Bad Gateway</html>"))),
        ("moved, but 200 of HTML", Settle::MovedBut(Answer::text(200, "<html>Hello</html>"))),
        ("moved, but an empty 200", Settle::MovedBut(Answer::text(200, ""))),
        ("moved, but half an answer", Settle::MovedBut(Answer::Half)),
        (
            "moved, but pending",
            Settle::MovedBut(Answer::json(
                200,
                &json!({"success": false, "errorReason": "settlement_pending", "transaction": transaction, "network": "eip155:84532"}),
            )),
        ),
        ("a failure that names a transaction", {
            json(
                200,
                json!({"success": false, "errorReason": "invalid_exact_evm_transaction_failed",
                             "transaction": transaction, "network": "eip155:84532"}),
            )
        }),
        ("a success without a transaction", {
            json(200, json!({"success": true, "transaction": "", "network": "eip155:84532"}))
        }),
        ("a success of another payer", {
            json(
                200,
                json!({"success": true, "transaction": transaction, "network": "eip155:84532",
                             "payer": "0x0707070707070707070707070707070707070707"}),
            )
        }),
        ("a success on another network", {
            json(200, json!({"success": true, "transaction": transaction, "network": "eip155:1"}))
        }),
        ("a failure without a reason, in a 500", {
            json(500, json!({"success": false, "errorReason": "unexpected_error", "transaction": "", "network": ""}))
        }),
    ]
}

#[tokio::test]
async fn under_before_an_unknown_outcome_says_send_the_same_payment_again() {
    unknown_is_not_failed("before").await;
}

#[tokio::test]
async fn under_on_success_an_unknown_outcome_says_send_the_same_payment_again() {
    unknown_is_not_failed("on-success").await;
}

#[tokio::test]
async fn under_overlap_an_unknown_outcome_says_send_the_same_payment_again() {
    unknown_is_not_failed("overlap").await;
}

async fn unknown_is_not_failed(mode: &str) {
    let house = house(mode).await;
    let challenge = house.challenge("/paid/ok").await;
    for (what, settle) in open_ended() {
        let charged = house.facilitator.charged();
        house.facilitator.on_settle(settle);
        let payment = house.payer.pay_v2(&challenge);
        let response = house.redeem("/paid/ok", &payment).await;
        assert_pending(what, &response);
        assert!(!response.text().contains("ok"), "{what}: nothing of the upstream's answer");
        let entry = &house.gateway.ledger()[0];
        assert_eq!(entry.state(), "unknown", "{what}");

        // A 402 would make the client sign a second payment. The retry finds out what became of the first one, unless a
        // transaction was named that only the chain could tell of.
        let again = house.redeem("/paid/ok", &payment).await;
        match again.status {
            503 => assert_pending(what, &again),
            200 => {}
            other => panic!("{what}: {other} on the same payment again: {again:?}"),
        }
        assert_eq!(again.status, if what == "moved, but pending" { 503 } else { 200 }, "{what}");
        assert_eq!(house.facilitator.charged() - charged, 1, "{what}: charged once, by the first try or the second");
    }
}

fn assert_pending(what: &str, response: &Response) {
    assert_eq!(response.status, 503, "{what}: {response:?}");
    assert!(response.header("retry-after").is_some(), "{what}");
    assert_eq!(response.error(), "settlement_pending", "{what}");
    assert_eq!(response.json()["retry"], "same_payment", "{what}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{what}");
    let settlement = response.settlement().unwrap_or_else(|| panic!("{what}: no PAYMENT-RESPONSE"));
    assert_eq!((&settlement["success"], &settlement["errorReason"]), (&json!(false), &json!("settlement_pending")));
    assert_eq!(response.headers.all("payment-required"), Vec::<&str>::new(), "{what}: no terms to pay anew");
}

#[tokio::test]
async fn a_v1_caller_is_told_of_an_unknown_outcome_in_v1() {
    let house = house("before").await;
    let payment = house.payer.pay_v1(&house.challenge("/paid/ok").await);
    house.facilitator.on_settle(Settle::MovedBut(Answer::Cut));
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!(response.status, 503);
    assert_eq!(response.settlement_v1().expect("X-PAYMENT-RESPONSE")["errorReason"], "settlement_pending");
    assert!(response.settlement().is_none());
}

#[tokio::test]
async fn a_certain_refusal_is_a_402_with_its_code_and_the_payment_stays_good() {
    for mode in ["on-success", "before", "overlap"] {
        let house = house(mode).await;
        let payment = house.payment("/paid/ok").await;
        for code in ["insufficient_funds", "invalid_exact_evm_signature"] {
            house.facilitator.on_settle(Settle::Refused(code));
            let response = house.redeem("/paid/ok", &payment).await;
            assert_eq!((response.status, response.error().as_str()), (402, code), "{mode}");
            assert_eq!(response.settlement().expect("PAYMENT-RESPONSE")["errorReason"], code);
            assert_eq!(house.gateway.only_entry().state(), "failed", "{mode}");
        }
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, house.facilitator.charged()), (200, 1), "{mode}: once the wallet is filled");
    }
}

#[tokio::test]
async fn a_nonce_that_was_used_elsewhere_opens_nothing() {
    for mode in ["on-success", "before", "overlap"] {
        let house = house(mode).await;
        let payment = house.payment("/paid/ok").await;
        house.facilitator.on_settle(Settle::Refused("invalid_exact_evm_nonce_already_used"));
        let response = house.redeem("/paid/ok", &payment).await;
        assert_ne!(response.status, 200, "{mode}: {response:?}");
        assert!(!response.text().contains("ok\n") && response.text() != "ok", "{mode}");
    }
}

#[tokio::test]
async fn what_the_facilitator_finds_invalid_is_refused_before_the_upstream_is_asked() {
    let house = house("on-success").await;
    let vocabulary = [
        ("insufficient_funds", "insufficient_funds"),
        ("invalid_exact_evm_insufficient_balance", "insufficient_funds"),
        ("invalid_exact_evm_nonce_already_used", "invalid_exact_evm_nonce_already_used"),
        ("invalid_payment_amount", "invalid_exact_evm_payload_authorization_value_mismatch"),
        ("a_code_of_its_own", "unexpected_verify_error"),
    ];
    for (said, told) in vocabulary {
        let payment = house.payment("/paid/ok").await;
        house.facilitator.on_verify(Verify::Invalid(said));
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.error().as_str()), (402, told), "{said}");
        assert!(!response.text().contains(LEAK) && !format!("{response:?}").contains("10.0.0.7"), "{said}");
        assert_eq!(house.gateway.ledger()[0].state(), "failed", "{said}");
    }
    assert_eq!((house.upstream.count(), house.facilitator.charged()), (0, 0));
}

#[tokio::test]
async fn a_verification_that_brings_no_decision_charges_nothing_and_keeps_the_payment_good() {
    let house = house("on-success").await;
    let payment = house.payment("/paid/ok").await;
    let answers: Vec<(&str, Answer)> = vec![
        ("never", Answer::Never),
        ("cut", Answer::Cut),
        ("500", Answer::text(500, LEAK)),
        ("HTML", Answer::text(200, "<html>")),
        ("401", Answer::text(401, "")),
        ("429", Answer::text(429, "")),
        ("10 MB", Answer::Full { status: 200, headers: vec![], body: crate::support::upstream::big() }),
        ("redirect", Answer::Full { status: 302, headers: vec![("Location", "/supported".into())], body: vec![] }),
    ];
    for (what, answer) in answers {
        house.facilitator.on_verify(Verify::Answer(answer));
        let response = house.redeem("/paid/ok", &payment).await;
        assert_unavailable(what, &response);
        assert_eq!(house.upstream.count(), 0, "{what}");
        assert_eq!(house.gateway.only_entry().state(), "failed", "{what}");
    }
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn a_settlement_that_was_certainly_not_asked_for_keeps_the_payment_good() {
    for mode in ["on-success", "before", "overlap"] {
        let house = house(mode).await;
        let payment = house.payment("/paid/ok").await;
        for status in [401, 403, 429] {
            house.facilitator.on_settle(Settle::Answer(Answer::text(status, "no")));
            let response = house.redeem("/paid/ok", &payment).await;
            assert_unavailable(&format!("{mode} {status}"), &response);
            assert_eq!(house.gateway.only_entry().state(), "failed", "{mode} {status}");
        }
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200, "{mode}");
        assert_eq!(house.facilitator.charged(), 1, "{mode}");
    }
}

#[tokio::test]
async fn a_facilitator_that_is_away_charges_nobody_and_is_used_again_when_it_is_back() {
    for mode in ["on-success", "before", "overlap"] {
        let mut house = house(mode).await;
        let payment = house.payment("/paid/ok").await;
        house.facilitator.go_away().await;
        assert_unavailable(mode, &house.redeem("/paid/ok", &payment).await);
        assert_eq!(house.gateway.only_entry().state(), "failed", "{mode}");
        assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200, "{mode}: free routes go on");

        house.facilitator.come_back().await;
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, house.facilitator.charged()), (200, 1), "{mode}: {response:?}");
    }
}

#[tokio::test]
async fn a_gateway_whose_facilitator_is_away_starts_and_says_that_it_is_not_ready() {
    let upstream = crate::support::Upstream::start().await;
    let mut facilitator = crate::support::FakeFacilitator::start().await;
    facilitator.go_away().await;
    let setup = Setup::new(&upstream, &facilitator).route("paid", "/paid/*", "price = \"$0.01\"");
    let gateway = Gateway::start_unready(setup).await;
    assert_eq!(gateway.ask(Request::get("/readyz")).await.status, 503);
    assert_eq!(gateway.send(Request::get("/paid/ok")).await.status, 402, "EVM terms need no facilitator");

    facilitator.come_back().await;
    let challenge = crate::support::Challenge::of(&gateway.send(Request::get("/paid/ok")).await);
    let payment = crate::support::Payer::new().pay_v2(&challenge);
    assert_eq!(gateway.send(Request::get("/paid/ok").paid(&payment)).await.status, 200);
}

#[tokio::test]
async fn another_facilitator_takes_over_only_where_the_first_was_certainly_not_reached() {
    let second = crate::support::FakeFacilitator::start().await;
    let section = format!("[facilitators.spare]\nurl = \"http://{}\"", second.address());
    let both = |setup: Setup| setup.facilitator(SHORT).sections(&section).facilitators(&["main", "spare"]);
    let mut house = House::build("settle = \"before\"", both).await;

    // Reached, outcome unknown: the spare one must not be asked.
    let payment = house.payment("/paid/ok").await;
    house.facilitator.on_settle(Settle::MovedBut(Answer::Cut));
    assert_pending("cut", &house.redeem("/paid/ok", &payment).await);
    assert_eq!(second.charged(), 0);

    house.facilitator.go_away().await;
    let payment: Payment = house.payment("/paid/ok").await;
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, second.charged()), (200, 1), "{response:?}");
    assert_eq!(house.gateway.ledger()[0].text("facilitator"), "spare");
}

#[tokio::test]
async fn credentials_go_to_the_facilitator_and_nowhere_else() {
    let house = House::build("", |setup| {
        setup.facilitator("bearer = \"s3cret-bearer\"\nheaders = { x-api-key = \"s3cret-key\" }")
    })
    .await;
    let payment = house.payment("/paid/ok").await;
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!(response.status, 200);
    for call in house.facilitator.verifies().iter().chain(&house.facilitator.settles()) {
        assert_eq!(call.header("authorization"), Some("Bearer s3cret-bearer"));
        assert_eq!(call.header("x-api-key"), Some("s3cret-key"));
    }
    let status = house.gateway.status().await.to_string();
    let seen = format!("{response:?}{:?}{status}{}", house.upstream.requests(), house.gateway.stderr());
    assert!(!seen.contains("s3cret"), "a facilitator's credentials stand somewhere else");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_its_settlement() {
    for mode in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{mode}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let settle = house.facilitator.hold_settle(Settle::Settled);
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        house.facilitator.settle_reached(1).await;
        drop(connection);
        settle.release();
        house.gateway.entry_becomes("settled", |entry| entry.state() == "settled").await;
        // Whether the first answer was written into the void is the kernel's secret: what counts is one charge.
        let response = house.redeem("/paid/ok", &payment).await;
        assert!([200, 402, 409].contains(&response.status), "{mode}: {response:?}");
        assert_eq!(house.facilitator.charged(), 1, "{mode}");
    }
}

fn assert_unavailable(what: &str, response: &Response) {
    assert_eq!(response.status, 503, "{what}: {response:?}");
    assert_eq!(response.error(), "facilitator_unavailable", "{what}");
    assert_eq!(response.json()["retry"], "same_payment", "{what}");
    let retry_after: u64 = response.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
    assert!(Duration::from_secs(retry_after) <= Duration::from_secs(600), "{what}");
    assert!(!response.text().contains(LEAK), "{what}");
}

#[tokio::test]
async fn under_overlap_the_payments_trouble_comes_before_the_upstreams() {
    for upstream in ["/paid/ok", "/paid/status/500", "/paid/cut", "/paid/half"] {
        let house = house("overlap").await;
        let challenge = house.challenge(upstream).await;
        house.facilitator.on_settle(Settle::Refused("insufficient_funds"));
        let refused = house.redeem(upstream, &house.payer.pay_v2(&challenge)).await;
        assert_eq!((refused.status, refused.error().as_str()), (402, "insufficient_funds"), "{upstream}");
        house.facilitator.on_settle(Settle::MovedBut(Answer::Cut));
        assert_pending(upstream, &house.redeem(upstream, &house.payer.pay_v2(&challenge)).await);
        let states: Vec<String> = house.gateway.ledger().iter().map(|entry| entry.state().to_owned()).collect();
        assert_eq!(states, ["unknown", "failed"], "{upstream}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_the_upstream_works_can_come_back_with_its_payment() {
    for mode in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{mode}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let upstream = house.upstream.hold(Answer::text(200, "too late"));
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        house.upstream.reached(1).await;
        drop(connection);
        house.gateway.says("client_gone").await;
        upstream.release();
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{mode}");
        assert_eq!(house.facilitator.charged(), 1, "{mode}");
    }
}
