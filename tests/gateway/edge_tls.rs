//! TLS towards clients.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::ports::Port;
use crate::support::tls::{self, Certificate, Certificates};
use crate::support::{Challenge, House, Http2, Request, eventually, within};

struct Encrypted {
    house: House,
    address: SocketAddr,
    certificate: Certificate,
    files: Certificates,
    _port: Port,
}

/// A gateway with a listener of either kind.
async fn house(server: &str) -> Encrypted {
    let certificate = Certificate::make();
    let files = Certificates::with(&certificate);
    let port = Port::claim();
    let address = SocketAddr::from(([127, 0, 0, 1], port.number));
    let house = House::build("", |setup| setup.server(server).server(&files.server_key(port.number))).await;
    Encrypted { house, address, certificate, files, _port: port }
}

impl Encrypted {
    async fn connect(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        tls::connect(self.address, b"", &self.certificate, protocols).await.expect("a TLS connection")
    }

    async fn http2(&self) -> Http2 {
        Http2::over(self.connect(&["h2"]).await, "gateway.test".into(), "https").await
    }

    async fn closed(&self, reason: &str) {
        eventually(&format!("a connection closed: {reason}"), async || {
            let metrics = self.house.gateway.metrics().await;
            (metrics.sum("farebox_connections_closed_total", &[("reason", reason)]) >= 1.0).then_some(())
        })
        .await;
    }
}

/// One request of HTTP/1.1 that ends its connection, and all that came back.
async fn last_request(stream: &mut TlsStream<TcpStream>) -> String {
    let request = b"GET /free/a HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("a request");
    let mut answer = Vec::new();
    // A server need not say goodbye in TLS when HTTP has said it.
    let _ = within("the answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_client_chooses_its_http_and_the_plain_listener_stays() {
    let encrypted = house("").await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let mut stream = encrypted.connect(offered).await;
        assert_eq!(tls::protocol(&stream).as_deref(), agreed, "{offered:?}");
        if agreed != Some("h2") {
            assert!(last_request(&mut stream).await.starts_with("HTTP/1.1 200"), "{offered:?}");
        }
    }
    assert_eq!(encrypted.house.gateway.send(Request::get("/free/a")).await.status, 200);
    let schemes: Vec<_> = encrypted.house.upstream.requests();
    let schemes: Vec<_> = schemes.iter().map(|request| request.header("x-forwarded-proto")).collect();
    assert_eq!(schemes, [Some("https"), Some("https"), Some("http")]);
}

#[tokio::test]
async fn a_request_is_paid_over_http2_and_tls() {
    let encrypted = house("").await;
    let mut client = encrypted.http2().await;
    let challenge = Challenge::of(&client.exchange(&Request::get("/paid/ok")).await);
    assert_eq!(challenge.url(), "https://gateway.test/paid/ok");
    let payment = encrypted.house.payer.pay_v2(&challenge);
    let paid = client.exchange(&Request::get("/paid/ok").paid(&payment)).await;
    assert_eq!((paid.status, paid.text().as_str()), (200, "ok"));
    assert_eq!(paid.settlement().expect("PAYMENT-RESPONSE")["success"], true);
    encrypted.house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_after_a_reload_and_a_bad_one_never() {
    let mut encrypted = house("").await;
    let mut before = encrypted.http2().await;
    assert_eq!(before.exchange(&Request::get("/free/a")).await.status, 200);
    let renewed = Certificate::make();
    // The certificate has been written, the key not yet.
    encrypted.files.put(&renewed.pem, &encrypted.certificate.key_pem);
    let refused = encrypted.house.gateway.reload().await;
    assert!(refused.text().contains("the key does not belong to the certificate"), "{}", refused.text());
    encrypted.connect(&["h2"]).await;
    encrypted.files.put(&renewed.pem, &renewed.key_pem);
    assert_eq!(encrypted.house.gateway.reload().await.json()["ok"], true);
    let old = std::mem::replace(&mut encrypted.certificate, renewed);
    encrypted.connect(&["h2"]).await;
    assert!(tls::connect(encrypted.address, b"", &old, &["h2"]).await.is_err(), "the old one is shown no more");
    assert_eq!(before.exchange(&Request::get("/free/a")).await.status, 200, "who was there before stays");
}

#[tokio::test]
async fn a_handshake_that_is_none_and_one_that_does_not_end_are_closed() {
    let encrypted = house("header_timeout = \"300ms\"").await;
    let mut wrong = TcpStream::connect(encrypted.address).await.expect("a connection");
    wrong.write_all(b"GET /free/a HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("bytes");
    let mut answer = Vec::new();
    let _ = within("the end", wrong.read_to_end(&mut answer)).await;
    encrypted.closed("tls_handshake").await;
    let mut half = TcpStream::connect(encrypted.address).await.expect("a connection");
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("bytes");
    let _ = within("the end", half.read_to_end(&mut answer)).await;
    encrypted.closed("header_timeout").await;
    assert_eq!(encrypted.house.upstream.count(), 0);
}

#[tokio::test]
async fn limits_hold_behind_tls_too() {
    let encrypted = house("header_timeout = \"300ms\"\nidle_timeout = \"600ms\"").await;
    let mut slow = encrypted.connect(&["http/1.1"]).await;
    slow.write_all(b"GET /free/a HTTP/1.1\r\n").await.expect("half a head");
    let mut answer = Vec::new();
    let _ = within("the end", slow.read_to_end(&mut answer)).await;
    encrypted.closed("header_timeout").await;
    let mut silent = encrypted.connect(&["h2"]).await;
    let _ = within("the end", silent.read_to_end(&mut answer)).await;
    encrypted.closed("idle_timeout").await;
}

#[tokio::test]
async fn a_proxy_header_stands_before_tls() {
    let encrypted = house("proxy_protocol = [\"127.0.0.1\"]").await;
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 443\r\n";
    let stream = tls::connect(encrypted.address, header, &encrypted.certificate, &["h2"]).await.expect("TLS");
    let mut client = Http2::over(stream, "gateway.test".into(), "https").await;
    assert_eq!(client.exchange(&Request::get("/free/a")).await.status, 200);
    let request = encrypted.house.upstream.only_request();
    assert_eq!(request.header("x-forwarded-for"), Some("203.0.113.9"));
    assert!(tls::connect(encrypted.address, b"", &encrypted.certificate, &["h2"]).await.is_err());
    encrypted.closed("proxy_protocol").await;
}
