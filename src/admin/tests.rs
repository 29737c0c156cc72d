//! Over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::telemetry::{Metrics, Unsettled};

/// A gateway that answers what it is told to.
#[derive(Default)]
struct Scripted {
    not_ready: Vec<String>,
    refuses_reload: bool,
    /// The next refresh, readiness, status or reload waits for `go`.
    stuck: bool,
    asked: Notify,
    go: Notify,
    reloaded: AtomicBool,
    done: Notify,
    metrics: Option<Arc<Metrics>>,
}

impl Scripted {
    async fn hurdle(&self) {
        self.asked.notify_one();
        if self.stuck {
            self.go.notified().await;
        }
    }
}

#[async_trait]
impl Operations for Scripted {
    async fn not_ready(&self) -> Vec<String> {
        self.hurdle().await;
        self.not_ready.clone()
    }

    async fn status(&self) -> Value {
        self.hurdle().await;
        json!({ "config_hash": "0011" })
    }

    async fn reload(&self) -> ReloadAnswer {
        self.hurdle().await;
        self.reloaded.store(true, Ordering::SeqCst);
        self.done.notify_one();
        ReloadAnswer {
            ok: !self.refuses_reload,
            config_hash: "0011".into(),
            needs_restart: vec!["server.listen".into()],
            errors: self.refuses_reload.then(|| "error: no such network".into()),
            warnings: Vec::new(),
        }
    }

    async fn refresh_metrics(&self) {
        self.hurdle().await;
        if let Some(metrics) = &self.metrics {
            metrics.unsettled(Some(Unsettled {
                settling: 0,
                unknown: 7,
                oldest_age: Duration::from_secs(60),
                undelivered: 0,
            }));
        }
    }
}

