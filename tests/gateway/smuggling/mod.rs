//! Requests that two servers would cut apart at different places: the upstream never sees two for one.

mod upstream;

use crate::support::h2::finish;
use crate::support::{Connection, Gateway, Http2, Request, Setup, within};
use upstream::Strict;

/// The request that is smuggled. Should it ever arrive as one, the upstream says so.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\nX: ";

/// What is to become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// 4xx or 5xx, or no answer at all, and nothing behind it on that connection; the upstream may have seen it begin.
    Refused,
    /// No request at the upstream, or one whose body ends where this engine says it does.
    AtMostOne,
    /// One request at the upstream, whose body is all that came.
    One,
    /// One request at the upstream, and what stands behind it is another that is dropped with the connection.
    OneThenClosed,
}

use Fate::{AtMostOne, One, OneThenClosed, Refused};

/// A POST with these fields and body, each line of which is written as it stands.
fn post(fields: &str, body: &str) -> String {
    format!("POST /free/ok HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n{body}")
}

/// With a `Transfer-Encoding` of this line, and a `Content-Length` for those who do not take it for one.
fn obfuscated(line: &str) -> String {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    post(&format!("Content-Length: {}\r\n{line}\r\n", body.len()), &body)
}

/// A body in chunks, as it stands, with the smuggled request behind it.
fn chunked(chunks: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", &format!("{chunks}{SMUGGLED}"))
}

