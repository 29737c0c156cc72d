//! Bodies pass as they come.

use crate::support::{Connection, House, Request};

#[tokio::test]
async fn events_arrive_one_by_one_in_every_mode() {
    for (keys, path) in [
        ("settle = \"on-success\"", "/paid/sse"),
        ("settle = \"before\"", "/paid/sse"),
        ("settle = \"overlap\"", "/paid/sse"),
        ("", "/free/sse"),
    ] {
        let house = House::with_route(keys).await;
        let mut request = Request::get(path);
        if path.starts_with("/paid") {
            request = request.paid(&house.payment(path).await);
        }
        let events = house.upstream.stream();
        let mut connection = house.gateway.connect().await;
        connection.send(&request).await;
        let head = connection.head("GET").await;
        assert_eq!((head.status, head.headers.get("content-type")), (200, Some("text/event-stream")), "{keys}");
        for number in 0..5 {
            // The next one is not sent before this one has arrived.
            let event = format!("data: {number}\n\n").into_bytes();
            events.send(event.clone()).await.expect("the upstream is read");
            assert_eq!(connection.chunk(&head).await, Some(event), "{keys}");
        }
        drop(events);
        assert_eq!(connection.chunk(&head).await, None, "{keys}");
    }
}

#[tokio::test]
async fn a_stream_is_delivered_when_it_has_ended_and_not_before() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/sse").await;
    let events = house.upstream.stream();
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/sse").paid(&payment)).await;
    let head = connection.head("GET").await;
    events.send(b"data: 0\n\n".to_vec()).await.expect("the upstream is read");
    connection.chunk(&head).await;
    assert!(!house.gateway.only_entry().delivered());
    drop(events);
    assert_eq!(connection.chunk(&head).await, None);
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
}

#[tokio::test]
async fn an_event_that_comes_in_with_the_head_is_not_held_back() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/sse").await;
    let head_and_event = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let mut bytes = head_and_event.to_vec();
    bytes.extend_from_slice(b"0\r\n\r\n");
    house.upstream.queue(crate::support::Answer::Raw(bytes));
    let mut connection: Connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/sse").paid(&payment)).await;
    let head = connection.head("GET").await;
    assert_eq!(connection.chunk(&head).await, Some(b"first".to_vec()));
    assert_eq!(connection.chunk(&head).await, None);
}