/// A listener that stops when it is told to or dropped.
struct Admin {
    at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Admin {
    async fn start(limits: Limits, ops: Arc<Scripted>) -> Admin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let metrics = ops.metrics.clone().unwrap_or_else(Metrics::new);
        let shutdown = async {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(listener::serve_within(limits, listener, ops, metrics, shutdown));
        Admin { at, stop: Some(stop), serving }
    }

    async fn of(ops: Scripted) -> Admin {
        Admin::start(Limits::default(), Arc::new(ops)).await
    }

    async fn ask(&self, line: &str) -> Answer {
        self.send(&format!("{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.at)).await
    }

    /// Sends bytes and reads until the server closes.
    async fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

#[tokio::test]
async fn metrics_are_fresh_and_in_the_text_format() {
    let metrics = Metrics::new();
    let admin = Admin::of(Scripted { metrics: Some(metrics), ..Scripted::default() }).await;
    let answer = admin.ask("GET /metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert!(answer.body.contains("farebox_build_info{"), "{}", answer.body);
    assert!(answer.body.contains("farebox_unsettled_payments{state=\"unknown\"} 7\n"), "{}", answer.body);
}

#[tokio::test]
async fn a_ledger_that_hangs_does_not_hold_up_a_scrape() {
    let metrics = Metrics::new();
    metrics.unsettled(Some(Unsettled { settling: 1, unknown: 1, oldest_age: Duration::ZERO, undelivered: 1 }));
    let limits = Limits { refresh_timeout: Duration::from_millis(20), ..Limits::default() };
    let ops = Scripted { metrics: Some(metrics), stuck: true, ..Scripted::default() };
    let admin = Admin::start(limits, Arc::new(ops)).await;
    let answer = admin.ask("GET /metrics").await;
    assert!(answer.body.contains("farebox_unsettled_oldest_age_seconds NaN\n"), "{}", answer.body);
}

#[tokio::test]
async fn health_says_that_the_process_serves() {
    let admin = Admin::of(Scripted { not_ready: vec!["not at all".into()], ..Scripted::default() }).await;
    let answer = admin.ask("GET /healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    let head = admin.ask("HEAD /healthz").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn readiness_names_its_reasons() {
    let ready = Admin::of(Scripted::default()).await.ask("GET /readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true, "reasons": [] })));

    let reason = "route premium: no facilitator has answered yet";
    let admin = Admin::of(Scripted { not_ready: vec![reason.into()], ..Scripted::default() }).await;
    let waiting = admin.ask("GET /readyz").await;
    assert_eq!((waiting.status, waiting.json()), (503, json!({ "ready": false, "reasons": [reason] })));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let limits = Limits {
        answer_timeout: Duration::from_millis(20),
        reload_timeout: Duration::from_millis(20),
        ..Limits::default()
    };
    let admin = Admin::start(limits, Arc::new(Scripted { stuck: true, ..Scripted::default() })).await;
    for (line, status) in [("GET /readyz", 503), ("GET /status", 504), ("POST /reload", 504)] {
        let answer = admin.ask(line).await;
        assert_eq!(answer.status, status, "{line}");
        assert!(answer.json().is_object(), "{line}");
    }
}

#[tokio::test]
async fn status_is_what_the_gateway_says() {
    let answer = Admin::of(Scripted::default()).await.ask("GET /status").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "config_hash": "0011" })));
}

#[tokio::test]
async fn a_reload_answers_with_what_came_of_it() {
    let good = Admin::of(Scripted::default()).await.ask("POST /reload").await;
    let answer = json!({
        "ok": true, "config_hash": "0011", "needs_restart": ["server.listen"], "errors": null, "warnings": [],
    });
    assert_eq!((good.status, good.json()), (200, answer));

    let admin = Admin::of(Scripted { refuses_reload: true, ..Scripted::default() }).await;
    let bad = admin.ask("POST /reload").await;
    assert_eq!((bad.status, &bad.json()["errors"]), (422, &json!("error: no such network")));
}

#[tokio::test]
async fn a_web_page_cannot_reload() {
    let ops = Arc::new(Scripted::default());
    let admin = Admin::start(Limits::default(), ops.clone()).await;
    let foreign = [
        format!("host: {}\r\norigin: https://evil.example\r\n", admin.at),
        "host: evil.example\r\norigin: http://evil.example\r\n".to_owned(),
        "host: evil.example\r\n".to_owned(),
    ];
    for headers in foreign {
        let answer = admin.send(&format!("POST /reload HTTP/1.1\r\n{headers}connection: close\r\n\r\n")).await;
        assert_eq!(answer.status, 403, "{headers}");
        assert!(answer.json()["error"].is_string(), "{headers}");
    }
    assert!(!ops.reloaded.load(Ordering::SeqCst));
    let same = format!("host: {0}\r\norigin: http://{0}\r\n", admin.at);
    let answer = admin.send(&format!("POST /reload HTTP/1.1\r\n{same}connection: close\r\n\r\n")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_reload_goes_on_when_the_client_has_hung_up() {
    let ops = Arc::new(Scripted { stuck: true, ..Scripted::default() });
    let admin = Admin::start(Limits::default(), ops.clone()).await;
    let mut stream = TcpStream::connect(admin.at).await.unwrap();
    let request = format!("POST /reload HTTP/1.1\r\nhost: {}\r\n\r\n", admin.at);
    stream.write_all(request.as_bytes()).await.unwrap();
    ops.asked.notified().await;
    drop(stream);
    // The connection's task has ended once the listener has, and only the reload's own task is left.
    drop(admin.stop);
    admin.serving.await.unwrap();
    ops.go.notify_one();
    ops.done.notified().await;
}

#[tokio::test]
async fn what_does_not_exist_is_answered_in_json() {
    let admin = Admin::of(Scripted::default()).await;
    for (line, status, allow) in [
        ("GET /", 404, None),
        ("GET /metrics/", 404, None),
        ("GET /reload", 405, Some("allow: post")),
        ("POST /metrics", 405, Some("allow: get,head")),
        ("DELETE /status", 405, Some("allow: get,head")),
    ] {
        let answer = admin.ask(line).await;
        assert_eq!(answer.status, status, "{line}");
        assert!(answer.json()["error"].is_string(), "{line}");
        assert!(allow.is_none_or(|allow| answer.head.contains(allow)), "{line}: {}", answer.head);
    }
}

#[tokio::test]
async fn a_head_has_a_limit() {
    let limits = Limits { head_bytes: 8 * 1024, ..Limits::default() };
    let admin = Admin::start(limits, Arc::default()).await;
    let of_size = |bytes: usize| {
        let frame = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nx: ", admin.at);
        let filler = "x".repeat(bytes - frame.len() - 4);
        format!("{frame}{filler}\r\n\r\n")
    };
    assert_eq!(admin.send(&of_size(limits.head_bytes - 1)).await.status, 200);
    assert_eq!(admin.send(&of_size(limits.head_bytes + 1)).await.status, 431);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let limits = Limits { head_timeout: Duration::from_millis(20), ..Limits::default() };
    let admin = Admin::start(limits, Arc::default()).await;
    for begun in ["", "GET /healthz HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(admin.at).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{begun:?}");
    }
}

#[tokio::test]
async fn a_connection_does_not_live_for_ever() {
    let hour = Duration::from_secs(3600);
    let limits = Limits { connection_lifetime: Duration::from_millis(20), head_timeout: hour, ..Limits::default() };
    let admin = Admin::start(limits, Arc::default()).await;
    let mut idle = TcpStream::connect(admin.at).await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), idle.read_to_end(&mut rest)).await;
    assert_eq!(closed.expect("closed long before the head's timeout").unwrap(), 0);
}

#[tokio::test]
async fn connections_past_the_limit_wait_their_turn() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let ops = Arc::new(Scripted { stuck: true, ..Scripted::default() });
    let admin = Admin::start(limits, ops.clone()).await;
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", admin.at);
    let mut first = TcpStream::connect(admin.at).await.unwrap();
    first.write_all(request("/status").as_bytes()).await.unwrap();
    ops.asked.notified().await;
    let mut second = TcpStream::connect(admin.at).await.unwrap();
    second.write_all(request("/healthz").as_bytes()).await.unwrap();

    let mut none = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), second.peek(&mut none)).await;
    assert!(early.is_err(), "the second was answered while the first was in the way");
    ops.go.notify_one();
    assert_eq!(Answer::read(&mut first).await.status, 200);
    assert_eq!(Answer::read(&mut second).await.status, 200);
}

#[tokio::test]
async fn a_shutdown_lets_a_request_end_and_stops_idle_connections() {
    let ops = Arc::new(Scripted { stuck: true, ..Scripted::default() });
    let mut admin = Admin::start(Limits::default(), ops.clone()).await;
    let mut idle = TcpStream::connect(admin.at).await.unwrap();
    let mut busy = TcpStream::connect(admin.at).await.unwrap();
    let request = format!("GET /status HTTP/1.1\r\nhost: {}\r\n\r\n", admin.at);
    busy.write_all(request.as_bytes()).await.unwrap();
    ops.asked.notified().await;

    admin.stop.take().unwrap().send(()).unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    ops.go.notify_one();
    assert_eq!(Answer::read(&mut busy).await.status, 200);
    admin.serving.await.unwrap();
    assert!(TcpStream::connect(admin.at).await.is_err(), "nobody listens any more");
}
