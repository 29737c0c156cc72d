//! `kill -9` at the worst moments: nobody pays twice, nobody pays for nothing.

mod customer;
mod places;
mod storm;
mod town;

use futures::future::{join, join_all};

use crate::support::{Answer, Connection, House, Payer, Request, Response, Settle, Verify, eventually};

#[tokio::test]
async fn killed_between_settlement_and_delivery_the_same_payment_opens_after_the_restart() {
    for settle in ["on-success", "before", "overlap"] {
        let mut house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/sse").await;
        let events = house.upstream.stream();
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/sse").paid(&payment)).await;
        assert_eq!(connection.head("GET").await.status, 200);
        house.gateway.kill().await;
        drop(events);
        house.gateway.start_again().await;

        let entry = house.gateway.only_entry();
        assert_eq!((entry.state(), entry.delivered()), ("settled", false), "{settle}: on disk before the head");
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{settle}");
        assert_eq!(house.facilitator.calls().1, 1, "{settle}: not settled again");
        house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 402, "{settle}: once");
    }
}

#[tokio::test]
async fn killed_before_the_upstream_answered_a_payment_settled_first_opens_after_the_restart() {
    let mut house = House::with_route("settle = \"before\"").await;
    let payment = house.payment("/paid/ok").await;
    let _held = house.upstream.hold(Answer::text(200, "never seen"));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    house.upstream.reached(1).await;
    house.gateway.kill().await;
    house.gateway.start_again().await;
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn killed_while_settling_the_outcome_is_unknown_and_what_was_paid_is_served() {
    for settle in ["on-success", "before", "overlap"] {
        let mut house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let held = house.facilitator.hold_settle(Settle::Settled);
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        house.facilitator.settle_reached(1).await;
        house.gateway.kill().await;
        // The facilitator carries it out all the same.
        held.release();
        house.gateway.start_again().await;

        let entry = house.gateway.only_entry();
        assert!(["unknown", "settled"].contains(&entry.state()), "{settle}: {}", entry.state());
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{settle}: {response:?}");
        assert_eq!(house.facilitator.charged(), 1, "{settle}");
    }
}

/// Nobody can stop a gateway there from outside, but its file can be kept from it.
#[tokio::test]
async fn killed_when_it_has_read_the_yes_and_not_written_it_the_payment_opens_after_the_restart() {
    join_all(["on-success", "before", "overlap"].map(async |settle| {
        let mut house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let held = house.facilitator.hold_settle(Settle::Settled);
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        house.facilitator.settle_reached(1).await;
        let shell = rusqlite::Connection::open(house.gateway.folder().join("farebox.db")).expect("the ledger");
        shell.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
        held.release();
        eventually("the yes to be read", async || {
            let labels = [("operation", "settle")];
            let answers = house.gateway.metrics().await.sum("farebox_facilitator_duration_seconds_count", &labels);
            (answers == 1.0).then_some(())
        })
        .await;
        house.gateway.kill().await;
        let written: String =
            shell.query_row("SELECT state FROM payment", [], |row| row.get(0)).expect("the only payment");
        assert_eq!(written, "settling", "{settle}");
        drop(shell);

        house.gateway.start_again().await;
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{settle}: {response:?}");
        assert_eq!(house.facilitator.charged(), 1, "{settle}");
        house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 402, "{settle}: once");
    }))
    .await;
}

#[tokio::test]
async fn killed_before_anything_was_asked_the_payment_is_as_good_as_new() {
    let mut house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    let _held = house.facilitator.hold_verify(Verify::Valid);
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    house.facilitator.verify_reached(1).await;
    house.gateway.kill().await;
    house.gateway.start_again().await;
    assert_eq!(house.gateway.only_entry().state(), "failed");
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, house.facilitator.charged()), (200, 1));
}

#[tokio::test]
async fn a_spent_payment_is_spent_after_a_restart_too() {
    let mut house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    house.gateway.kill().await;
    house.gateway.start_again().await;
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, response.error().as_str()), (402, "invalid_exact_evm_nonce_already_used"));
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn a_crowd_that_is_cut_off_in_the_middle_is_served_or_told_to_wait_and_never_charged_twice() {
    for settle in ["on-success", "before", "overlap"] {
        let mut house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let challenge = house.challenge("/paid/ok").await;
        let payments: Vec<_> = (0..24).map(|_| Payer::new().pay_v2(&challenge)).collect();
        let send = async |payment| -> Option<Response> {
            let mut connection = Connection::try_open(house.gateway.address()).await?;
            connection.send(&Request::get("/paid/ok").paid(payment)).await;
            let head = connection.try_head("GET").await?;
            Some(connection.finish(head).await).filter(|response| response.complete)
        };
        let crowd = join_all(payments.iter().map(send));
        let end = async {
            house.facilitator.settle_reached(6).await;
            house.gateway.kill_now();
        };
        let (answered, ()) = join(crowd, end).await;
        house.gateway.wait_exit().await;
        house.gateway.start_again().await;

        let mut served = 0;
        for (payment, answer) in payments.iter().zip(answered) {
            if let Some(answer) = answer {
                assert_eq!(answer.status, 200, "{settle}: {answer:?}");
                served += 1;
                continue;
            }
            let response = house.redeem("/paid/ok", payment).await;
            match response.status {
                200 => served += 1,
                503 => assert_eq!(response.error(), "settlement_pending", "{settle}"),
                // Its answer was written in full, and lost with the connection: the client's kernel had it.
                402 => assert_eq!(response.error(), "invalid_exact_evm_nonce_already_used", "{settle}"),
                other => panic!("{settle}: {other}: {response:?}"),
            }
        }
        let entries = house.gateway.ledger();
        let settled = entries.iter().filter(|entry| entry.state() == "settled").count();
        let unknown = entries.iter().filter(|entry| entry.state() == "unknown").count();
        let charged = house.facilitator.charged();
        assert!(settled <= charged && charged <= settled + unknown, "{settle}: {settled}, {unknown}, {charged}");
        assert!(served <= settled, "{settle}: {served} served, {settled} settled");
        assert_eq!(entries.len(), payments.len(), "{settle}");
    }
}
