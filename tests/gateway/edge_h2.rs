//! HTTP/2 towards clients: what is paid is paid, what streams streams, and nobody holds on to it for ever.

use futures::future::join_all;

use crate::support::h2::finish;
use crate::support::upstream::big;
use crate::support::{Challenge, House, Http2, Request, eventually, within};

async fn in_flight_becomes(house: &House, count: f64) {
    eventually(&format!("{count} requests in flight"), async || {
        (house.gateway.metrics().await.sum("farebox_in_flight_requests", &[]) == count).then_some(())
    })
    .await;
}

/// How often somebody was waited for too long.
async fn closed(house: &House, reason: &str) -> f64 {
    house.gateway.metrics().await.sum("farebox_connections_closed_total", &[("reason", reason)])
}

#[tokio::test]
async fn a_client_that_knows_speaks_http2_without_tls() {
    let house = House::with_route("").await;
    let mut client = Http2::open(house.gateway.address()).await;
    let free = client.exchange(&Request::get("/free/a?q=1")).await;
    assert_eq!((free.status, free.text().as_str()), (200, "ok"));
    let request = house.upstream.only_request();
    assert_eq!(request.target, "/free/a?q=1");
    assert_eq!(request.header("x-forwarded-host"), Some(house.gateway.address().to_string().as_str()));
    house.gateway.says("\"host\":\"127.0.0.1\",\"path\":\"/free/a\"").await;
    let challenge = client.exchange(&Request::get("/paid/a")).await;
    assert_eq!(challenge.status, 402, "{challenge:?}");
    assert!(Challenge::of(&challenge).url().starts_with(&format!("http://{}/", house.gateway.address())));
}

#[tokio::test]
async fn a_payment_settles_once_and_is_delivered_in_every_mode() {
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let mut client = Http2::open(house.gateway.address()).await;
        let challenge = Challenge::of(&client.exchange(&Request::post("/paid/echo", "body")).await);
        let payment = house.payer.pay_v2(&challenge);
        let paid = client.exchange(&Request::post("/paid/echo", "body").paid(&payment)).await;
        assert_eq!((paid.status, paid.text().as_str()), (200, "body"), "{settle}");
        assert_eq!(paid.settlement().expect("PAYMENT-RESPONSE")["success"], true, "{settle}");
        house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
        let again = client.exchange(&Request::post("/paid/echo", "body").paid(&payment)).await;
        assert_eq!((again.status, house.facilitator.charged()), (402, 1), "{settle}");
    }
}

