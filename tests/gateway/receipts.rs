//! How many receipts are in memory, and that no window depends on it.

use crate::support::{House, Payment, eventually};

/// Receipts in memory and forgotten, and how often the ledger was asked or written to.
async fn memory(house: &House) -> (f64, f64, f64) {
    let metrics = house.gateway.metrics().await;
    let sum = |name| metrics.sum(name, &[]);
    (
        sum("farebox_receipts_in_memory"),
        sum("farebox_receipts_forgotten_total"),
        sum("farebox_ledger_operation_duration_seconds_count"),
    )
}

/// Pays once more, and waits until so many payments are delivered: the ledger is at rest.
async fn paid_and_delivered(house: &House, payments: usize) -> Payment {
    let payment = house.payment("/paid/ok").await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    let all_are = async || {
        let delivered = house.gateway.ledger().iter().filter(|entry| entry.delivered()).count();
        (delivered == payments).then_some(())
    };
    eventually("every payment to be delivered", all_are).await;
    payment
}

#[tokio::test]
async fn a_window_that_memory_has_no_room_for_is_found_in_the_ledger() {
    let house = House::build("window = \"60s\"", |setup| setup.server("receipts_in_memory = 1")).await;
    let first = paid_and_delivered(&house, 1).await;
    let (in_memory, forgotten, asked) = memory(&house).await;
    assert_eq!((in_memory, forgotten), (1.0, 0.0), "at the limit");
    assert_eq!(house.redeem("/paid/ok", &first).await.status, 200);
    assert_eq!(memory(&house).await.2, asked, "in memory: the ledger is not asked");

    let second = paid_and_delivered(&house, 2).await;
    let (in_memory, forgotten, asked) = memory(&house).await;
    assert_eq!((in_memory, forgotten), (1.0, 1.0), "one past it");
    let calls = house.facilitator.calls();
    for payment in [&first, &second, &first] {
        let response = house.redeem("/paid/ok", payment).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    assert!(memory(&house).await.2 > asked, "the ledger knows what memory has forgotten");
    assert_eq!((house.facilitator.calls(), house.facilitator.charged()), (calls, 2));
}

#[tokio::test]
async fn uses_are_counted_exactly_where_memory_forgets() {
    let route = "window = { for = \"60s\", uses = 3 }";
    let house = House::build(route, |setup| setup.server("receipts_in_memory = 1")).await;
    let payments = [paid_and_delivered(&house, 1).await, paid_and_delivered(&house, 2).await];
    for expected in [200, 200, 402] {
        for payment in &payments {
            assert_eq!(house.redeem("/paid/ok", payment).await.status, expected);
        }
    }
    assert_eq!(house.facilitator.charged(), 2);
}

#[tokio::test]
async fn a_reload_changes_how_many_receipts_are_in_memory() {
    let house = House::build("window = \"60s\"", |setup| setup.server("receipts_in_memory = 3")).await;
    let mut payments = Vec::new();
    for number in 1..=3 {
        payments.push(paid_and_delivered(&house, number).await);
    }
    assert_eq!(memory(&house).await.0, 3.0);
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    house.gateway.rewrite_text(&text.replace("receipts_in_memory = 3", "receipts_in_memory = 1"));
    let answer = house.gateway.reload().await;
    assert_eq!((answer.status, &answer.json()["needs_restart"]), (200, &serde_json::json!([])));
    let (in_memory, forgotten, _) = memory(&house).await;
    assert_eq!((in_memory, forgotten), (1.0, 2.0));
    for payment in &payments {
        assert_eq!(house.redeem("/paid/ok", payment).await.status, 200);
    }
    assert_eq!(house.facilitator.charged(), 3);
}
