//! Delivered: the response's head and its whole body were written to the client's socket without error, by whichever way
//! the payment opened the route.

use crate::support::fleet::Fleet;
use crate::support::postgres::Postgres;
use crate::support::{Answer, House, Request, eventually};

/// A settled payment whose first response broke off, and the pass that came with its head.
async fn cut_off(house: &House, answer: Answer) -> (crate::support::Payment, String) {
    let payment = house.payment("/paid/ok").await;
    house.upstream.queue(answer);
    let cut = house.redeem("/paid/ok", &payment).await;
    let entry = house.gateway.only_entry();
    assert_eq!((entry.state(), entry.delivered()), ("settled", false));
    (payment, cut.header("farebox-pass").expect("a pass").to_owned())
}

async fn undelivered(house: &House) -> f64 {
    house.gateway.metrics().await.sum("farebox_undelivered_payments", &[])
}

#[tokio::test]
async fn what_is_served_inside_its_window_is_delivered_by_payment_and_by_pass() {
    for settle in ["on-success", "before", "overlap"] {
        for by_pass in [false, true] {
            let mut house = House::with_route(&format!("settle = \"{settle}\"\nwindow = \"60s\"")).await;
            let (payment, pass) = cut_off(&house, Answer::Half).await;
            if settle == "before" {
                // What was remembered of it is gone.
                house.gateway.kill().await;
                house.gateway.start_again().await;
            }
            assert_eq!(undelivered(&house).await, 1.0);
            let again = |path: &str| match by_pass {
                true => Request::get(path).header("farebox-pass", &pass),
                false => Request::get(path).paid(&payment),
            };
            house.upstream.queue(Answer::Half);
            assert!(!house.gateway.send(again("/paid/ok")).await.complete);
            assert_eq!(house.gateway.send(again("/paid/status/404")).await.status, 404);
            house.upstream.queue(Answer::Cut);
            house.upstream.queue(Answer::Cut);
            assert_eq!(house.gateway.send(again("/paid/ok")).await.status, 502);
            assert!(!house.gateway.only_entry().delivered(), "{settle} by pass {by_pass}");

            let served = house.gateway.send(again("/paid/ok")).await;
            assert_eq!((served.status, served.complete), (200, true), "{settle} by pass {by_pass}");
            house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
            assert_eq!(undelivered(&house).await, 0.0);
            assert_eq!(house.facilitator.charged(), 1);
        }
    }
}

#[tokio::test]
async fn once_it_is_delivered_its_window_writes_nothing() {
    let house = House::with_route("window = \"60s\"").await;
    let (payment, pass) = cut_off(&house, Answer::Half).await;
    house.redeem("/paid/ok", &payment).await;
    let advances = async || {
        house
            .gateway
            .metrics()
            .await
            .sum("farebox_ledger_operation_duration_seconds_count", &[("operation", "advance")])
    };
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    let before = eventually("the last write to be counted", async || {
        let advances = advances().await;
        // Reserved, then settling, settled, delivered.
        (advances >= 3.0).then_some(advances)
    })
    .await;
    for _ in 0..5 {
        house.redeem("/paid/ok", &payment).await;
        house.gateway.send(Request::get("/paid/ok").header("farebox-pass", &pass)).await;
    }
    assert_eq!((before, advances().await), (3.0, 3.0));
}

/// When the window is over, what was served inside it is spent.
#[tokio::test]
async fn what_was_served_inside_its_window_is_not_owed_after_it() {
    let house = House::with_route("window = { for = \"60s\", uses = 3 }").await;
    let (payment, pass) = cut_off(&house, Answer::Half).await;
    let by_pass = house.gateway.send(Request::get("/paid/ok").header("farebox-pass", &pass)).await;
    assert_eq!((by_pass.status, by_pass.complete), (200, true));
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200, "the third use");
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 402, "used up, and not owed");
    assert_eq!(house.upstream.count(), 3);
}

#[tokio::test]
async fn what_one_gateway_cut_off_the_other_delivers_inside_the_window() {
    for by_pass in [false, true] {
        let fleet = Fleet::with_route(Postgres::shared(), "window = \"60s\"").await;
        let payment = fleet.payment("/paid/ok").await;
        fleet.upstream.queue(Answer::Half);
        let cut = fleet.redeem_at(0, "/paid/ok", &payment).await;
        let pass = cut.header("farebox-pass").expect("a pass").to_owned();
        assert!(!fleet.gateways[0].only_entry().delivered());
        for _ in 0..3 {
            let request = match by_pass {
                true => Request::get("/paid/ok").header("farebox-pass", &pass),
                false => Request::get("/paid/ok").paid(&payment),
            };
            let mut connection = fleet.connect(1, request).await;
            let head = connection.head("GET").await;
            assert!(connection.finish(head).await.complete, "by pass {by_pass}");
        }
        let delivered = fleet.gateways[1].entry_becomes("delivered", |entry| entry.delivered()).await;
        // The one that does not know writes in vain.
        assert_eq!(fleet.redeem_at(0, "/paid/ok", &payment).await.status, 200);
        let later = fleet.gateways[0].only_entry();
        assert_eq!(later.text("delivered_at"), delivered.text("delivered_at"), "the first time stands");
    }
}
