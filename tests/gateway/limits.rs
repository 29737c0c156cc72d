//! Limits, at each and one past it: what turns a request away, what it costs nobody, and where it is counted.

use futures::future::join_all;

use crate::support::http::Connection;
use crate::support::{Answer, House, Payment, Request, Response, Settle, Verify, eventually};

/// How many requests that limit has turned away.
async fn refused(house: &House, reason: &str) -> f64 {
    house.gateway.metrics().await.sum("farebox_refused_total", &[("reason", reason)])
}

/// Waits until so many requests of a route have ended so.
async fn ended(house: &House, route: &str, outcome: &str, count: f64) {
    eventually(&format!("{count} requests of {route} to end {outcome}"), async || {
        let metrics = house.gateway.metrics().await;
        let labels = [("route", route), ("outcome", outcome)];
        (metrics.sum("farebox_requests_total", &labels) == count).then_some(())
    })
    .await;
}

fn assert_turned_away(response: &Response, status: u16, error: &str, reason: &str) {
    assert_eq!((response.status, response.error().as_str()), (status, error), "{response:?}");
    assert_eq!(response.json()["reason"], reason);
}

async fn with_server(keys: &str, route: &str) -> House {
    House::build(route, |setup| setup.server(keys)).await
}

#[tokio::test]
async fn a_route_is_limited_by_the_client_that_trusted_proxies_name() {
    let server = "trusted_proxies = [\"127.0.0.1\"]";
    let house = House::build("limit = \"2/d\"", |setup| {
        setup.server(server).route("free", "/free/*", "price = \"free\"\nlimit = \"1/d\"")
    })
    .await;
    let ask = async |path: &str, header: &str, value: &str| {
        house.gateway.send(Request::get(path).header(header, value)).await
    };
    for (header, value) in [("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=\"192.0.2.1:4711\"")] {
        assert_eq!(ask("/paid/ok", header, value).await.status, 402);
    }
    let late = ask("/paid/ok", "X-Forwarded-For", "9.9.9.9, 192.0.2.1").await;
    assert_turned_away(&late, 429, "too_many_requests", "client_limit");
    let seconds: u64 = late.header("retry-after").expect("when to come back").parse().expect("in seconds");
    assert!((1..=86_400).contains(&seconds), "{seconds}");
    assert_eq!(ask("/paid/ok", "X-Forwarded-For", "192.0.2.2").await.status, 402, "another client");

    for (address, status) in [("2001:db8::1", 200), ("2001:db8::2", 429), ("2001:db8:0:1::1", 200)] {
        assert_eq!(ask("/free/ok", "X-Forwarded-For", address).await.status, status, "{address}");
    }
    ended(&house, "paid", "limited", 1.0).await;
    ended(&house, "free", "limited", 1.0).await;
    assert_eq!((refused(&house, "client_limit").await, house.upstream.count()), (2.0, 2));
    let counted = house.gateway.metrics().await.sum("farebox_limit_entries", &[("kind", "rate")]);
    assert_eq!(counted, 4.0, "two clients of one route, two of the other");
}

#[tokio::test]
async fn a_payment_past_its_payers_limit_is_not_charged() {
    let house = House::with_route("limit = { rate = \"1/d\", by = \"payer\" }").await;
    let (first, second) = (house.payment("/paid/ok").await, house.payment("/paid/ok").await);
    assert_eq!(house.redeem("/paid/ok", &first).await.status, 200);
    let late = house.redeem("/paid/ok", &second).await;
    assert_turned_away(&late, 429, "too_many_requests", "payer_limit");
    assert_eq!(late.json()["retry"], "same_payment");
    assert_eq!((house.facilitator.calls(), house.facilitator.charged(), house.upstream.count()), ((1, 1), 1, 1));
    assert_eq!(refused(&house, "payer_limit").await, 1.0);
}

#[tokio::test]
async fn the_first_requests_are_free_and_no_shared_cache_keeps_what_others_pay_for() {
    let house = House::with_route("free = { uses = 2, per = \"1d\" }").await;
    for _ in 0..2 {
        let response = house.gateway.send(Request::get("/paid/public")).await;
        assert_eq!((response.status, response.header("cache-control")), (200, Some("private, max-age=600")));
    }
    house.challenge("/paid/ok").await;
    let payment = house.payment("/paid/ok").await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    ended(&house, "paid", "allowance", 2.0).await;
    ended(&house, "paid", "challenge", 2.0).await;
    assert_eq!((house.facilitator.charged(), house.upstream.count()), (1, 3));
    for request in house.upstream.requests().iter().take(2) {
        assert!(!request.headers.0.iter().any(|(name, _)| name.starts_with("farebox")), "nobody paid: {request:?}");
    }
    assert_eq!(house.gateway.metrics().await.sum("farebox_limit_entries", &[("kind", "allowance")]), 1.0);
}

