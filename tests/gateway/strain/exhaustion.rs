//! Thousands of strangers who take their time, a flood of garbage, and a facilitator that never answers: memory stays
//! below a bound, whoever asks for what is free is answered all the while, and afterwards everything is as before.
//!
//! How fast the answers are is not a test's matter: benches/exhaustion measures it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{join, join_all};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::mib;
use crate::support::facilitator::every_kind;
use crate::support::server::{Handler, Server};
use crate::support::usage::Usage;
use crate::support::{
    Answer, Challenge, Connection, House, Payer, Payment, Request, Response, Setup, Upstream, eventually, within,
};
use crate::support::{Gateway, metrics::Metrics};

/// Strangers at once.
const CROWD: usize = 2000;
/// What each of them may cost: the engine's buffers and a task; with a body under way the engine's 64 KiB for its pieces,
/// and a connection to the upstream.
const BYTES_PER_CONNECTION: u64 = 64 * 1024;
const BYTES_PER_BODY: u64 = 160 * 1024;
/// What may come on top, whatever the crowd.
const BYTES_BESIDES: u64 = 16 * 1024 * 1024;
/// Files for both sides of every connection, in this process and in the gateway.
const FILES: u64 = 3 * CROWD as u64 + 500;
/// Between two bytes of somebody who is slow.
const DRIP: Duration = Duration::from_millis(500);
/// Others, who want what is free.
const OTHERS: usize = 4;
/// Between two of their requests: they are to be answered, not to be fast.
const PACE: Duration = Duration::from_millis(5);

#[tokio::test]
async fn two_thousand_slow_heads_are_closed_in_time_cost_little_and_keep_nobody_from_being_served() {
    let house = crowded("header_timeout = \"5s\"").await;
    let before = house.gateway.usage();
    let mut peaks = Vec::new();
    for wave in 1..=2 {
        let crowd =
            Crowd::gather(house.gateway.address(), CROWD, b"GET /free/ok HTTP/1.1\r\nHost: slow\r\nX-Slow: ").await;
        let closed = others_are_served(&house.gateway, crowd.until_closed(Pace::Drips)).await;
        assert_eq!(closed.len(), CROWD);
        assert!(closed.iter().all(|last_words| last_words.is_empty()), "closed without a word");
        let metrics = house.gateway.metrics().await;
        assert_eq!(
            metrics.sum("farebox_connections_closed_total", &[("reason", "header_timeout")]),
            (CROWD * wave) as f64
        );
        peaks.push(house.gateway.usage().peak);
        back_to_normal(&house.gateway, &before).await;
    }
    let slow = house.upstream.requests().into_iter().filter(|request| request.header("x-slow").is_some());
    assert_eq!(slow.count(), 0, "no head was complete");
    bounded(&before, peaks[0], BYTES_PER_CONNECTION);
    assert!(
        peaks[1] <= peaks[0] + BYTES_BESIDES,
        "a second crowd costs no more: {} and {}",
        mib(peaks[0]),
        mib(peaks[1])
    );
}

#[tokio::test]
async fn two_thousand_slow_bodies_cost_little_and_end_when_they_stand_still() {
    let house = crowded("body_timeout = \"5s\"").await;
    let before = house.gateway.usage();
    let start = b"POST /free/upload HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\nsome";
    let (slow, still) = join(
        Crowd::gather(house.gateway.address(), CROWD / 2, start),
        Crowd::gather(house.gateway.address(), CROWD / 2, start),
    )
    .await;
    let dripping = tokio::spawn(slow.until_closed(Pace::Drips));
    let closed = others_are_served(&house.gateway, still.until_closed(Pace::StandsStill)).await;
    assert_eq!(closed.len(), CROWD / 2);
    for last_words in &closed {
        assert!(last_words.starts_with("HTTP/1.1 408 ") || last_words.is_empty(), "{last_words}");
    }
    let metrics = house.gateway.metrics().await;
    assert_eq!(metrics.sum("farebox_connections_closed_total", &[("reason", "body_timeout")]), (CROWD / 2) as f64);
    assert!(!dripping.is_finished(), "who goes on is waited for");
    dripping.abort();
    let _ = dripping.await;
    bounded(&before, house.gateway.usage().peak, BYTES_PER_BODY);
    back_to_normal(&house.gateway, &before).await;
}

