//! A ledger that cannot be written: nothing is charged, and what was charged is not forgotten.

use futures::future::{join, join_all};
use rusqlite::Connection;

use crate::support::{House, Request, Settle, eventually};

/// Holds the ledger's write lock, as a disk that does not come back would.
struct Blocked(Connection);

impl Blocked {
    fn ledger_of(house: &House) -> Blocked {
        let connection = Connection::open(house.gateway.folder().join("farebox.db")).expect("the ledger's file");
        connection.busy_timeout(crate::support::LIMIT).expect("a time to wait for the lock");
        connection.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
        Blocked(connection)
    }

    fn let_go(self) {
        self.0.execute_batch("ROLLBACK").expect("given back");
    }
}

#[tokio::test]
async fn while_the_ledger_cannot_be_written_nothing_is_charged_and_the_payment_stays_good() {
    // At once: each waits as long as the ledger waits for its lock.
    join_all(["on-success", "before", "overlap"].map(async |settle| {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let blocked = Blocked::ledger_of(&house);

        let asked = house.gateway.ask(Request::get("/readyz"));
        let (response, readiness) = join(house.redeem("/paid/ok", &payment), asked).await;
        assert_eq!((response.status, response.error().as_str()), (503, "ledger_unavailable"), "{settle}");
        assert!(response.header("retry-after").is_some(), "{settle}");
        assert_eq!((house.facilitator.charged(), house.upstream.count()), (0, 0), "{settle}");
        assert_eq!(readiness.status, 503, "{settle}");
        assert_eq!(house.gateway.ask(Request::get("/healthz")).await.status, 200, "{settle}");
        assert_eq!(house.gateway.ask(Request::get("/metrics")).await.status, 200, "{settle}");
        assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200, "{settle}: free routes go on");
        assert_eq!(house.gateway.send(Request::get("/paid/ok")).await.status, 402, "{settle}: and challenges");

        blocked.let_go();
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, house.facilitator.charged()), (200, 1), "{settle}: {response:?}");
        eventually("readiness", async || {
            (house.gateway.ask(Request::get("/readyz")).await.status == 200).then_some(())
        })
        .await;
    }))
    .await;
}

#[tokio::test]
async fn money_that_moved_while_the_ledger_could_not_be_written_is_never_asked_for_again() {
    join_all(["on-success", "before", "overlap"].map(async |settle| {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let held = house.facilitator.hold_settle(Settle::Settled);
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        house.facilitator.settle_reached(1).await;
        let blocked = Blocked::ledger_of(&house);
        held.release();

        // A 402 would make the client sign a second payment.
        let head = connection.head("GET").await;
        let response = connection.finish(head).await;
        assert_eq!(response.status, 503, "{settle}: {response:?}");
        assert_eq!(response.header("payment-required"), None, "{settle}");

        blocked.let_go();
        let again = house.redeem("/paid/ok", &payment).await;
        match again.status {
            200 => assert_eq!(again.text(), "ok", "{settle}"),
            503 => assert_eq!(again.error(), "settlement_pending", "{settle}"),
            other => panic!("{settle}: {other}: {again:?}"),
        }
        assert_eq!(house.facilitator.charged(), 1, "{settle}");
        assert!(["settled", "unknown"].contains(&house.gateway.only_entry().state()), "{settle}");
    }))
    .await;
}

#[tokio::test]
async fn a_use_that_cannot_be_counted_is_not_answered_with_a_price() {
    // A 402 would make the client pay for a window that it has.
    let house = House::with_route("window = { for = \"60s\", uses = 5 }").await;
    let payment = house.payment("/paid/ok").await;
    let first = house.redeem("/paid/ok", &payment).await;
    let pass = first.header("farebox-pass").expect("a pass").to_owned();
    let blocked = Blocked::ledger_of(&house);
    let by_pass = house.gateway.send(Request::get("/paid/ok").header("farebox-pass", &pass));
    let (by_pass, by_payment) = join(by_pass, house.redeem("/paid/ok", &payment)).await;
    for (what, response) in [("pass", by_pass), ("payment", by_payment)] {
        assert_eq!(response.status, 503, "{what}: {response:?}");
        assert_eq!(response.error(), "ledger_unavailable", "{what}");
    }
    assert_eq!(house.upstream.count(), 1);
    blocked.let_go();
    assert_eq!(house.gateway.send(Request::get("/paid/ok").header("farebox-pass", pass)).await.status, 200);
}