const BODY_BYTES: usize = 1000;

async fn with_body_limit(settle: &str) -> House {
    with_server(&format!("request_body_bytes = {BODY_BYTES}"), &format!("settle = \"{settle}\"")).await
}

/// A paid chunked request's head, and so many bytes of body without its end.
async fn begin_chunked(house: &House, payment: &Payment, bytes: usize) -> Connection {
    let (name, value) = payment.header();
    let mut connection = house.gateway.connect().await;
    let head = format!("POST /paid/echo HTTP/1.1\r\nHost: {}\r\n", house.gateway.address());
    let body = "x".repeat(bytes);
    let request = format!("{head}{name}: {value}\r\nTransfer-Encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n");
    connection.send_bytes(request.as_bytes()).await;
    connection
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_anything() {
    for settle in ["on-success", "before", "overlap"] {
        let house = with_body_limit(settle).await;
        let payment = house.payment("/paid/echo").await;
        for request in [
            Request::post("/paid/echo", vec![b'x'; BODY_BYTES + 1]),
            Request::post("/paid/echo", vec![b'x'; BODY_BYTES + 1]).paid(&payment),
        ] {
            let response = house.gateway.send(request).await;
            assert_turned_away(&response, 413, "body_too_large", "request_body_bytes");
        }
        assert_eq!((house.facilitator.calls(), house.upstream.count()), ((0, 0), 0), "{settle}");
        let free = Request::post("/free/echo", vec![b'x'; BODY_BYTES + 1]);
        assert_eq!(house.gateway.send(free).await.status, 200);
        let full = Request::post("/paid/echo", vec![b'x'; BODY_BYTES]).paid(&payment);
        assert_eq!(house.gateway.send(full).await.body.len(), BODY_BYTES, "{settle}");
        assert_eq!((refused(&house, "request_body_bytes").await, house.facilitator.charged()), (2.0, 1));
    }
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_is_cut_off_and_charges_nothing_under_on_success() {
    let house = with_body_limit("on-success").await;
    let payment = house.payment("/paid/echo").await;
    let mut connection = begin_chunked(&house, &payment, BODY_BYTES + 1).await;
    let head = connection.head("POST").await;
    let response = connection.finish(head).await;
    assert_turned_away(&response, 413, "body_too_large", "request_body_bytes");
    let entry = house.gateway.entry_becomes("given back", |entry| entry.state() == "failed").await;
    assert!(format!("{entry:?}").contains("body was too large"), "{entry:?}");
    assert_eq!((house.facilitator.charged(), house.upstream.count()), (0, 0), "no whole request went through");
    ended(&house, "paid", "limited", 1.0).await;

    let mut connection = begin_chunked(&house, &payment, BODY_BYTES).await;
    connection.send_bytes(b"0\r\n\r\n").await;
    let head = connection.head("POST").await;
    assert_eq!((head.status, connection.finish(head).await.body.len()), (200, BODY_BYTES));
    assert_eq!((refused(&house, "request_body_bytes").await, house.facilitator.charged()), (1.0, 1));
}

/// The money moved before the body's length could be known: the same payment opens the route for one that fits.
#[tokio::test]
async fn a_body_that_turns_out_too_long_after_the_money_moved_can_be_sent_again() {
    for settle in ["before", "overlap"] {
        let house = with_body_limit(settle).await;
        let payment = house.payment("/paid/echo").await;
        let mut connection = begin_chunked(&house, &payment, BODY_BYTES + 1).await;
        let head = connection.head("POST").await;
        let response = connection.finish(head).await;
        assert_turned_away(&response, 413, "body_too_large", "request_body_bytes");
        assert_eq!(response.json()["retry"], "same_payment", "{settle}");
        assert_eq!(response.settlement().expect("what became of the payment")["success"], true, "{settle}");
        let response = eventually("the payment to be free again", async || {
            let response = house.gateway.send(Request::post("/paid/echo", "short").paid(&payment)).await;
            (response.status != 409).then_some(response)
        })
        .await;
        assert_eq!((response.status, response.text().as_str()), (200, "short"), "{settle}");
        assert_eq!(house.facilitator.charged(), 1, "{settle}");
    }
}

#[tokio::test]
async fn more_requests_at_once_than_may_be_in_flight_are_told_to_come_back() {
    let house = with_server("requests_in_flight = 2", "").await;
    let held: Vec<_> = (0..2).map(|_| house.upstream.hold(Answer::text(200, "held"))).collect();
    let mut waiting = Vec::new();
    for number in 1..=2 {
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/free/ok")).await;
        house.upstream.reached(number).await;
        waiting.push(connection);
    }
    let surplus = house.gateway.send(Request::get("/free/ok")).await;
    assert_turned_away(&surplus, 503, "overloaded", "requests_in_flight");
    assert!(surplus.header("retry-after").is_some());
    assert_eq!((refused(&house, "requests_in_flight").await, house.upstream.count()), (1.0, 2));
    ended(&house, "-", "limited", 1.0).await;

    // A reload changes it at once.
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    house.gateway.rewrite_text(&text.replace("requests_in_flight = 2", "requests_in_flight = 3"));
    assert_eq!(house.gateway.reload().await.status, 200);
    assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200);

    held.into_iter().for_each(|latch| latch.release());
    for mut connection in waiting {
        let head = connection.head("GET").await;
        assert_eq!(head.status, 200);
    }
}

/// What goes on sending behind its answer is read for a while, and keeps nobody from being served.
#[tokio::test]
async fn who_was_answered_is_not_in_flight_any_more() {
    for framing in
        ["Transfer-Encoding: chunked", "Content-Length: 1000000", "Content-Length: 1000000\r\nConnection: close"]
    {
        let house = with_server("requests_in_flight = 1", "").await;
        let mut slow = house.gateway.connect().await;
        let head = format!("POST /paid/echo HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n");
        slow.send_bytes(head.as_bytes()).await;
        let head = slow.head("POST").await;
        assert_eq!((head.status, slow.finish(head).await.complete), (402, true), "{framing}");
        let others = eventually("somebody else to be served", async || {
            (house.gateway.send(Request::get("/free/ok")).await.status == 200).then_some(())
        });
        tokio::select! {
            biased;
            _ = slow.is_closed() => panic!("nobody was served until it had ended: {framing}"),
            () = others => {}
        }
    }
}

#[tokio::test]
async fn more_payments_than_a_facilitator_may_be_asked_about_are_not_charged_and_good_later() {
    let house = House::build("", |setup| setup.facilitator("calls_in_flight = 1")).await;
    let (first, second) = (house.payment("/paid/ok").await, house.payment("/paid/ok").await);
    let latch = house.facilitator.hold_verify(Verify::Valid);
    let one = house.redeem("/paid/ok", &first);
    let other = async {
        house.facilitator.verify_reached(1).await;
        // Free requests and challenges need no facilitator.
        assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200);
        house.challenge("/paid/ok").await;
        let surplus = house.redeem("/paid/ok", &second).await;
        assert_turned_away(&surplus, 503, "overloaded", "calls_in_flight");
        assert_eq!(
            (surplus.json()["retry"].as_str(), surplus.header("retry-after")),
            (Some("same_payment"), Some("2"))
        );
        latch.release();
    };
    let (one, ()) = futures::join!(one, other);
    assert_eq!((one.status, house.facilitator.calls()), (200, (1, 1)));
    assert_eq!(refused(&house, "calls_in_flight").await, 1.0);
    assert_eq!(house.redeem("/paid/ok", &second).await.status, 200);
    assert_eq!(house.facilitator.charged(), 2);
}