#[tokio::test]
async fn slow_bodies_for_a_priced_route_are_asked_for_payment_and_reach_no_upstream() {
    let house = crowded("body_timeout = \"5s\"").await;
    let before = house.gateway.usage();
    let start = b"POST /paid/upload HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\nsome";
    let crowd = Crowd::gather(house.gateway.address(), CROWD, start).await;
    let closed = others_are_served(&house.gateway, crowd.until_closed(Pace::StandsStill)).await;
    assert_eq!(closed.len(), CROWD);
    for last_words in &closed {
        assert!(last_words.starts_with("HTTP/1.1 402 "), "{last_words}");
    }
    assert!(house.upstream.requests().iter().all(|request| request.target == "/free/ok"));
    bounded(&before, house.gateway.usage().peak, BYTES_PER_BODY);
    back_to_normal(&house.gateway, &before).await;
}

#[tokio::test]
async fn a_flood_of_garbage_payments_reaches_nobody_and_leaves_nothing_behind() {
    const FLOODS: usize = 16;
    const EACH: usize = 250;
    let house = crowded("").await;
    let payment = house.payment("/paid/ok").await;
    let garbage: Arc<Vec<(&str, String)>> = Arc::new(vec![
        ("PAYMENT-SIGNATURE", "!".repeat(16 * 1024)),
        ("PAYMENT-SIGNATURE", "A".repeat(16 * 1024)),
        ("X-PAYMENT", "A".repeat(60 * 1024)),
        ("X-PAYMENT", encode(&"[".repeat(12 * 1024))),
        (
            "PAYMENT-SIGNATURE",
            encode(&format!("{{\"x402Version\":2,\"payload\":{{}},\"a\":\"{}\"}}", "x".repeat(10_000))),
        ),
        (
            "PAYMENT-SIGNATURE",
            payment.clone().with("/payload/signature", format!("0x{}", "11".repeat(65)).into()).header().1,
        ),
        ("PAYMENT-SIGNATURE", payment.with("/payload/authorization/value", "1".into()).header().1),
    ]);
    let before = house.gateway.usage();
    let flood = async {
        let mut floods = JoinSet::new();
        for flood in 0..FLOODS {
            let (address, garbage) = (house.gateway.address(), garbage.clone());
            floods.spawn(async move {
                let mut statuses = HashMap::new();
                for at in 0..EACH {
                    let (name, value) = &garbage[(flood + at) % garbage.len()];
                    let response = Connection::open(address)
                        .await
                        .exchange(&Request::get("/paid/ok").header(name, value.clone()))
                        .await;
                    *statuses.entry(response.status).or_insert(0) += 1;
                }
                statuses
            });
        }
        floods.join_all().await
    };
    let statuses = others_are_served(&house.gateway, flood).await;
    for statuses in &statuses {
        assert!(statuses.keys().all(|status| [400, 402].contains(status)), "{statuses:?}");
    }
    assert_eq!(statuses.iter().flat_map(HashMap::values).sum::<usize>(), FLOODS * EACH);
    assert_eq!(house.facilitator.calls(), (0, 0), "the facilitator hears nothing of it");
    assert_eq!(house.gateway.ledger().len(), 0, "nor does the ledger");
    assert!(house.upstream.requests().iter().all(|request| request.target == "/free/ok"));
    bounded(&before, house.gateway.usage().peak, BYTES_PER_CONNECTION);
    back_to_normal(&house.gateway, &before).await;
}

