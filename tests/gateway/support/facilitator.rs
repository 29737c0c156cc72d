//! A facilitator that keeps a chain's books in memory and answers as it is told to.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::ports::Port;
use super::server::{Answer, Handler, Incoming, Latch, Records, Server};

/// An answer to `/verify`.
pub enum Verify {
    /// `isValid: true`.
    Valid,
    /// `isValid: false` with this code.
    Invalid(&'static str),
    /// Anything at all.
    Answer(Answer),
}

/// An answer to `/settle`.
pub enum Settle {
    /// The money moves and the answer says so.
    Settled,
    /// The money moves, the answer is this.
    MovedBut(Answer),
    /// Nothing moves; `success: false` with this code.
    Refused(&'static str),
    /// Nothing moves; the answer is this.
    Answer(Answer),
}

/// A facilitator on loopback. Unless told otherwise, every payment is valid, and settles once: a second `/settle` of
/// the same payer and nonce is refused as the chain would refuse it.
pub struct FakeFacilitator {
    port: Port,
    server: Option<Server>,
    state: Arc<State>,
}

struct State {
    verifies: Records<Incoming>,
    settles: Records<Incoming>,
    supporteds: Records<Incoming>,
    verify: Mutex<VecDeque<(Option<Held>, Verify)>>,
    settle: Mutex<VecDeque<(Option<Held>, Settle)>>,
    supported: Mutex<Value>,
    /// Payer and nonce of each payment whose money moved, in order.
    moved: Mutex<Vec<(String, String)>>,
    used: Mutex<HashSet<(String, String)>>,
}

type Held = tokio::sync::oneshot::Receiver<()>;

impl FakeFacilitator {
    pub async fn start() -> FakeFacilitator {
        let state = Arc::new(State {
            verifies: Records::new(),
            settles: Records::new(),
            supporteds: Records::new(),
            verify: Mutex::default(),
            settle: Mutex::default(),
            supported: Mutex::new(every_kind()),
            moved: Mutex::default(),
            used: Mutex::default(),
        });
        let mut facilitator = FakeFacilitator { port: Port::claim(), server: None, state };
        facilitator.come_back().await;
        facilitator
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number))
    }

