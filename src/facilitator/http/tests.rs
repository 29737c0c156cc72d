use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Secret;
use crate::facilitator::testing::{PAYER, order};
use crate::x402::{Dialect, Reason};

const TRANSACTION: &str = "0x5b464b43c053fea31769aadab502b2c27c9ee9bc2c177560b52084add1d11fc8";
const LONG: Duration = Duration::from_secs(30);
/// For calls that are meant to run into it.
const SHORT: Duration = Duration::from_millis(150);

fn config(url: &str) -> config::HttpFacilitator {
    config::HttpFacilitator {
        url: url.parse().unwrap(),
        bearer: None,
        headers: Vec::new(),
        connect_timeout: LONG,
        read_timeout: LONG,
        verify_timeout: LONG,
        settle_timeout: LONG,
        calls_in_flight: 8,
    }
}

fn client(config: &config::HttpFacilitator) -> HttpFacilitator {
    HttpFacilitator::new("main".into(), config).unwrap()
}

/// Listens until the test's runtime ends.
async fn serve(router: Router) -> SocketAddr {
    serve_counting(router).await.0
}

/// The same, with the number of connections that were accepted.
async fn serve_counting(router: Router) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counting = Counting { listener, accepted: accepted.clone() };
    tokio::spawn(async move { axum::serve(counting, router).await });
    (address, accepted)
}

struct Counting {
    listener: TcpListener,
    accepted: Arc<AtomicUsize>,
}

impl axum::serve::Listener for Counting {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let accepted = axum::serve::Listener::accept(&mut self.listener).await;
        self.accepted.fetch_add(1, Ordering::SeqCst);
        accepted
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What a server does to a connection that is no use to anybody.
#[derive(Debug, Clone, Copy)]
enum Hostile {
    ClosesAtOnce,
    ClosesAfterReading,
    NeverAnswers,
    StopsInTheHead,
    StopsInTheBody,
    CutsTheBody,
    Drips,
    SpeaksNonsense,
    SaysMoreThanItMeans,
}

const DECISION: &str = r#"{"success":true,"isValid":true,"transaction":"0x01"}"#;

async fn be_hostile(hostile: Hostile) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // Kept, so that nothing but the behaviour closes a connection.
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if matches!(hostile, Hostile::ClosesAtOnce) {
                continue;
            }
            read_request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            let full = DECISION.len();
            let said = match hostile {
                Hostile::ClosesAtOnce | Hostile::ClosesAfterReading => continue,
                Hostile::NeverAnswers => String::new(),
                Hostile::StopsInTheHead => head.to_owned(),
                Hostile::StopsInTheBody | Hostile::CutsTheBody => {
                    format!("{head}content-length: {}\r\n\r\n{DECISION}", full + 1)
                }
                Hostile::Drips => format!("{head}content-length: 100000\r\n\r\n"),
                Hostile::SpeaksNonsense => "220 mail.example.com ESMTP\r\n".to_owned(),
                Hostile::SaysMoreThanItMeans => format!("{head}content-length: {full}\r\n\r\n{DECISION}{DECISION}"),
            };
            let _ = stream.write_all(said.as_bytes()).await;
            match hostile {
                Hostile::CutsTheBody => drop(stream),
                Hostile::Drips => {
                    tokio::spawn(async move {
                        while stream.write_all(b" ").await.is_ok() {
                            tokio::time::sleep(SHORT / 8).await;
                        }
                    });
                }
                Hostile::ClosesAtOnce
                | Hostile::ClosesAfterReading
                | Hostile::NeverAnswers
                | Hostile::StopsInTheHead
                | Hostile::StopsInTheBody
                | Hostile::SpeaksNonsense
                | Hostile::SaysMoreThanItMeans => open.push(stream),
            }
        }
    });
    address
}