#[tokio::test]
async fn a_facilitator_that_never_answers_holds_up_nobody_but_those_who_pay() {
    const PAYERS: usize = 400;
    let (facilitator, books) = Silent::start().await;
    let upstream = Upstream::start().await;
    allow_files();
    let setup = Setup::at(
        upstream.address(),
        &format!(
            "url = \"http://{}\"\nverify_timeout = \"5s\"\nsettle_timeout = \"5s\"\ncalls_in_flight = 64",
            facilitator.address
        ),
    )
    .server("payment_limit = \"10000/s\"")
    .sections("[log]\naccess = false")
    .route("free", "/free/*", "price = \"free\"")
    .route("on-success", "/on-success/*", "price = \"$0.01\"")
    .route("before", "/before/*", "price = \"$0.01\"\nsettle = \"before\"");
    let gateway = Gateway::start(setup).await;
    let mut payments: Vec<(&str, Payment)> = Vec::new();
    for path in ["/on-success/ok", "/before/ok"] {
        let challenge = Challenge::of(&gateway.send(Request::get(path)).await);
        payments.extend((0..PAYERS / 2).map(|_| (path, Payer::new().pay_v2(&challenge))));
    }
    let before = gateway.usage();
    let pay =
        || join_all(payments.iter().map(async |(path, payment)| gateway.send(Request::get(path).paid(payment)).await));

    let unpaid = async {
        for _ in 0..200 {
            assert_eq!(gateway.send(Request::get("/before/ok")).await.status, 402);
        }
    };
    let (answers, ()) = others_are_served(&gateway, join(pay(), unpaid)).await;
    let mut codes: HashMap<String, usize> = HashMap::new();
    for answer in &answers {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        *codes.entry(answer.error()).or_default() += 1;
    }
    // As many as may be asked for at once, and as wait for that: the others are turned away.
    assert!(codes.get("overloaded").is_some_and(|count| *count > 0), "{codes:?}");
    let known = ["overloaded", "facilitator_unavailable", "settlement_pending"];
    assert!(codes.keys().all(|code| known.contains(&code.as_str())), "{codes:?}");
    let turned_away = gateway.metrics().await.sum("farebox_refused_total", &[("reason", "calls_in_flight")]);
    assert_eq!(turned_away, codes["overloaded"] as f64, "{codes:?}");
    assert!(books.moved.lock().expect("books").is_empty());
    bounded(&before, gateway.usage().peak, BYTES_PER_CONNECTION);

    // It is back: whoever sends the same payment again is served, and charged once.
    books.is_awake.store(true, Ordering::Relaxed);
    let mut open = payments.clone();
    within("everybody to be served", async {
        while !open.is_empty() {
            let mut still = Vec::new();
            for batch in open.chunks(32) {
                let answers = join_all(
                    batch.iter().map(async |(path, payment)| gateway.send(Request::get(path).paid(payment)).await),
                )
                .await;
                for (open, answer) in batch.iter().zip(answers) {
                    assert!([200, 503].contains(&answer.status), "{answer:?}");
                    if answer.status == 503 {
                        still.push(open.clone());
                    }
                }
            }
            open = still;
        }
    })
    .await;
    let moved = books.moved.lock().expect("books").clone();
    assert_eq!((moved.len(), moved.values().all(|times| *times == 1)), (PAYERS, true));
    eventually("everything to be delivered", async || {
        gateway.ledger().iter().all(|entry| entry.state() == "settled" && entry.delivered()).then_some(())
    })
    .await;
}

/// A facilitator that takes every call and answers none, until it is awake.
struct Silent {
    is_awake: AtomicBool,
    /// By nonce: how often it was settled.
    moved: Mutex<HashMap<String, usize>>,
}

impl Silent {
    async fn start() -> (Server, Arc<Silent>) {
        let books = Arc::new(Silent { is_awake: AtomicBool::new(false), moved: Mutex::default() });
        let handler: Handler = {
            let books = books.clone();
            Arc::new(move |incoming| {
                let books = books.clone();
                Box::pin(async move { books.answer(&incoming.target, &incoming.body) })
            })
        };
        (Server::start(handler).await, books)
    }

    fn answer(&self, target: &str, body: &[u8]) -> Answer {
        if target == "/supported" {
            return Answer::json(200, &every_kind());
        }
        if !self.is_awake.load(Ordering::Relaxed) {
            return Answer::Never;
        }
        let body: Value = serde_json::from_slice(body).expect("JSON");
        let authorization = &body["paymentPayload"]["payload"]["authorization"];
        if target == "/verify" {
            return Answer::json(200, &json!({"isValid": true, "payer": authorization["from"]}));
        }
        let nonce = authorization["nonce"].as_str().expect("a nonce").to_owned();
        *self.moved.lock().expect("books").entry(nonce.clone()).or_default() += 1;
        let network = &body["paymentRequirements"]["network"];
        Answer::json(
            200,
            &json!({"success": true, "transaction": nonce, "network": network, "payer": authorization["from"]}),
        )
    }
}