    /// From here on its port refuses connections.
    pub async fn go_away(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Listens, at the address it always had.
    pub async fn come_back(&mut self) {
        let state = self.state.clone();
        let handler: Handler = Arc::new(move |incoming| {
            let state = state.clone();
            Box::pin(async move { state.answer(incoming).await })
        });
        let listener = TcpListener::bind(self.address()).await.expect("its port, which is claimed");
        self.server = Some(Server::on(listener, handler));
    }

    /// The next `/verify` that has no other answer queued before it is answered with this.
    pub fn on_verify(&self, verify: Verify) {
        self.state.verify.lock().expect("queue").push_back((None, verify));
    }

    /// The next `/settle` that has no other answer queued before it is answered with this.
    pub fn on_settle(&self, settle: Settle) {
        self.state.settle.lock().expect("queue").push_back((None, settle));
    }

    /// The next `/verify` waits to be let go; nothing is decided before.
    pub fn hold_verify(&self, verify: Verify) -> Latch {
        let (latch, held) = Latch::new();
        self.state.verify.lock().expect("queue").push_back((Some(held), verify));
        latch
    }

    /// The next `/settle` waits to be let go; nothing moves before.
    pub fn hold_settle(&self, settle: Settle) -> Latch {
        let (latch, held) = Latch::new();
        self.state.settle.lock().expect("queue").push_back((Some(held), settle));
        latch
    }

    /// What `/supported` answers from now on.
    pub fn set_supported(&self, supported: Value) {
        *self.state.supported.lock().expect("supported") = supported;
    }

    pub fn verifies(&self) -> Vec<Incoming> {
        self.state.verifies.all()
    }

    pub fn settles(&self) -> Vec<Incoming> {
        self.state.settles.all()
    }

    /// How many calls of `/verify` and `/settle` there were.
    pub fn calls(&self) -> (usize, usize) {
        (self.state.verifies.count(), self.state.settles.count())
    }

    pub async fn verify_reached(&self, count: usize) -> Vec<Incoming> {
        self.state.verifies.reach("a /verify", count).await
    }

    pub async fn settle_reached(&self, count: usize) -> Vec<Incoming> {
        self.state.settles.reach("a /settle", count).await
    }

    /// How many payments' money moved.
    pub fn charged(&self) -> usize {
        self.state.moved.lock().expect("books").len()
    }
}

impl Latch {
    fn new() -> (Latch, Held) {
        let (latch, answer) = Answer::Cut.held();
        match answer {
            Answer::Held(held, _) => (latch, held),
            _ => unreachable!("held answers are Held"),
        }
    }
}

impl State {
    async fn answer(&self, incoming: Incoming) -> Answer {
        match incoming.target.as_str() {
            "/verify" => {
                let (held, verify) = pop(&self.verify, Verify::Valid);
                let body = body_of(&incoming);
                self.verifies.push(incoming);
                wait(held).await;
                let payer = authorization(&body)["from"].clone();
                match verify {
                    Verify::Valid => Answer::json(200, &json!({"isValid": true, "payer": payer})),
                    Verify::Invalid(code) => {
                        let answer =
                            json!({"isValid": false, "invalidReason": code, "invalidMessage": LEAK, "payer": payer});
                        Answer::json(200, &answer)
                    }
                    Verify::Answer(answer) => answer,
                }
            }
            "/settle" => {
                let (held, settle) = pop(&self.settle, Settle::Settled);
                let body = body_of(&incoming);
                self.settles.push(incoming);
                wait(held).await;
                match settle {
                    Settle::Settled => self.settle(&body),
                    Settle::MovedBut(answer) => {
                        self.settle(&body);
                        answer
                    }
                    Settle::Refused(code) => Answer::json(200, &refusal(&body, code)),
                    Settle::Answer(answer) => answer,
                }
            }
            "/supported" => {
                self.supporteds.push(incoming);
                Answer::json(200, &self.supported.lock().expect("supported"))
            }
            other => Answer::text(404, other),
        }
    }

    fn settle(&self, body: &Value) -> Answer {
        let authorization = authorization(body);
        let key = (text(&authorization["from"]).to_lowercase(), text(&authorization["nonce"]).to_lowercase());
        if !self.used.lock().expect("books").insert(key.clone()) {
            return Answer::json(200, &refusal(body, "invalid_exact_evm_nonce_already_used"));
        }
        let mut moved = self.moved.lock().expect("books");
        moved.push(key);
        let transaction = format!("0x{:064x}", moved.len());
        let network = &body["paymentRequirements"]["network"];
        let answer = json!({
            "success": true, "transaction": transaction, "network": network, "payer": authorization["from"],
        });
        Answer::json(200, &answer)
    }
}

/// What a facilitator's own words would look like to a client: they must never reach one.
pub const LEAK: &str = "internal: rpc at 10.0.0.7 reverted with calldata 0xdeadbeef";

fn refusal(body: &Value, code: &str) -> Value {
    json!({
        "success": false, "errorReason": code, "errorMessage": LEAK, "transaction": "",
        "network": body["paymentRequirements"]["network"], "payer": authorization(body)["from"],
    })
}

/// What `/supported` names: exact on Base and its test network, in both versions.
pub fn every_kind() -> Value {
    json!({
        "kinds": [
            {"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
            {"x402Version": 2, "scheme": "exact", "network": "eip155:8453"},
            {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
            {"x402Version": 1, "scheme": "exact", "network": "base"},
        ],
        "extensions": [],
        "signers": {"eip155:*": ["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"]},
    })
}

fn pop<T>(queue: &Mutex<VecDeque<(Option<Held>, T)>>, default: T) -> (Option<Held>, T) {
    queue.lock().expect("queue").pop_front().unwrap_or((None, default))
}

async fn wait(held: Option<Held>) {
    if let Some(held) = held {
        let _ = held.await;
    }
}

fn body_of(incoming: &Incoming) -> Value {
    serde_json::from_slice(&incoming.body).expect("the gateway sends facilitators JSON")
}

fn authorization(body: &Value) -> Value {
    body["paymentPayload"]["payload"]["authorization"].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}