fn attacks() -> Vec<(String, Fate)> {
    let plain = "Transfer-Encoding: chunked";
    let mut attacks = vec![
        // CL.TE and TE.CL: the front reads one, the back the other.
        (post(&format!("Content-Length: 6\r\n{plain}\r\n"), &format!("0\r\n\r\n{SMUGGLED}")), Refused),
        (post(&format!("{plain}\r\nContent-Length: 6\r\n"), &format!("0\r\n\r\n{SMUGGLED}")), Refused),
        (post(&format!("Content-length: 4\r\n{plain}\r\n"), &format!("5c\r\n{SMUGGLED}\r\n0\r\n\r\n")), Refused),
        (post(&format!("content-length:0\r\n{plain}\r\n"), &format!("0\r\n\r\n{SMUGGLED}")), Refused),
        // CL.CL.
        (post("Content-Length: 8\r\nContent-Length: 0\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 0\r\nContent-Length: 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 8\r\nContent-Length: 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 8, 0\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 8, 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        // Lengths that are read differently.
        (post("Content-Length: +8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: -1\r\n", SMUGGLED), Refused),
        (post("Content-Length: 0x8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 8;x\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 8 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 1e1\r\n", &format!("1234567890{SMUGGLED}")), Refused),
        (post("Content-Length: 8.0\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 99999999999999999999\r\n", SMUGGLED), Refused),
        (post("Content-Length: 18446744073709551616\r\n", SMUGGLED), Refused),
        (post("Content-Length:\r\n", SMUGGLED), Refused),
        (post("Content-Length : 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length\t: 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: \r\n 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post(" Content-Length: 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("Content-Length: 8\r\nContent_Length: 0\r\n", "12345678"), One),
        (post(&format!("Content-Length: {:05}\r\n", 8), "12345678"), One),
        // CL.0: a backend that takes no body where it expects none.
        (post(&format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED), One),
        (post(&format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED).replacen("POST", "GET", 1), One),
        (post(&format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED).replacen("POST", "OPTIONS", 1), One),
        (post(&format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED).replacen("POST", "DELETE", 1), One),
        (post(&format!("Connection: Content-Length\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED), One),
        (post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), One),
        // 0.CL: no body, and a request behind.
        (format!("GET /free/ok HTTP/1.1\r\nHost: a.example\r\n\r\n{SMUGGLED}"), OneThenClosed),
        (post("", SMUGGLED), OneThenClosed),
        (post("Content-Length: 0\r\n", SMUGGLED), OneThenClosed),
        // HTTP/1.0 knows no chunks.
        (chunked("0\r\n\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1), Refused),
        // Lines that end in LF alone, or in CR alone.
        (post(&format!("{plain}\n"), &format!("0\r\n\r\n{SMUGGLED}")), Refused),
        (post("X: y\nContent-Length: 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("X: y\n\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n", ""), Refused),
        (format!("POST /free/ok HTTP/1.1\nHost: a.example\nContent-Length: 0\n\n{SMUGGLED}"), Refused),
        (format!("POST /free/ok HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\n{SMUGGLED}"), Refused),
        (post("X: y\rContent-Length: 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("X: y\r\rContent-Length: 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("X: y\r\n\rContent-Length: 8\r\n", &format!("12345678{SMUGGLED}")), Refused),
        (post("X: y\0z\r\nContent-Length: 0\r\n", SMUGGLED), Refused),
        // What stands in the request line.
        (format!("GET /free/ok HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n{SMUGGLED}"), Refused),
        (format!("GET /free/ok HTTP/1.2\r\nHost: a.example\r\n\r\n{SMUGGLED}"), Refused),
        (format!("GET /free/ok HTTP/2.0\r\nHost: a.example\r\n\r\n{SMUGGLED}"), Refused),
        (format!("GET /free/ok\r\nHost: a.example\r\n\r\n{SMUGGLED}"), Refused),
        // Chunks.
        (chunked("0\r\n\r\n"), OneThenClosed),
        (chunked("3\r\nabc\r\n0\r\n\r\n"), OneThenClosed),
        (chunked("3;x=y\r\nabc\r\n0;z\r\n\r\n"), OneThenClosed),
        (chunked("0000000003\r\nabc\r\n0\r\n\r\n"), OneThenClosed),
        (chunked("3\r\nabc\r\n0\r\nX-Trailer: y\r\n\r\n"), OneThenClosed),
        (chunked("3\r\nabc\r\n0\r\nContent-Length: 50\r\nHost: b\r\n\r\n"), OneThenClosed),
        (chunked("3\r\nabc\r\n0\r\nfarebox-payer: 0x1\r\n\r\n"), OneThenClosed),
    ];
    // TE.TE: a name or a value that one of two servers does not take for chunked.
    for line in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: x chunked",
        "Transfer-Encoding: chunked x",
        "Transfer-Encoding: chunked;x=y",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding:chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: \tchunked\t",
        "Transfer-Encoding: chunked ",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: \x0cchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding: \x00chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\x0b: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\r\n: chunked",
        "Transfer-Encoding: chunk\r\n ed",
        "TRANSFER-ENCODING: CHUNKED",
        "transfer-encoding: Chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, cow",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: , chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: x",
    ] {
        attacks.push((obfuscated(line), Refused));
    }
    // Names that a careless server takes for the field: here they are others, and the length counts.
    for line in [
        "Transfer_Encoding: chunked",
        "X-Transfer-Encoding: chunked",
        "Transfer-Encodin: chunked",
        "TransferEncoding: chunked",
        "X: Transfer-Encoding: chunked",
        "Content-Encoding: chunked",
        "TE: chunked",
    ] {
        attacks.push((obfuscated(line), One));
    }
    // Sizes and ends of chunks that are read differently.
    for chunks in [
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3g\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        ";x\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcXX0\r\n\r\n",
        "3;x\nabc\r\n0\r\n\r\n",
        "3;x\ny\r\nabc\r\n0\r\n\r\n",
        "3;\n\r\nabc\r\n0\r\n\r\n",
        "3\x00\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\n",
        "3\r\nabc\r\n0\r\n\n",
        "3\r\nabc\r\n0\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\n\n",
        "3\r\nabc\r\n0x0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "100000000000000000000000000000003\r\nabc\r\n0\r\n\r\n",
    ] {
        attacks.push((chunked(chunks), AtMostOne));
    }
    attacks
}

#[tokio::test]
async fn two_requests_never_come_of_one() {
    let upstream = Strict::start().await;
    let setup = Setup::at(upstream.address(), "url = \"sandbox:\"").route("free", "/*", "price = \"free\"");
    let gateway = Gateway::start(setup).await;
    for (attack, fate) in attacks() {
        let before = upstream.requests();
        let mut connection = gateway.connect().await;
        connection.send_bytes(attack.as_bytes()).await;
        if matches!(fate, Refused | AtMostOne) {
            // What waits for more is not to get it.
            connection.finish_sending().await;
        }
        let head = connection.try_head("POST").await;
        let status = head.as_ref().map(|head| head.status);
        if let Some(head) = head {
            connection.finish(head).await;
        }
        // The connection's next request would tell what was left behind: there is none, or it is answered by itself.
        honest(&gateway).await;
        let seen = upstream.requests().split_off(before.len());
        assert_eq!(upstream.complaints(), Vec::<String>::new(), "after {attack:?}");
        let (own, attacked): (Vec<_>, Vec<_>) = seen.into_iter().partition(|request| request.target == "/honest");
        assert_eq!(own.len(), 1, "after {attack:?}");
        assert!(attacked.iter().all(|request| request.target == "/free/ok"), "{attack:?}: {attacked:#?}");
        match fate {
            Refused => {
                assert!(status.is_none_or(|status| status >= 400), "{status:?} for {attack:?}");
                assert!(attacked.is_empty(), "{attack:?}: {attacked:#?}");
            }
            AtMostOne => assert!(attacked.len() <= 1, "{attack:?}: {attacked:#?}"),
            One | OneThenClosed => {
                assert_eq!((status, attacked.len()), (Some(200), 1), "{attack:?}: {attacked:#?}");
                let body = attack.split_once("\r\n\r\n").expect("a head").1;
                let whole = fate == One && !attack.contains("\r\nTransfer-Encoding: chunked\r\n");
                assert!(!whole || attacked[0].body == body.as_bytes(), "{attack:?}: {attacked:#?}");
            }
        }
    }
    assert!(!gateway.stderr().contains("panicked"));
}

/// What a client says behind a body could pass for what the gateway says: it goes no further.
#[tokio::test]
async fn no_field_behind_a_body_reaches_the_upstream() {
    let upstream = Strict::start().await;
    let setup = Setup::at(upstream.address(), "url = \"sandbox:\"").route("free", "/*", "price = \"free\"");
    let gateway = Gateway::start(setup).await;
    let mut client = Http2::open(gateway.address()).await;
    let (response, mut stream) = client.begin(&Request::post("/free/ok", "abc"), false).await.expect("a stream");
    let trailers = [("farebox-payer", "0x1"), ("x-sum", "1"), ("content-length", "50")];
    let trailers =
        trailers.map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    stream.send_trailers(trailers.into_iter().collect()).expect("trailers");
    let (response, _) = within("the answer", finish(response)).await.expect("an answer");
    assert_eq!(response.status, 200);
    honest(&gateway).await;
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    assert_eq!(upstream.requests()[0].body, b"abc");
}

/// Somebody else's request, over connections to the upstream that an attack may have been on.
async fn honest(gateway: &Gateway) {
    let mut connection: Connection = gateway.connect().await;
    connection.send_bytes(b"GET /honest HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
    let head = connection.head("GET").await;
    let response = connection.finish(head).await;
    assert_eq!((response.status, response.text().as_str()), (200, "/honest"));
}
