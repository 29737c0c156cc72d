//! Paid means served: what was settled and not delivered opens again, once, with the same payment.

use crate::support::{Answer, House, Request, eventually};

const SPENT: &str = "invalid_exact_evm_nonce_already_used";

#[tokio::test]
async fn what_failed_after_the_money_moved_is_had_with_the_same_payment() {
    for settle in ["before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        house.upstream.queue(Answer::text(500, "broken"));
        house.upstream.queue(Answer::text(404, "not there yet"));
        for status in [500, 404] {
            let response = house.redeem("/paid/ok", &payment).await;
            assert_eq!(response.status, status, "{settle}");
            assert_eq!(response.settlement().expect("PAYMENT-RESPONSE")["success"], true, "{settle}");
        }
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{settle}");
        assert_eq!(response.settlement().expect("PAYMENT-RESPONSE")["success"], true, "{settle}");

        house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
        let again = house.redeem("/paid/ok", &payment).await;
        assert_eq!((again.status, again.error().as_str()), (402, SPENT), "{settle}: delivered once");
        assert_eq!(house.facilitator.calls().1, 1, "{settle}: settled once");

        let requests = house.upstream.requests();
        let ids: Vec<_> = requests.iter().map(|request| request.header("farebox-payment-id")).collect();
        assert!(ids[0].is_some() && ids.iter().all(|id| *id == ids[0]), "the backend's idempotency key: {ids:?}");
    }
}

#[tokio::test]
async fn a_body_that_was_cut_is_had_again() {
    let chunked = || Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec());
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        for cut in [Answer::Half, chunked(), Answer::Half] {
            house.upstream.queue(cut);
            let cut = house.redeem("/paid/ok", &payment).await;
            assert_eq!((cut.status, cut.complete), (200, false), "{settle}");
            assert!(!house.gateway.only_entry().delivered(), "{settle}");
        }
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.text().as_str(), response.complete), (200, "ok", true), "{settle}");
        assert_eq!(house.facilitator.charged(), 1, "{settle}");
    }
}

#[tokio::test]
async fn a_client_that_hung_up_in_mid_body_is_served_again() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/sse").await;
    let events = house.upstream.stream();
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/sse").paid(&payment)).await;
    let head = connection.head("GET").await;
    assert_eq!(head.status, 200);
    drop(connection);
    // The gateway finds out when it writes, and lets go of the upstream.
    eventually("the upstream to be let go", async || events.send(vec![b'x'; 64 * 1024]).await.is_err().then_some(()))
        .await;

    let response = eventually("the payment to be free again", async || {
        let response = house.redeem("/paid/ok", &payment).await;
        (response.status != 409).then_some(response)
    })
    .await;
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn an_undelivered_payment_opens_its_own_route_only() {
    let house = House::build("settle = \"before\"", |setup| {
        setup.route("other", "/other/*", "price = \"$0.01\"\nsettle = \"before\"")
    })
    .await;
    let payment = house.payment("/paid/ok").await;
    house.upstream.queue(Answer::text(500, "broken"));
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 500);
    let response = house.redeem("/other/ok", &payment).await;
    assert_eq!((response.status, response.error().as_str()), (402, SPENT));
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200, "its own, still");
}

#[tokio::test]
async fn another_signature_over_the_nonce_is_not_the_same_payment() {
    let house = House::with_route("settle = \"before\"").await;
    let challenge = house.challenge("/paid/ok").await;
    let mut draft = house.payer.draft(&challenge, farebox::x402::Dialect::V2);
    let first = draft.sign(&house.payer);
    house.upstream.queue(Answer::text(500, "broken"));
    assert_eq!(house.redeem("/paid/ok", &first).await.status, 500);
    draft.authorization.valid_before -= 1;
    let second = house.redeem("/paid/ok", &draft.sign(&house.payer)).await;
    assert_eq!((second.status, second.error().as_str()), (402, SPENT));
}

#[tokio::test]
async fn an_undelivered_payment_can_be_redeemed_in_the_other_version() {
    // The same signed authorization, wrapped as v1: the same payment.
    let house = House::with_route("settle = \"before\"").await;
    let challenge = house.challenge("/paid/ok").await;
    let draft = house.payer.draft(&challenge, farebox::x402::Dialect::V2);
    house.upstream.queue(Answer::text(500, "broken"));
    assert_eq!(house.redeem("/paid/ok", &draft.sign(&house.payer)).await.status, 500);
    let mut wrapped = house.payer.draft(&challenge, farebox::x402::Dialect::V1);
    wrapped.authorization = draft.authorization.clone();
    let response = house.redeem("/paid/ok", &wrapped.sign(&house.payer)).await;
    assert_eq!((response.status, house.facilitator.charged()), (200, 1));
    assert_eq!(response.settlement_v1().expect("X-PAYMENT-RESPONSE")["success"], true);
}