/// What a slow stranger does after the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Sends one more now and then.
    Drips,
    /// Nothing.
    StandsStill,
}

/// Strangers, all of them connected, who have all said as much.
struct Crowd(Vec<TcpStream>);

impl Crowd {
    async fn gather(address: SocketAddr, count: usize, start: &'static [u8]) -> Crowd {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            streams.push(within("a connection", TcpStream::connect(address)).await.expect("a connection"));
        }
        for stream in &mut streams {
            within("the first bytes to be taken", stream.write_all(start)).await.expect("an open connection");
        }
        Crowd(streams)
    }

    /// What each of them was told before its connection was closed.
    async fn until_closed(self, pace: Pace) -> Vec<String> {
        let mut strangers = JoinSet::new();
        for stream in self.0 {
            strangers.spawn(stranger(stream, pace));
        }
        strangers.join_all().await
    }
}

async fn stranger(mut stream: TcpStream, pace: Pace) -> String {
    let mut told = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match timeout(DRIP, stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => return String::from_utf8_lossy(&told).into_owned(),
            Ok(Ok(count)) => told.extend_from_slice(&piece[..count]),
            Err(_) if pace == Pace::Drips => {
                // Whoever is closed hears of it at the next read.
                let _ = stream.write_all(b"x").await;
            }
            Err(_) => {}
        }
    }
}

/// A house with room for a crowd, and these keys of `[server]`.
async fn crowded(server: &str) -> House {
    allow_files();
    let house = House::build("", |setup| {
        setup.server(server).sections("[log]\naccess = false\nlevel = \"warn,pingora_proxy=off\"")
    })
    .await;
    // Pools fill, and memory is touched, before anything is counted.
    for _ in 0..200 {
        assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200);
    }
    house
}

/// Meanwhile a few others ask for what is free, and each of their requests is answered.
async fn others_are_served<T>(gateway: &Gateway, crowd: impl Future<Output = T>) -> T {
    let is_over = AtomicBool::new(false);
    let other = async || {
        let mut connection = gateway.connect().await;
        let mut served = 0;
        while !is_over.load(Ordering::Relaxed) {
            let response: Response = connection.exchange(&Request::get("/free/ok")).await;
            assert_eq!((response.status, response.text().as_str()), (200, "ok"));
            served += 1;
            tokio::time::sleep(PACE).await;
        }
        assert!(served > 0);
    };
    let crowd = async {
        let output = timeout(Duration::from_secs(120), crowd).await.expect("the crowd's end");
        is_over.store(true, Ordering::Relaxed);
        output
    };
    join(crowd, join_all((0..OTHERS).map(|_| other()))).await.0
}

/// The most that was ever resident.
fn bounded(before: &Usage, peak: u64, bytes_each: u64) {
    let bound = before.resident + CROWD as u64 * bytes_each + BYTES_BESIDES;
    println!("resident memory: before {}, peak {}, bound {}", mib(before.resident), mib(peak), mib(bound));
    assert!(
        peak <= bound,
        "{} resident, before it was {}, and {} are allowed",
        mib(peak),
        mib(before.resident),
        mib(bound)
    );
}

/// Nothing in flight, no socket more than before but for a few to the upstream, and whoever asks is served.
async fn back_to_normal(gateway: &Gateway, before: &Usage) {
    eventually("everybody to be gone", async || {
        let metrics: Metrics = gateway.metrics().await;
        let is_idle = metrics.sum("farebox_in_flight_requests", &[]) == 0.0;
        (is_idle && gateway.usage().sockets <= before.sockets + 2 * OTHERS).then_some(())
    })
    .await;
    assert_eq!(gateway.send(Request::get("/free/ok")).await.status, 200);
    assert_eq!(gateway.send(Request::get("/paid/ok")).await.status, 402);
}

/// Lets this process, and what it starts, open as many files as a crowd needs: the soft limit, below the hard one.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.current.map(|current| current.max(FILES));
    let set = setrlimit(Resource::Nofile, Rlimit { current: wanted, ..limit });
    set.unwrap_or_else(|error| panic!("{error}: {FILES} open files are needed: raise the hard limit (ulimit -Hn)"));
}

fn encode(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
