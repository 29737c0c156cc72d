//! The backend that nobody changed: answers by path, and remembers every request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::server::{Answer, Handler, Incoming, Latch, Records, Server};

/// The bytes of `/big`.
pub const BIG_BYTES: usize = 10 * 1024 * 1024;

/// An upstream. What stands after the first segment of a path chooses the answer (`/paid/status/404`), unless the
/// test has queued one.
pub struct Upstream {
    server: Server,
    state: Arc<State>,
}

struct State {
    requests: Records<Incoming>,
    queue: Mutex<VecDeque<Answer>>,
}

impl Upstream {
    pub async fn start() -> Upstream {
        let state = Arc::new(State { requests: Records::new(), queue: Mutex::new(VecDeque::new()) });
        let handler: Handler = {
            let state = state.clone();
            Arc::new(move |incoming| {
                let state = state.clone();
                Box::pin(async move { state.answer(incoming) })
            })
        };
        Upstream { server: Server::start(handler).await, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Incoming> {
        self.state.requests.all()
    }

    /// How many requests so far.
    pub fn count(&self) -> usize {
        self.state.requests.count()
    }

    /// The only request so far.
    pub fn only_request(&self) -> Incoming {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "one request at the upstream: {requests:#?}");
        requests.into_iter().next().expect("one")
    }

    /// Waits until so many requests have arrived.
    pub async fn reached(&self, count: usize) -> Vec<Incoming> {
        self.state.requests.reach("a request at the upstream", count).await
    }

    /// Answers the next request that has no other queued before it with this, whatever its path.
    pub fn queue(&self, answer: Answer) {
        self.state.queue.lock().expect("queue").push_back(answer);
    }

    /// Answers the next request with this, when it is let go.
    pub fn hold(&self, answer: Answer) -> Latch {
        let (latch, held) = answer.held();
        self.queue(held);
        latch
    }

    /// Answers the next request with a stream that the test feeds.
    pub fn stream(&self) -> mpsc::Sender<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(16);
        self.queue(Answer::Stream(receiver));
        sender
    }

    /// The same, where the response announces so many bytes.
    pub fn announce(&self, length: usize) -> mpsc::Sender<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(16);
        self.queue(Answer::Announced(length, receiver));
        sender
    }
}

impl State {
    fn answer(&self, incoming: Incoming) -> Answer {
        let queued = self.queue.lock().expect("queue").pop_front();
        let answer = queued.unwrap_or_else(|| by_path(&incoming));
        self.requests.push(incoming);
        answer
    }
}

fn by_path(incoming: &Incoming) -> Answer {
    let path = incoming.target.split('?').next().unwrap_or_default();
    let rest = path.trim_start_matches('/').split_once('/').map_or("", |(_, rest)| rest);
    match rest {
        "never" => Answer::Never,
        "half" => Answer::Half,
        "cut" => Answer::Cut,
        "echo" => Answer::Full { status: 200, headers: vec![], body: incoming.body.clone() },
        "big" => Answer::Full { status: 200, headers: vec![], body: big() },
        "cookie" => Answer::Full {
            status: 200,
            headers: vec![("Set-Cookie", "session=1".into()), ("Set-Cookie", "theme=dark".into())],
            body: b"cookie".to_vec(),
        },
        "public" => cached("public, max-age=600"),
        "no-store" => cached("no-store"),
        "no-cache" => cached("no-cache, must-revalidate"),
        // Interim, then final.
        "early" => Answer::Raw(
            b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"
                .to_vec(),
        ),
        // A backend that claims to be the gateway.
        "pretender" => Answer::Full {
            status: 200,
            headers: vec![
                ("PAYMENT-RESPONSE", "forged".into()),
                ("X-PAYMENT-RESPONSE", "forged".into()),
                ("farebox-pass", "forged".into()),
            ],
            body: b"pretender".to_vec(),
        },
        rest => match rest.strip_prefix("status/").and_then(|status| status.parse().ok()) {
            Some(status) => Answer::text(status, if matches!(status, 204 | 304) { "" } else { "status" }),
            None => Answer::text(200, "ok"),
        },
    }
}

/// The body of `/big`: every position has a byte of its own, so that nothing can be lost or moved unseen.
pub fn big() -> Vec<u8> {
    (0..BIG_BYTES).map(|index| (index % 251) as u8).collect()
}

fn cached(policy: &str) -> Answer {
    Answer::Full { status: 200, headers: vec![("Cache-Control", policy.into())], body: b"cached".to_vec() }
}