#[tokio::test]
async fn a_stream_that_the_client_resets_is_undelivered_and_had_again() {
    let house = House::with_route("").await;
    let mut client = Http2::open(house.gateway.address()).await;
    let payment = house.payment("/paid/sse").await;
    let request = Request::get("/paid/sse").paid(&payment);
    let events = house.upstream.stream();
    let (response, stream) = client.begin(&request, true).await.expect("a stream");
    let (head, mut body) = within("the head", response).await.expect("a head").into_parts();
    assert_eq!(head.status, 200);
    events.send(b"data: 1\n\n".to_vec()).await.expect("the upstream is read");
    assert_eq!(within("an event", body.data()).await.expect("a piece").expect("an event").as_ref(), b"data: 1\n\n");
    drop((body, stream));
    in_flight_becomes(&house, 0.0).await;
    assert!(!house.gateway.only_entry().delivered());
    assert_eq!(client.exchange(&Request::get("/paid/ok").paid(&payment)).await.text(), "ok");
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn events_arrive_one_by_one_beside_other_requests() {
    let house = House::with_route("").await;
    let mut client = Http2::open(house.gateway.address()).await;
    let request = Request::get("/paid/sse").paid(&house.payment("/paid/sse").await);
    let events = house.upstream.stream();
    let (response, _stream) = client.begin(&request, true).await.expect("a stream");
    let (_, mut body) = within("the head", response).await.expect("a head").into_parts();
    for number in 0..5 {
        let event = format!("data: {number}\n\n").into_bytes();
        events.send(event.clone()).await.expect("the upstream is read");
        assert_eq!(within("an event", body.data()).await.expect("a piece").expect("an event"), event);
        // On the same connection, while the stream is open.
        assert_eq!(client.exchange(&Request::get("/free/a")).await.status, 200);
    }
    drop(events);
    // The end may come with a piece of nothing.
    while let Some(piece) = within("the end", body.data()).await {
        assert!(piece.expect("no error").is_empty());
    }
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
}

#[tokio::test]
async fn a_large_body_passes_whole_in_both_directions() {
    let house = House::with_route("").await;
    let mut client = Http2::open(house.gateway.address()).await;
    let body = client.exchange(&Request::get("/free/big")).await.body;
    assert!(body == big(), "{} bytes", body.len());
    let sent = vec![b'x'; 300_000];
    assert!(client.exchange(&Request::post("/free/echo", sent.clone())).await.body == sent);
}

#[tokio::test]
async fn a_request_with_trailers_is_forwarded_with_its_whole_body() {
    let house = House::with_route("").await;
    let mut client = Http2::open(house.gateway.address()).await;
    let (response, mut stream) = client.begin(&Request::post("/free/echo", "body"), false).await.expect("a stream");
    let trailers = [(http::HeaderName::from_static("x-sum"), http::HeaderValue::from_static("1"))];
    stream.send_trailers(trailers.into_iter().collect()).expect("trailers");
    let (response, _) = within("the answer", finish(response)).await.expect("an answer");
    assert_eq!((response.status, response.text().as_str()), (200, "body"));
}

#[tokio::test]
async fn a_hundred_requests_are_open_at_once_and_no_more() {
    let house = House::with_route("").await;
    let mut client = Http2::open(house.gateway.address()).await;
    client.exchange(&Request::get("/free/a")).await;
    assert_eq!(client.streams_max(), 100);
    let mut latches = Vec::new();
    let mut responses = Vec::new();
    for _ in 0..100 {
        latches.push(house.upstream.hold(crate::support::Answer::text(200, "held")));
        responses.push(client.begin(&Request::get("/free/a"), true).await.expect("a stream").0);
    }
    house.upstream.reached(101).await;
    latches.into_iter().for_each(|latch| latch.release());
    for response in within("the answers", join_all(responses.into_iter().map(finish))).await {
        assert_eq!(response.expect("an answer").0.text(), "held");
    }
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_by_the_thousand_leave_nothing_behind() {
    let house = House::with_route("").await;
    let mut flood = Http2::open(house.gateway.address()).await;
    for _ in 0..1000 {
        // The connection may be ended for it: then the flood is over.
        if flood.begin(&Request::get("/free/never"), true).await.is_err() {
            break;
        }
    }
    let mut other = Http2::open(house.gateway.address()).await;
    assert_eq!(other.exchange(&Request::get("/free/a")).await.status, 200);
    drop(flood);
    in_flight_becomes(&house, 0.0).await;
}

#[tokio::test]
async fn a_connection_without_streams_is_closed_and_one_with_a_stream_is_not() {
    let house = House::build("", |setup| setup.server("idle_timeout = \"300ms\"\nheader_timeout = \"200ms\"")).await;
    let mut busy = Http2::open(house.gateway.address()).await;
    let latch = house.upstream.hold(crate::support::Answer::text(200, "late"));
    let (response, _) = busy.begin(&Request::get("/free/a"), true).await.expect("a stream");
    house.upstream.reached(1).await;
    // One that comes later is closed earlier.
    let mut idle = Http2::open(house.gateway.address()).await;
    assert_eq!(idle.exchange(&Request::get("/free/a")).await.status, 200);
    eventually("the idle connection closed", async || {
        let closed =
            house.gateway.metrics().await.sum("farebox_connections_closed_total", &[("reason", "idle_timeout")]);
        (closed >= 1.0).then_some(())
    })
    .await;
    latch.release();
    assert_eq!(within("the answer", finish(response)).await.expect("an answer").0.text(), "late");
    // Half of HTTP/2's preface is half of a head.
    let mut half = house.gateway.connect().await;
    half.send_bytes(&crate::support::h2::PREFACE[..12]).await;
    assert!(half.is_closed().await);
}

#[tokio::test]
async fn a_stream_whose_body_stands_still_is_answered_408() {
    let house = House::build("", |setup| setup.upstream("read_timeout = \"300ms\"")).await;
    let mut client = Http2::open(house.gateway.address()).await;
    let (response, _stream) = client.begin(&Request::post("/free/echo", "half"), false).await.expect("a stream");
    let (response, _) = within("the answer", finish(response)).await.expect("an answer");
    assert_eq!((response.status, response.error().as_str()), (408, "request_timeout"), "{response:?}");
    assert_eq!(closed(&house, "body_timeout").await, 1.0);
    // With the whole body in its hands the upstream is to blame.
    let whole = client.exchange(&Request::post("/free/never", "whole")).await;
    assert_eq!((whole.status, whole.error().as_str()), (504, "upstream_timeout"), "{whole:?}");
    assert_eq!(closed(&house, "body_timeout").await, 1.0);
}

#[tokio::test]
async fn a_stream_whose_response_is_not_taken_ends() {
    let house = House::build("", |setup| setup.server("send_timeout = \"300ms\"")).await;
    let mut client = Http2::open(house.gateway.address()).await;
    // A window that is never opened again.
    let (response, _stream) = client.begin(&Request::get("/free/big"), true).await.expect("a stream");
    let body = within("the head", response).await.expect("a head").into_body();
    in_flight_becomes(&house, 0.0).await;
    assert_eq!(closed(&house, "send_timeout").await, 1.0);
    // What lies in it unread takes up the whole connection's window.
    drop(body);
    assert_eq!(client.exchange(&Request::get("/free/a")).await.status, 200, "other streams go on");
}