/// The upstream has worked: its payment waits for room instead of being turned away.
#[tokio::test]
async fn settlements_wait_for_room_and_are_made_one_after_the_other() {
    let house = House::build("verify = \"local\"", |setup| setup.facilitator("calls_in_flight = 1")).await;
    let payments = [house.payment("/paid/ok").await, house.payment("/paid/ok").await, house.payment("/paid/ok").await];
    let latch = house.facilitator.hold_settle(Settle::Settled);
    let all = join_all(payments.iter().map(|payment| house.redeem("/paid/ok", payment)));
    let release = async {
        house.upstream.reached(3).await;
        house.facilitator.settle_reached(1).await;
        latch.release();
    };
    let (responses, ()) = futures::join!(all, release);
    for response in &responses {
        assert_eq!(response.status, 200, "{response:?}");
    }
    assert_eq!((house.facilitator.charged(), refused(&house, "calls_in_flight").await), (3, 0.0));
}

#[tokio::test]
async fn a_client_that_brings_payments_too_often_is_told_to_come_back() {
    let house = with_server("payment_limit = \"1/d\"", "").await;
    let (first, second) = (house.payment("/paid/ok").await, house.payment("/paid/ok").await);
    assert_eq!(house.redeem("/paid/ok", &first).await.status, 200);
    let late = house.redeem("/paid/ok", &second).await;
    assert_turned_away(&late, 429, "too_many_requests", "payment_limit");
    assert_eq!((house.facilitator.calls(), refused(&house, "payment_limit").await), ((1, 1), 1.0));
    house.challenge("/paid/ok").await;
}

