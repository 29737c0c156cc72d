//! Unpaid requests are answered where a connection begins; nobody can tell but by the clock.

use crate::support::{House, Request, Response};

/// Fields that change nothing about what is answered. With the second one, the proxy answers; with the first, the door.
const PLAIN: (&str, &str) = ("Accept", "*/*");
const FOR_THE_PROXY: (&str, &str) = ("Cookie", "a=b");

fn without_date(response: &Response) -> Vec<(String, String)> {
    response.headers.0.iter().filter(|(name, _)| name != "Date").cloned().collect()
}

#[tokio::test]
async fn the_door_and_the_proxy_answer_alike() {
    let house = House::with_route("").await;
    for (method, target) in
        [("GET", "/paid/a?b=%22c"), ("HEAD", "/paid/a"), ("GET", "/paid/%61/./b//c?"), ("GET", "/paid")]
    {
        for connection in ["close", "keep-alive", "Keep-Alive"] {
            let ask = |(name, value): (&str, &str)| {
                house.gateway.send(Request::new(method, target).header(name, value).header("Connection", connection))
            };
            let (door, proxy) = (ask(PLAIN).await, ask(FOR_THE_PROXY).await);
            assert_eq!((door.status, without_date(&door)), (402, without_date(&proxy)), "{method} {target}");
            assert_eq!(door.body, proxy.body);
            assert!(door.header("date").is_some());
        }
    }
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn a_connection_goes_back_and_forth_between_the_door_and_the_proxy() {
    let house = House::with_route("").await;
    let payments = [house.payment("/paid/ok").await, house.payment("/paid/ok").await];
    let mut connection = house.gateway.connect().await;
    for payment in payments {
        for (request, status) in [
            (Request::get("/paid/ok"), 402),
            (Request::get("/free/ok"), 200),
            (Request::head("/paid/ok"), 402),
            (Request::get("/paid/ok").paid(&payment), 200),
            (Request::post("/paid/ok", "a body"), 402),
            (Request::get("/none"), 404),
            (Request::get("/paid/ok"), 402),
        ] {
            let response = connection.exchange(&request).await;
            assert_eq!(response.status, status, "{request:?}: {response:?}");
        }
    }
    // Four times each round, and once for each payment before.
    let counted = house.gateway.metrics().await.sum("farebox_challenges_total", &[("route", "paid")]);
    assert_eq!(counted, f64::from(2 * 4 + 2));
}

#[tokio::test]
async fn what_came_together_is_answered_in_turn() {
    let house = House::with_route("").await;
    let mut connection = house.gateway.connect().await;
    let host = house.gateway.address();
    let requests: Vec<u8> =
        ["/paid/1", "/paid/2", "/free/ok"].iter().flat_map(|target| Request::get(target).to_bytes(host)).collect();
    // In any pieces.
    let (begin, rest) = requests.split_at(requests.len() / 2);
    connection.send_bytes(begin).await;
    let first = connection.head("GET").await;
    let first = connection.finish(first).await;
    connection.send_bytes(rest).await;
    let second = connection.head("GET").await;
    let second = connection.finish(second).await;
    assert_ne!(first.header("payment-required"), second.header("payment-required"), "each for its own resource");
    let third = connection.head("GET").await;
    assert_eq!((first.status, second.status, third.status), (402, 402, 200));
}

#[tokio::test]
async fn a_connection_that_is_to_close_closes() {
    let house = House::with_route("").await;
    let mut connection = house.gateway.connect().await;
    let response = connection.exchange(&Request::get("/paid/ok").header("connection", "close")).await;
    assert_eq!((response.status, response.header("connection")), (402, Some("close")));
    assert!(connection.is_closed().await);
    // Who says that nothing more comes still wants an answer.
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok")).await;
    connection.finish_sending().await;
    assert_eq!(connection.head("GET").await.status, 402);
}