/// Reads to the end of the head of a `GET`, of the JSON of a `POST`.
async fn read_request(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !(read.ends_with(b"}") || read.starts_with(b"GET ") && read.ends_with(b"\r\n\r\n")) {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn kind_of(settlement: &Settlement) -> String {
    match settlement {
        Settlement::Settled { transaction, .. } => format!("settled {transaction}"),
        Settlement::Refused { reason, .. } => format!("refused {reason}"),
        Settlement::NotSent { fault } => format!("not sent {}", fault.kind.label()),
        Settlement::Unknown { detail, .. } => {
            format!("unknown {}", detail.split(':').next().unwrap_or_default())
        }
    }
}

#[tokio::test]
async fn no_hostile_server_is_believed() {
    let patient = |address| config(&format!("http://{address}"));
    let hasty = |address| config::HttpFacilitator { verify_timeout: SHORT, settle_timeout: SHORT, ..patient(address) };
    let wakeful = |address| config::HttpFacilitator { read_timeout: SHORT, ..patient(address) };
    type Patience<'a> = &'a dyn Fn(SocketAddr) -> config::HttpFacilitator;
    let cases: [(Hostile, Patience, FaultKind); 9] = [
        (Hostile::ClosesAtOnce, &patient, FaultKind::Cut),
        (Hostile::ClosesAfterReading, &patient, FaultKind::Cut),
        (Hostile::NeverAnswers, &hasty, FaultKind::Timeout),
        (Hostile::StopsInTheHead, &hasty, FaultKind::Timeout),
        (Hostile::StopsInTheBody, &hasty, FaultKind::Timeout),
        (Hostile::StopsInTheBody, &wakeful, FaultKind::Timeout),
        (Hostile::CutsTheBody, &patient, FaultKind::Cut),
        (Hostile::Drips, &hasty, FaultKind::Timeout),
        (Hostile::SpeaksNonsense, &patient, FaultKind::Cut),
    ];
    for (hostile, patience, kind) in cases {
        let facilitator = client(&patience(be_hostile(hostile).await));
        let order = order(Dialect::V2);
        let verified = facilitator.verify(&order).await.unwrap_err();
        assert_eq!(verified.kind, kind, "{hostile:?} at verify: {verified}");
        let settled = facilitator.settle(&order).await;
        assert_eq!(kind_of(&settled), format!("unknown {}", kind.label()), "{hostile:?} at settle: {settled:?}");
        assert_eq!(facilitator.supported().await.unwrap_err().kind, kind, "{hostile:?} at supported");
    }
}

#[tokio::test]
async fn bytes_behind_the_answer_do_not_become_the_next_answer() {
    let address = be_hostile(Hostile::SaysMoreThanItMeans).await;
    let facilitator = client(&config(&format!("http://{address}")));
    assert_eq!(kind_of(&facilitator.settle(&order(Dialect::V2)).await), "settled 0x01");
    assert_eq!(kind_of(&facilitator.settle(&order(Dialect::V2)).await), "settled 0x01", "asked anew");
}

#[tokio::test]
async fn statuses_and_pages_are_told_apart() {
    let page = "<html><body>\u{1f525} something went wrong</body></html>";
    let cases = [
        (200, page, FaultKind::Garbage, "unknown garbage"),
        (200, "", FaultKind::Garbage, "unknown garbage"),
        (204, "", FaultKind::Garbage, "unknown garbage"),
        (401, page, FaultKind::Unauthorized, "not sent unauthorized"),
        (403, "", FaultKind::Unauthorized, "not sent unauthorized"),
        (404, page, FaultKind::Status(404), "unknown status_4xx"),
        (429, page, FaultKind::RateLimited, "not sent rate_limited"),
        (500, page, FaultKind::Status(500), "unknown status_5xx"),
        (502, "", FaultKind::Status(502), "unknown status_5xx"),
    ];
    for (status, body, kind, settled) in cases {
        let router = Router::new().fallback(any(move || async move { (StatusCode::from_u16(status).unwrap(), body) }));
        let facilitator = client(&config(&format!("http://{}", serve(router).await)));
        assert_eq!(facilitator.verify(&order(Dialect::V1)).await.unwrap_err().kind, kind, "{status} {body:?}");
        assert_eq!(kind_of(&facilitator.settle(&order(Dialect::V1)).await), settled, "{status} {body:?}");
        assert_eq!(facilitator.supported().await.unwrap_err().kind, kind, "{status} {body:?}");
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit() {
    /// JSON of exactly so many bytes: the white space in front counts.
    fn padded(json: &str, bytes: usize) -> String {
        format!("{}{json}", " ".repeat(bytes - json.len()))
    }
    /// Announces no length, as a server that wants to flood does.
    fn in_chunks(body: String) -> Response {
        let chunks: Vec<_> =
            body.as_bytes().chunks(8192).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
        Body::from_stream(futures::stream::iter(chunks)).into_response()
    }
    for (bytes_decision, bytes_supported, fits) in [
        (DECISION_BYTES_MAX, SUPPORTED_BYTES_MAX, true),
        (DECISION_BYTES_MAX + 1, SUPPORTED_BYTES_MAX + 1, false),
        (10 << 20, 10 << 20, false),
    ] {
        let router = Router::new()
            .route("/supported", get(move || async move { in_chunks(padded(r#"{"kinds":[]}"#, bytes_supported)) }))
            .fallback(any(move || async move { in_chunks(padded(DECISION, bytes_decision)) }));
        let facilitator = client(&config(&format!("http://{}", serve(router).await)));
        let verified = facilitator.verify(&order(Dialect::V2)).await;
        let settled = kind_of(&facilitator.settle(&order(Dialect::V2)).await);
        let supported = facilitator.supported().await;
        if fits {
            assert!(verified.is_ok() && supported.is_ok(), "{bytes_decision}: {verified:?} {supported:?}");
            assert_eq!(settled, "settled 0x01", "{bytes_decision}");
        } else {
            assert_eq!(verified.unwrap_err().kind, FaultKind::Garbage, "{bytes_decision}");
            assert_eq!(settled, "unknown garbage", "{bytes_decision}");
            assert_eq!(supported.unwrap_err().kind, FaultKind::Garbage, "{bytes_supported}");
        }
    }
}

#[tokio::test]
async fn a_settlement_whose_connection_was_never_made_was_not_sent() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    // A server that speaks no TLS, and one that accepts and then says nothing: the connect timeout holds the handshake.
    let plain = be_hostile(Hostile::SpeaksNonsense).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = silent.local_addr().unwrap();
    let cases = [
        config(&format!("http://{closed}")),
        config::HttpFacilitator { connect_timeout: SHORT, ..config(&format!("https://{plain}")) },
        config::HttpFacilitator { connect_timeout: SHORT, ..config(&format!("https://{mute}")) },
    ];
    for config in cases {
        let facilitator = client(&config);
        assert_eq!(kind_of(&facilitator.settle(&order(Dialect::V2)).await), "not sent unreached", "{}", config.url);
        assert_eq!(facilitator.verify(&order(Dialect::V2)).await.unwrap_err().kind, FaultKind::Unreached);
        assert_eq!(facilitator.supported().await.unwrap_err().kind, FaultKind::Unreached);
    }
}

#[tokio::test]
async fn what_is_sent_is_the_order_with_the_operators_headers() {
    /// Method, target, headers and body.
    type Seen = Vec<(String, String, HeaderMap, Value)>;
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let record = seen.clone();
    let router = Router::new().fallback(any(move |request: Request| {
        let record = record.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            record.lock().unwrap().push((head.method.to_string(), head.uri.to_string(), head.headers, body));
            json!({ "success": true, "isValid": true, "transaction": TRANSACTION, "kinds": [] }).to_string()
        }
    }));
    let address = serve(router).await;
    let facilitator = client(&config::HttpFacilitator {
        bearer: Some(Secret::new("s3cret".into())),
        headers: vec![("X-Api-Key".into(), Secret::new("k3y".into()))],
        ..config(&format!("http://{address}/base/?net=test"))
    });
    let order = order(Dialect::V1);
    let valid = facilitator.verify(&order).await.unwrap();
    assert_eq!(valid, Verification::Valid { payer: Some(PAYER.to_string()) });
    assert_eq!(kind_of(&facilitator.settle(&order).await), format!("settled {TRANSACTION}"));
    facilitator.supported().await.unwrap();

    let seen = seen.lock().unwrap();
    let lines: Vec<_> = seen.iter().map(|(method, target, ..)| format!("{method} {target}")).collect();
    assert_eq!(lines, ["POST /base/verify?net=test", "POST /base/settle?net=test", "GET /base/supported?net=test"]);
    let expected: Value = serde_json::from_str(&order.settle_request()).unwrap();
    for (method, _, headers, body) in seen.iter() {
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-api-key"], "k3y");
        if method == "POST" {
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(*body, expected);
        }
    }
}

#[tokio::test]
async fn calls_share_a_connection() {
    let router = Router::new().fallback(any(|| async { DECISION }));
    let (address, accepted) = serve_counting(router).await;
    let facilitator = client(&config(&format!("http://{address}")));
    for _ in 0..5 {
        facilitator.verify(&order(Dialect::V2)).await.unwrap();
        facilitator.settle(&order(Dialect::V2)).await;
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (target, accepted) = serve_counting(Router::new().fallback(any(|| async { DECISION }))).await;
    let router = Router::new()
        .fallback(any(move || async move { Redirect::permanent(&format!("http://{target}/settle")).into_response() }));
    let facilitator = client(&config(&format!("http://{}", serve(router).await)));
    assert_eq!(kind_of(&facilitator.settle(&order(Dialect::V2)).await), "unknown status_3xx");
    assert_eq!(facilitator.verify(&order(Dialect::V2)).await.unwrap_err().kind, FaultKind::Status(308));
    assert_eq!(accepted.load(Ordering::SeqCst), 0, "the signed payment went nowhere else");
}

#[tokio::test]
async fn a_decision_about_somebody_else_is_none() {
    let other = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720";
    let router = Router::new().fallback(post(move || async move {
        json!({ "success": true, "isValid": true, "transaction": TRANSACTION, "payer": other }).to_string()
    }));
    let facilitator = client(&config(&format!("http://{}", serve(router).await)));
    assert_eq!(facilitator.verify(&order(Dialect::V2)).await.unwrap_err().kind, FaultKind::Garbage);
    let settled = facilitator.settle(&order(Dialect::V2)).await;
    let Settlement::Unknown { transaction, facilitator, .. } = settled else { panic!("{settled:?}") };
    assert_eq!((transaction.as_deref(), &*facilitator), (Some(TRANSACTION), "main"));
}

#[tokio::test]
async fn a_slow_settlement_is_waited_for_beyond_the_read_timeout() {
    let router = Router::new().fallback(any(|| async {
        tokio::time::sleep(SHORT * 3).await;
        json!({ "success": false, "errorReason": "insufficient_funds" }).to_string()
    }));
    let address = serve(router).await;
    let facilitator = client(&config::HttpFacilitator { read_timeout: SHORT, ..config(&format!("http://{address}")) });
    let settled = facilitator.settle(&order(Dialect::V2)).await;
    assert!(matches!(settled, Settlement::Refused { reason: Reason::InsufficientFunds, .. }), "{settled:?}");
}

#[test]
fn what_cannot_be_sent_is_refused_without_its_secret() {
    let good = config("http://127.0.0.1:1");
    let cases = [
        config::HttpFacilitator { bearer: Some(Secret::new("s3cret\n".into())), ..good.clone() },
        config::HttpFacilitator { headers: vec![("x y".into(), Secret::new("s3cret".into()))], ..good.clone() },
        config::HttpFacilitator { headers: vec![("x-key".into(), Secret::new("s3cret\0".into()))], ..good.clone() },
        config::HttpFacilitator { url: "mailto:s3cret".parse().unwrap(), ..good },
    ];
    for config in cases {
        let error = HttpFacilitator::new("main".into(), &config).err().expect("it cannot be sent").to_string();
        assert!(error.starts_with("facilitator main: ") && !error.contains("s3cret"), "{error}");
    }
}
