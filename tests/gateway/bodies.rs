//! Request and response bodies, whole and in parts, paid and unpaid.

use crate::support::upstream::big;
use crate::support::{House, Request, eventually};

#[tokio::test]
async fn an_unpaid_request_with_a_body_is_answered_before_the_body_ends() {
    let house = House::with_route("").await;
    for headers in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut connection = house.gateway.connect().await;
        let head = format!("POST /paid/echo HTTP/1.1\r\nHost: a.example\r\n{headers}\r\n");
        connection.send_bytes(head.as_bytes()).await;
        // The rest of the body never comes.
        let head = connection.head("POST").await;
        assert_eq!(head.status, 402, "{headers}");
        assert_eq!(connection.finish(head).await.json()["x402Version"], 1, "{headers}");
    }
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn who_sends_a_large_body_can_send_it_all_and_read_the_price_also_where_the_connection_ends_then() {
    let house = House::with_route("").await;
    // More than the sockets' buffers hold, less than what the gateway gives up at.
    let body = vec![b'x'; 12_000_000];
    for (version, headers) in [("1.1", ""), ("1.1", "Connection: close\r\n"), ("1.0", "")] {
        let mut connection = house.gateway.connect().await;
        let length = body.len();
        let head = format!("POST /paid/echo HTTP/{version}\r\nHost: a\r\n{headers}Content-Length: {length}\r\n\r\n");
        connection.send_bytes(head.as_bytes()).await;
        // A client whose writing fails does not look for an answer.
        connection.try_send_bytes(&body).await.unwrap_or_else(|error| panic!("HTTP/{version} {headers}: {error}"));
        let head = connection.head("POST").await;
        assert_eq!(connection.finish(head).await.status, 402, "HTTP/{version} {headers}");
    }
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn an_unpaid_body_is_never_taken_for_the_next_request() {
    let house = House::with_route("").await;
    let mut connection = house.gateway.connect().await;
    let smuggled = "GET /free/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    connection.send(&Request::post("/paid/echo", smuggled)).await;
    let head = connection.head("POST").await;
    assert_eq!(connection.finish(head).await.status, 402);
    // Either the connection is kept, with the body read, or it is closed.
    connection.send(&Request::get("/free/after")).await;
    if let Some(head) = connection.try_head("GET").await {
        assert_eq!(connection.finish(head).await.status, 200);
    }
    let targets: Vec<String> = house.upstream.requests().into_iter().map(|request| request.target).collect();
    assert!(!targets.iter().any(|target| target.contains("smuggled")), "{targets:?}");
}

#[tokio::test]
async fn a_connection_is_kept_after_a_challenge() {
    let house = House::with_route("").await;
    let mut connection = house.gateway.connect().await;
    let challenge = crate::support::Challenge::of(&connection.exchange(&Request::get("/paid/ok")).await);
    let payment = house.payer.pay_v2(&challenge);
    let response = connection.exchange(&Request::get("/paid/ok").paid(&payment)).await;
    assert_eq!(response.status, 200);
    assert_eq!(connection.exchange(&Request::get("/free/ok")).await.status, 200);
}

#[tokio::test]
async fn who_asks_leave_to_send_a_body_is_told_the_price_instead() {
    let house = House::with_route("").await;
    let mut connection = house.gateway.connect().await;
    let head = "POST /paid/echo HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    connection.send_bytes(head.as_bytes()).await;
    let head = connection.head("POST").await;
    assert_eq!((head.status, head.interim.as_slice()), (402, [].as_slice()), "no 100 for what will not be read");
}

#[tokio::test]
async fn who_has_paid_gets_leave_and_the_body_arrives() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/echo").await;
    let (name, value) = payment.header();
    let mut connection = house.gateway.connect().await;
    let head = format!(
        "POST /paid/echo HTTP/1.1\r\nHost: {}\r\n{name}: {value}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        house.gateway.address()
    );
    connection.send_bytes(head.as_bytes()).await;
    // The body goes out only after the interim response: the upstream's own, passed on.
    connection.some_body().await;
    connection.send_bytes(b"hello").await;
    let head = connection.head("POST").await;
    assert_eq!((head.status, head.interim.as_slice()), (200, [100].as_slice()));
    assert_eq!(connection.finish(head).await.text(), "hello");
}

#[tokio::test]
async fn bodies_pass_unchanged_in_every_mode_and_framing() {
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        // Larger than any buffer on the way.
        let body: Vec<u8> = big().into_iter().take(3_000_000).collect();
        let payment = house.payment("/paid/echo").await;
        let response = house.gateway.send(Request::post("/paid/echo", body.clone()).paid(&payment)).await;
        assert_eq!(response.status, 200, "{settle}");
        assert!(response.body == body, "{settle}: {} of {} bytes came back", response.body.len(), body.len());

        let payment = house.payment("/paid/echo").await;
        let (name, value) = payment.header();
        let mut connection = house.gateway.connect().await;
        let head = format!(
            "POST /paid/echo HTTP/1.1\r\nHost: {}\r\n{name}: {value}\r\nTransfer-Encoding: chunked\r\n\r\n",
            house.gateway.address()
        );
        connection.send_bytes(head.as_bytes()).await;
        for part in ["5\r\nhello\r\n", "1\r\n \r\n", "5\r\nworld\r\n", "0\r\n\r\n"] {
            connection.send_bytes(part.as_bytes()).await;
        }
        let head = connection.head("POST").await;
        assert_eq!(connection.finish(head).await.text(), "hello world", "{settle}");
    }
}

#[tokio::test]
async fn a_large_response_passes_unchanged_and_is_delivered() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/big").await;
    let response = house.redeem("/paid/big", &payment).await;
    assert!(response.complete && response.body == big(), "{} bytes", response.body.len());
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_charges_nothing_under_on_success() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/echo").await;
    let (name, value) = payment.header();
    let mut connection = house.gateway.connect().await;
    let head = format!(
        "POST /paid/echo HTTP/1.1\r\nHost: {}\r\n{name}: {value}\r\nContent-Length: 100\r\n\r\nhalf",
        house.gateway.address()
    );
    connection.send_bytes(head.as_bytes()).await;
    house.facilitator.verify_reached(1).await;
    drop(connection);
    house.gateway.entry_becomes("released", |entry| entry.state() == "failed").await;
    assert_eq!(house.facilitator.charged(), 0);
    let response = house.gateway.send(Request::post("/paid/echo", "whole").paid(&payment)).await;
    assert_eq!((response.status, response.text().as_str()), (200, "whole"));
}

#[tokio::test]
async fn a_body_that_breaks_off_after_the_money_moved_can_be_sent_again() {
    for settle in ["before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/echo").await;
        let (name, value) = payment.header();
        let mut connection = house.gateway.connect().await;
        let head = format!(
            "POST /paid/echo HTTP/1.1\r\nHost: {}\r\n{name}: {value}\r\nContent-Length: 100\r\n\r\nhalf",
            house.gateway.address()
        );
        connection.send_bytes(head.as_bytes()).await;
        // Not in the ledger before it has been reserved.
        house.facilitator.settle_reached(1).await;
        house.gateway.entry_becomes("settled", |entry| entry.state() == "settled").await;
        drop(connection);
        let response = eventually("the payment to be free again", async || {
            let response = house.gateway.send(Request::post("/paid/echo", "whole").paid(&payment)).await;
            (response.status != 409).then_some(response)
        })
        .await;
        assert_eq!((response.status, response.text().as_str()), (200, "whole"), "{settle}: {response:?}");
        assert_eq!(house.facilitator.charged(), 1, "{settle}");
    }
}
