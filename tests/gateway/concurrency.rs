//! Many at once: one payment is one payment.

use futures::future::join_all;

use crate::support::{Answer, House, Payer, Request, Settle};

const AT_ONCE: usize = 20;

#[tokio::test]
async fn the_same_payment_many_times_at_once_is_settled_once_and_opens_one_request() {
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let responses = join_all((0..AT_ONCE).map(|_| house.redeem("/paid/ok", &payment))).await;
        let served = responses.iter().filter(|response| response.status == 200).count();
        assert_eq!(served, 1, "{settle}");
        for response in responses.iter().filter(|response| response.status != 200) {
            match response.status {
                402 => assert_eq!(response.error(), "invalid_exact_evm_nonce_already_used"),
                409 => assert_eq!(response.error(), "payment_in_use"),
                other => panic!("{settle}: {other}: {response:?}"),
            }
        }
        assert_eq!(house.facilitator.calls().1, 1, "{settle}: asked to settle once");
        assert_eq!(house.upstream.count(), 1, "{settle}");
    }
}

#[tokio::test]
async fn the_same_payment_many_times_at_once_inside_a_window_is_settled_once_and_opens_all() {
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"\nwindow = \"60s\"")).await;
        let payment = house.payment("/paid/ok").await;
        // Enough for each to lose the race for the payment many times over.
        let responses = join_all((0..3 * AT_ONCE).map(|_| house.redeem("/paid/ok", &payment))).await;
        for response in &responses {
            assert_eq!(response.status, 200, "{settle}: {}", response.text());
        }
        assert_eq!(house.facilitator.calls().1, 1, "{settle}: asked to settle once");
    }
}

#[tokio::test]
async fn the_same_payment_on_two_routes_at_once_opens_one() {
    let house = House::build("", |setup| setup.route("other", "/other/*", "price = \"$0.01\"")).await;
    let payment = house.payment("/paid/ok").await;
    let paths = (0..AT_ONCE).map(|number| if number % 2 == 0 { "/paid/ok" } else { "/other/ok" });
    let responses = join_all(paths.map(|path| house.redeem(path, &payment))).await;
    assert_eq!(responses.iter().filter(|response| response.status == 200).count(), 1);
    assert_eq!((house.facilitator.charged(), house.upstream.count()), (1, 1));
}

#[tokio::test]
async fn a_payment_that_is_being_settled_is_waited_for() {
    let house = House::with_route("settle = \"before\"\nwindow = \"60s\"").await;
    let payment = house.payment("/paid/ok").await;
    let settle = house.facilitator.hold_settle(Settle::Settled);
    let first = house.redeem("/paid/ok", &payment);
    let second = async {
        house.facilitator.settle_reached(1).await;
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        settle.release();
        let head = connection.head("GET").await;
        connection.finish(head).await
    };
    let (first, second) = futures::future::join(first, second).await;
    assert_eq!((first.status, second.status, house.facilitator.charged()), (200, 200, 1));
}

#[tokio::test]
async fn a_payment_whose_response_is_under_way_is_in_use() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/sse").await;
    let events = house.upstream.stream();
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/sse").paid(&payment)).await;
    let head = connection.head("GET").await;
    assert_eq!(head.status, 200);
    let second = house.redeem("/paid/ok", &payment).await;
    assert_eq!((second.status, second.error().as_str()), (409, "payment_in_use"));
    assert!(second.header("retry-after").is_some(), "{second:?}");
    drop(events);
    assert!(connection.finish(head).await.complete, "the first is none the worse");
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn many_payers_at_once_are_each_charged_once() {
    let house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    let payments: Vec<_> = (0..60).map(|_| Payer::new().pay_v2(&challenge)).collect();
    let responses = join_all(payments.iter().map(|payment| house.redeem("/paid/ok", payment))).await;
    for response in &responses {
        assert_eq!(response.status, 200, "{response:?}");
    }
    assert_eq!(house.facilitator.charged(), payments.len());
    let entries = house.gateway.ledger();
    assert_eq!(entries.len(), payments.len());
    assert!(entries.iter().all(|entry| entry.state() == "settled"));
    let mut transactions: Vec<_> = entries.iter().map(|entry| entry.text("transaction")).collect();
    transactions.sort_unstable();
    transactions.dedup();
    assert_eq!(transactions.len(), payments.len(), "each has its own transaction");
    let revenue = house.gateway.metrics().await.sum("farebox_revenue_atomic_total", &[("route", "paid")]);
    assert_eq!(revenue, payments.len() as f64 * 10_000.0);
}

#[tokio::test]
async fn a_failure_in_a_crowd_frees_the_payment_for_the_next() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    house.upstream.queue(Answer::text(500, "broken"));
    let responses = join_all((0..AT_ONCE).map(|_| house.redeem("/paid/ok", &payment))).await;
    let served = responses.iter().filter(|response| response.status == 200).count();
    let broken = responses.iter().filter(|response| response.status == 500).count();
    assert_eq!((served, broken), (1, 1), "one met the failure, the next was served");
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn an_undelivered_payment_sent_many_times_at_once_is_served_once() {
    for settle in ["before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        house.upstream.queue(Answer::text(500, "broken"));
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 500);
        let responses = join_all((0..AT_ONCE).map(|_| house.redeem("/paid/ok", &payment))).await;
        let served = responses.iter().filter(|response| response.status == 200).count();
        assert_eq!((served, house.upstream.count()), (1, 2), "{settle}");
        assert_eq!(house.facilitator.calls().1, 1, "{settle}");
    }
}
