//! A connection before a request is read: who waits too long is closed, who is too many is closed, and whom it comes
//! from is what a PROXY header says where one is expected.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::upstream::BIG_BYTES;
use crate::support::{Answer, Connection, Gateway, House, Request, Setup, eventually, within};

async fn house(server: &str) -> House {
    House::build("", |setup| setup.server(server)).await
}

/// Waits until so many connections have been closed for this reason.
async fn closed(gateway: &Gateway, reason: &str, count: f64) {
    eventually(&format!("{count} connections closed: {reason}"), async || {
        let closed = gateway.metrics().await.sum("farebox_connections_closed_total", &[("reason", reason)]);
        (closed >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_head_that_drips_is_closed_and_counted() {
    let house = house("header_timeout = \"300ms\"").await;
    let mut slow = house.gateway.connect().await;
    let head = b"GET /free/a HTTP/1.1\r\nHost: x\r\nX-Long: ";
    slow.try_send_bytes(head).await.expect("the head begins");
    // Each byte would restart a timeout that is only for one read.
    within("the connection to be closed", async {
        while slow.try_send_bytes(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    closed(&house.gateway, "header_timeout", 1.0).await;
    assert_eq!(house.upstream.count(), 0);
    // The second request of a connection has the same time.
    let mut slow = house.gateway.connect().await;
    assert_eq!(slow.exchange(&Request::get("/free/a")).await.status, 200);
    slow.send_bytes(head).await;
    assert!(slow.is_closed().await);
    closed(&house.gateway, "header_timeout", 2.0).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_before_and_between_requests() {
    let house = house("idle_timeout = \"300ms\"").await;
    assert!(house.gateway.connect().await.is_closed().await);
    closed(&house.gateway, "idle_timeout", 1.0).await;
    let mut connection = house.gateway.connect().await;
    for path in ["/free/a", "/paid/a"] {
        connection.exchange(&Request::get(path)).await;
    }
    assert!(connection.is_closed().await);
    closed(&house.gateway, "idle_timeout", 2.0).await;
}

#[tokio::test]
async fn a_request_may_take_longer_than_a_head_or_an_idle_connection() {
    let house = house("header_timeout = \"200ms\"\nidle_timeout = \"200ms\"").await;
    let latch = house.upstream.hold(Answer::text(200, "late"));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/free/a")).await;
    house.upstream.reached(1).await;
    // A connection that is opened now is closed as idle: so much time has passed for the first one, too.
    assert!(house.gateway.connect().await.is_closed().await);
    latch.release();
    let head = connection.head("GET").await;
    assert_eq!(connection.finish(head).await.text(), "late");
}

#[tokio::test]
async fn one_connection_more_than_there_may_be_is_closed_at_once() {
    let house = house("connections = 3").await;
    let mut open: Vec<Connection> = Vec::new();
    while open.len() < 3 {
        // The ones that waited for the gateway to start may still be there.
        open.push(served(&house.gateway).await);
    }
    let before = house.gateway.metrics().await.sum("farebox_connections_closed_total", &[("reason", "connections")]);
    assert!(house.gateway.connect().await.is_closed().await);
    closed(&house.gateway, "connections", before + 1.0).await;
    assert_eq!(house.gateway.metrics().await.sum("farebox_connections", &[]), 3.0);
    // A place that is free again is given away.
    open.pop();
    served(&house.gateway).await;
}

/// A connection that has a place: one without is closed.
async fn served(gateway: &Gateway) -> Connection {
    eventually("a connection that is served", async || {
        let mut connection = gateway.connect().await;
        connection.send(&Request::get("/free/a")).await;
        let head = connection.try_head("GET").await?;
        connection.finish(head).await;
        Some(connection)
    })
    .await
}

#[tokio::test]
async fn a_reload_changes_the_limits_of_open_connections() {
    let house = house("header_timeout = \"1s\"\nidle_timeout = \"1h\"").await;
    let mut connection = house.gateway.connect().await;
    assert_eq!(connection.exchange(&Request::get("/free/a")).await.status, 200);
    let text = std::fs::read_to_string(house.gateway.config()).expect("the config");
    house.gateway.rewrite_text(&text.replace("\"1h\"", "\"300ms\""));
    assert_eq!(house.gateway.reload().await.status, 200);
    assert!(connection.is_closed().await);
    assert!(house.gateway.connect().await.is_closed().await);
}

#[tokio::test]
async fn a_body_that_stands_still_is_answered_408_and_charges_nothing() {
    let house = house("body_timeout = \"300ms\"").await;
    let payment = house.payment("/paid/echo").await;
    let (name, value) = payment.header();
    let mut slow = house.gateway.connect().await;
    let head = format!("POST /paid/echo HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Length: 10\r\n\r\nhalf.");
    slow.send_bytes(head.as_bytes()).await;
    let head = slow.head("POST").await;
    assert_eq!(slow.finish(head).await.error(), "request_timeout");
    closed(&house.gateway, "body_timeout", 1.0).await;
    assert_eq!(house.facilitator.settles().len(), 0);
    // The payment is as good as before.
    let request = Request::post("/paid/echo", "whole").paid(&payment);
    assert_eq!(house.gateway.send(request).await.text(), "whole");
}

/// An upstream that waits for the rest of a body has not failed, however short its own time is.
#[tokio::test]
async fn a_body_that_stands_still_for_longer_than_the_upstream_may_is_not_the_upstreams_fault() {
    let house = House::build("", |setup| setup.upstream("read_timeout = \"300ms\"")).await;
    let head = |fields: &str| format!("POST /free/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n{fields}\r\n");
    let mut slow = house.gateway.connect().await;
    slow.send_bytes(format!("{}half.", head("")).as_bytes()).await;
    let answer = slow.head("POST").await;
    assert_eq!(slow.finish(answer).await.error(), "request_timeout");
    closed(&house.gateway, "body_timeout", 1.0).await;
    // Who waits for leave that the upstream does not give owes nothing.
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let facilitator = crate::support::FakeFacilitator::start().await;
    let setup = Setup::new(&house.upstream, &facilitator)
        .sections(
            "[upstreams.mute]\nservers = [\"MUTE\"]\nread_timeout = \"300ms\""
                .replace("MUTE", &upstream.local_addr().expect("its address").to_string())
                .as_str(),
        )
        .sections("[[route]]\npath = \"/mute\"\nupstream = \"mute\"\nprice = \"free\"");
    let gateway = Gateway::start(setup).await;
    let mut waits = gateway.connect().await;
    waits.send_bytes(head("Expect: 100-continue\r\n").replace("/free/echo", "/mute").as_bytes()).await;
    let answer = waits.head("POST").await;
    assert_eq!(waits.finish(answer).await.error(), "upstream_timeout");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed() {
    let house = house("send_timeout = \"300ms\"").await;
    // Larger than what the system keeps for a connection.
    house.upstream.queue(Answer::Full { status: 200, headers: vec![], body: vec![b'x'; 4 * BIG_BYTES] });
    let mut connection = TcpStream::connect(house.gateway.address()).await.expect("a connection");
    connection.write_all(b"GET /free/a HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("a request");
    closed(&house.gateway, "send_timeout", 1.0).await;
    let mut got = Vec::new();
    let _ = within("the end", connection.read_to_end(&mut got)).await;
    assert!(got.len() < 4 * BIG_BYTES, "{} bytes", got.len());
}

#[tokio::test]
async fn a_short_request_without_a_host_is_answered_and_does_not_hang() {
    let house = house("").await;
    // 18 bytes: fewer than HTTP/2's preface.
    let mut connection = house.gateway.connect().await;
    connection.send_bytes(b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(connection.head("GET").await.status, 404);
    // A method that begins as the preface does.
    let mut connection = house.gateway.connect().await;
    for byte in b"PRI / HTTP/1.1\r\nHost: x\r\n\r\n" {
        connection.try_send_bytes(&[*byte]).await.expect("a byte");
    }
    assert_eq!(connection.head("PRI").await.status, 404);
}

/// What an upstream was told of who asked, over a connection that begins with these bytes.
async fn forwarded_for(house: &House, header: &[u8]) -> Option<String> {
    let mut connection = house.gateway.connect().await;
    connection.send_bytes(header).await;
    connection.send(&Request::get("/free/a")).await;
    connection.try_head("GET").await?;
    let request = house.upstream.requests().into_iter().next_back().expect("a request");
    request.header("x-forwarded-for").map(str::to_owned)
}

/// 203.0.113.9 to 192.0.2.1, and a type-length-value that nobody asked for.
fn version_2(command: u8) -> Vec<u8> {
    let head = [b"\r\n\r\n\x00\r\nQUIT\n".as_slice(), &[0x20 | command, 0x11, 0, 16]].concat();
    [&head[..], &[203, 0, 113, 9, 192, 0, 2, 1, 0x04, 0xd2, 0x01, 0xbb, 4, 0, 1, 0]].concat()
}

#[tokio::test]
async fn a_proxy_header_says_whom_a_connection_comes_from() {
    let house = house("proxy_protocol = [\"127.0.0.1\"]").await;
    for (header, address) in [
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 443\r\n".to_vec(), "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 1234 443\r\n".to_vec(), "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(1), "203.0.113.9"),
        (version_2(0), "127.0.0.1"),
    ] {
        assert_eq!(forwarded_for(&house, &header).await.as_deref(), Some(address), "{header:?}");
    }
}

#[tokio::test]
async fn what_must_begin_with_a_proxy_header_and_does_not_is_closed() {
    let house = house("proxy_protocol = [\"127.0.0.0/8\"]\nheader_timeout = \"300ms\"").await;
    let bad: [&[u8]; 5] = [
        b"",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 99999\r\n",
        b"PROXY TCP9 203.0.113.9 192.0.2.1 1234 443\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x00",
        &[b'x'; 5000],
    ];
    let before = house.gateway.metrics().await.sum("farebox_connections_closed_total", &[("reason", "proxy_protocol")]);
    for bytes in bad {
        assert_eq!(forwarded_for(&house, bytes).await, None, "{bytes:?}");
    }
    closed(&house.gateway, "proxy_protocol", before + bad.len() as f64).await;
    // Half a header has as much time as a head.
    let mut half = house.gateway.connect().await;
    half.send_bytes(b"PROXY TCP4 203.0.113.9 ").await;
    assert!(half.is_closed().await);
    closed(&house.gateway, "header_timeout", 1.0).await;
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn a_proxy_header_from_elsewhere_is_no_request() {
    let house = house("proxy_protocol = [\"192.0.2.0/24\"]").await;
    let mut connection = house.gateway.connect().await;
    connection.send_bytes(b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 443\r\n").await;
    connection.send(&Request::get("/free/a")).await;
    assert_eq!(connection.head("GET").await.status, 400);
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_process_with_2_before_it_serves() {
    let house = house("").await;
    let text = std::fs::read_to_string(house.gateway.config()).expect("the config");
    let (status, said) = house.gateway.second(&text.replace("sqlite:farebox.db", "memory:")).await;
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("cannot listen on {}", house.gateway.address())), "{said}");
}

#[tokio::test]
async fn an_upstream_whose_name_leads_nowhere_is_a_502_and_holds_up_nobody() {
    let upstream = crate::support::Upstream::start().await;
    let facilitator = crate::support::FakeFacilitator::start().await;
    let setup = Setup::new(&upstream, &facilitator)
        .sections("[upstreams.nowhere]\nservers = [\"farebox-test.invalid:80\", \"http://no-such.invalid\"]")
        .route("free", "/free/*", "price = \"free\"")
        .route("gone", "/gone/*", "price = \"free\"");
    let gateway = Gateway::start(setup).await;
    let text = std::fs::read_to_string(gateway.config()).expect("the config");
    let moved = text.replace("path = \"/gone/*\"\nupstream = \"api\"", "path = \"/gone/*\"\nupstream = \"nowhere\"");
    assert_ne!(text, moved);
    gateway.rewrite_text(&moved);
    assert_eq!(gateway.reload().await.status, 200);
    assert_eq!(gateway.send(Request::get("/gone/a")).await.error(), "upstream_unreachable");
    assert_eq!(gateway.send(Request::get("/free/a")).await.status, 200);
}