#[tokio::test]
async fn a_payment_header_that_is_too_long_is_counted() {
    let house = with_server("payment_header_bytes = 1024", "").await;
    for (bytes, count) in [(1024, 0.0), (1025, 1.0)] {
        let request = Request::get("/paid/ok").header("X-PAYMENT", "A".repeat(bytes));
        assert_eq!(house.gateway.send(request).await.status, 400);
        assert_eq!(refused(&house, "payment_header_bytes").await, count);
    }
}

/// A client that goes on sending, and has taken nothing yet of what was answered, would find its connection reset
/// instead of the answer.
#[tokio::test]
async fn who_is_still_sending_a_chunked_body_that_is_refused_can_read_why() {
    let house = with_body_limit("on-success").await;
    let payment = house.payment("/paid/echo").await;
    let (name, value) = payment.header();
    // More than the sockets' buffers hold, less than what the gateway gives up at.
    let chunk = format!("{:x}\r\n{}\r\n", 1_000_000, "x".repeat(1_000_000));
    for (fields, status) in [("X-Unpaid: 1".to_owned(), 402), (format!("{name}: {value}"), 413)] {
        let mut connection = house.gateway.connect().await;
        let head = format!("POST /paid/echo HTTP/1.1\r\nHost: {}\r\n", house.gateway.address());
        connection.send_bytes(format!("{head}{fields}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
        for number in 0..12 {
            let sent = connection.try_send_bytes(chunk.as_bytes()).await;
            sent.unwrap_or_else(|error| panic!("chunk {number} for {status}: {error}"));
        }
        connection.send_bytes(b"0\r\n\r\n").await;
        let head = connection.head("POST").await;
        assert!(head.headers.lists("connection", "close"), "{status}");
        assert_eq!((head.status, connection.finish(head).await.complete), (status, true));
        assert!(connection.is_closed().await, "{status}");
    }
    assert_eq!((house.facilitator.charged(), house.upstream.count()), (0, 0));
}

/// An interim response is not the answer yet.
#[tokio::test]
async fn who_was_given_leave_to_send_a_body_is_told_what_became_of_it() {
    let house = with_body_limit("on-success").await;
    let payment = house.payment("/paid/echo").await;
    let (name, value) = payment.header();
    let mut connection = house.gateway.connect().await;
    let head = format!("POST /paid/echo HTTP/1.1\r\nHost: {}\r\n{name}: {value}\r\n", house.gateway.address());
    connection.send_bytes(format!("{head}Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n").as_bytes()).await;
    connection.some_body().await;
    let chunk = format!("{:x}\r\n{}\r\n", 1_000_000, "x".repeat(1_000_000));
    for number in 0..12 {
        let sent = connection.try_send_bytes(chunk.as_bytes()).await;
        sent.unwrap_or_else(|error| panic!("chunk {number}: {error}"));
    }
    connection.send_bytes(b"0\r\n\r\n").await;
    let head = connection.head("POST").await;
    assert_eq!(head.interim, [100]);
    assert_turned_away(&connection.finish(head).await, 413, "body_too_large", "request_body_bytes");
    assert_eq!((house.facilitator.charged(), house.upstream.count()), (0, 0));

    // The same of an upstream that gives up behind an interim response.
    house.upstream.queue(Answer::Raw(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n".to_vec()));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    let head = connection.head("GET").await;
    assert_eq!((head.status, head.interim.as_slice()), (502, [103].as_slice()));
    assert_eq!(connection.finish(head).await.error(), "upstream_broken");
    house.gateway.entry_becomes("given back", |entry| entry.state() == "failed").await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200, "the payment is as good as before");
}

#[tokio::test]
async fn who_never_stops_sending_what_is_refused_is_cut_off() {
    let house = House::with_route("").await;
    let chunk = format!("{:x}\r\n{}\r\n", 1_000_000, "x".repeat(1_000_000));
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 1000000000000"] {
        let mut connection = house.gateway.connect().await;
        let head = format!("POST /paid/echo HTTP/1.1\r\nHost: a.example\r\n{framing}\r\n\r\n");
        connection.send_bytes(head.as_bytes()).await;
        let mut chunks = 0;
        while connection.try_send_bytes(chunk.as_bytes()).await.is_ok() {
            chunks += 1;
            assert!(chunks < 100, "{chunks} MB of {framing}");
        }
    }
    assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200);
}
