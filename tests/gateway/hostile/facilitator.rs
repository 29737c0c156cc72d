//! A facilitator with honest books and bad manners. Each payment has a script of its own, so that many of them can go
//! wrong at once; the books, which are kept as a chain keeps them, are the judge of who was charged.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::sayings::truth;
use crate::node::{FakeNode, Fate, Spent, block_at};
use crate::support::facilitator::every_kind;
use crate::support::payer::now;
use crate::support::ports::Port;
use crate::support::server::{Handler, Incoming, Server};
use crate::support::{Answer, Payment};

/// Whether a `/settle` moves the money, if it has not moved already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    No,
    Yes,
    /// When the client has been answered without it, and before anything is said.
    Late,
}

/// What is done with one call.
#[derive(Debug, Clone, Copy)]
pub struct Act {
    pub moves: Moves,
    pub says: fn(&Call) -> Answer,
}

/// The acts of one payment: one for each call in turn, then the last one for ever.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub verify: VecDeque<Act>,
    pub settle: VecDeque<Act>,
}

/// A call as far as an answer depends on it.
#[derive(Debug, Clone)]
pub struct Call {
    pub operation: Operation,
    pub payer: Value,
    pub network: Value,
    /// What moved the money, now or earlier; else a hash that nothing has.
    pub transaction: String,
    /// Whether the money had moved before this call.
    pub used: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Verify,
    Settle,
}

/// One payment's page in the books.
#[derive(Default)]
struct Page {
    script: Script,
    payer: String,
    moved: bool,
    settles: usize,
    answered: Arc<Notify>,
}

pub struct HostileFacilitator {
    port: Port,
    server: Option<Server>,
    books: Arc<Books>,
}

/// By nonce; and a node that shows what moved, where the gateway has one to ask.
struct Books {
    pages: Mutex<HashMap<String, Page>>,
    node: Option<FakeNode>,
}

/// What anybody does who has not been told otherwise.
const HONEST: Act = Act { moves: Moves::Yes, says: truth };

impl HostileFacilitator {
    /// One that moves its money on this node's chain, or on none that anybody can see.
    pub async fn start(node: Option<FakeNode>) -> HostileFacilitator {
        let books = Arc::new(Books { pages: Mutex::default(), node });
        let mut facilitator = HostileFacilitator { port: Port::claim(), server: None, books };
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
        let books = self.books.clone();
        let handler: Handler = Arc::new(move |incoming| {
            let books = books.clone();
            Box::pin(async move { books.answer(incoming).await })
        });
        let listener = TcpListener::bind(self.address()).await.expect("its port, which is claimed");
        self.server = Some(Server::on(listener, handler));
    }

    /// What it does with this payment.
    pub fn script(&self, payment: &Payment, script: Script) {
        self.books.page(&nonce_of(&payment.json), |page| page.script = script);
    }

    /// The client has been answered: what was to come late comes now.
    pub fn answered(&self, payment: &Payment) {
        self.books.page(&nonce_of(&payment.json), |page| page.answered.notify_one());
    }

    /// How often this payer was charged, by whatever payments.
    pub fn charged(&self, payer: &str) -> usize {
        let pages = self.books.pages.lock().expect("the books");
        pages.values().filter(|page| page.moved && page.payer == payer).count()
    }

    /// Whether this payment's money moved.
    pub fn moved(&self, payment: &Payment) -> bool {
        self.books.page(&nonce_of(&payment.json), |page| page.moved)
    }

    /// How often it was asked to settle this payment.
    pub fn settles(&self, payment: &Payment) -> usize {
        self.books.page(&nonce_of(&payment.json), |page| page.settles)
    }
}

impl Books {
    fn page<T>(&self, nonce: &str, read: impl FnOnce(&mut Page) -> T) -> T {
        read(self.pages.lock().expect("the books").entry(nonce.to_owned()).or_default())
    }

    async fn answer(&self, incoming: Incoming) -> Answer {
        let operation = match incoming.target.as_str() {
            "/verify" => Operation::Verify,
            "/settle" => Operation::Settle,
            "/supported" => return Answer::json(200, &every_kind()),
            other => return Answer::text(404, other),
        };
        let body: Value = serde_json::from_slice(&incoming.body).expect("the gateway sends facilitators JSON");
        let nonce = nonce_of(&body["paymentPayload"]);
        let authorization = &body["paymentPayload"]["payload"]["authorization"];
        let payer = authorization["from"].clone();
        let (act, answered) = self.page(&nonce, |page| {
            page.payer = payer.as_str().expect("a payer").to_owned();
            page.settles += usize::from(operation == Operation::Settle);
            (page.script.next(operation), page.answered.clone())
        });
        if act.moves == Moves::Late {
            answered.notified().await;
        }
        let moves = operation == Operation::Settle && act.moves != Moves::No;
        let used = self.page(&nonce, |page| {
            let used = page.moved;
            page.moved |= moves;
            used
        });
        if let Some(node) = self.node.as_ref().filter(|_| moves && !used) {
            mine(node, authorization);
        }
        (act.says)(&Call {
            operation,
            payer,
            network: body["paymentRequirements"]["network"].clone(),
            transaction: nonce,
            used,
        })
    }
}

impl Script {
    /// Whether its first `/settle` moves the money.
    pub fn moves(&self) -> bool {
        self.settle.front().is_some_and(|act| act.moves != Moves::No)
    }

    /// Whether it moves the money when the client has been answered already.
    pub fn is_late(&self) -> bool {
        self.settle.front().is_some_and(|act| act.moves == Moves::Late)
    }

    fn next(&mut self, operation: Operation) -> Act {
        let acts = match operation {
            Operation::Verify => &mut self.verify,
            Operation::Settle => &mut self.settle,
        };
        let act = acts.front().copied().unwrap_or(HONEST);
        if acts.len() > 1 {
            acts.pop_front();
        }
        act
    }
}

impl Act {
    /// This act once, then what anybody does.
    pub fn once(self) -> VecDeque<Act> {
        VecDeque::from([self, HONEST])
    }

    pub fn always(self) -> VecDeque<Act> {
        VecDeque::from([self])
    }
}

impl Call {
    /// A decision on this call.
    pub fn settlement(&self, success: bool, code: &str, transaction: &str) -> Value {
        let mut decision = json!({
            "success": success, "transaction": transaction, "network": self.network, "payer": self.payer,
        });
        if !success {
            decision["errorReason"] = code.into();
            decision["errorMessage"] = crate::support::facilitator::LEAK.into();
        }
        decision
    }
}

/// Puts a transfer on the chain.
fn mine(node: &FakeNode, authorization: &Value) {
    let text = |key: &str| authorization[key].as_str().expect("a text");
    let (payer, nonce) = (text("from").parse().expect("an address"), text("nonce").parse().expect("a nonce"));
    let fate =
        Fate::Moved { to: text("to").parse().expect("an address"), value: text("value").parse().expect("an amount") };
    node.tell(|books| {
        books.latest = block_at(now());
        books.spent.push(Spent { payer, nonce, block: books.latest, fate });
    });
}

fn nonce_of(payment: &Value) -> String {
    let nonce = payment["payload"]["authorization"]["nonce"].as_str();
    nonce.unwrap_or_else(|| panic!("no nonce in {payment}")).to_lowercase()
}
