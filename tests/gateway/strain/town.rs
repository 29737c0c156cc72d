//! A facilitator and an upstream that go wrong at random for as long as they are let, and remember exactly what they did.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::hostile::facilitator::{Call, Operation};
use crate::hostile::sayings::{self, NAMING, NONSENSE, OPEN_ENDED, REFUSALS, TURNED_AWAY, truth};
use crate::node::{FakeNode, Fate, Spent, block_at, transaction_of};
use crate::support::Answer;
use crate::support::facilitator::every_kind;
use crate::support::payer::now;
use crate::support::ports::Port;
use crate::support::server::{Handler, Incoming, Server};

/// Of the facilitator's answers, so many in a hundred are not as they should be.
const SETTLE_FAULTS: u32 = 25;
const VERIFY_FAULTS: u32 = 12;
/// Of the upstream's.
const UPSTREAM_FAULTS: u32 = 15;
/// The longest that a slow answer takes.
const SLOW_MAX: Duration = Duration::from_millis(400);
/// After which money moves that moves late: when the client has its answer, and before it comes again or after.
const LATE_MAX: Duration = Duration::from_millis(1500);
/// The bytes of a long answer: more than what lies in the buffers between upstream and client.
const LONG_BYTES: usize = 512 * 1024;

/// Both, and the chain that the money moves on.
pub struct Town {
    pub books: Arc<Books>,
    facilitator: Server,
    upstream: Server,
    /// Where nobody listens.
    deserted: Port,
}

/// What was done, and by what chance.
pub struct Books {
    node: FakeNode,
    random: Mutex<StdRng>,
    goes_wrong: AtomicBool,
    /// By payer, who pays once: each amount that moved.
    moved: Mutex<HashMap<String, Vec<u64>>>,
    /// By payer: the ids by which the upstream was told of the payment.
    ids: Mutex<HashMap<String, Vec<String>>>,
    /// Requests that should not have come to the upstream.
    strangers: Mutex<Vec<String>>,
    /// How often what went wrong.
    faults: Mutex<BTreeMap<String, usize>>,
}

/// When a `/settle` moves the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moves {
    No,
    Yes,
    Late,
}

/// What a payer gets.
pub fn goods(payer: &str) -> String {
    format!("what {payer} has paid for")
}

/// What a payer gets who asks for much.
pub fn long_goods(payer: &str) -> Vec<u8> {
    goods(payer).into_bytes().into_iter().cycle().take(LONG_BYTES).collect()
}

impl Town {
    pub async fn found(seed: u64, token: &str) -> Town {
        let books = Arc::new(Books {
            node: FakeNode::at(now(), token.parse().expect("an address")).await,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            goes_wrong: AtomicBool::new(true),
            moved: Mutex::default(),
            ids: Mutex::default(),
            strangers: Mutex::default(),
            faults: Mutex::default(),
        });
        let facilitator: Handler = {
            let books = books.clone();
            Arc::new(move |incoming| {
                let books = books.clone();
                Box::pin(async move { books.facilitate(incoming).await })
            })
        };
        let upstream: Handler = {
            let books = books.clone();
            Arc::new(move |incoming| {
                let books = books.clone();
                Box::pin(async move { books.serve(incoming).await })
            })
        };
        let (facilitator, upstream) = (Server::start(facilitator).await, Server::start(upstream).await);
        Town { books, facilitator, upstream, deserted: Port::claim() }
    }

    pub fn facilitator(&self) -> SocketAddr {
        self.facilitator.address
    }

    pub fn upstream(&self) -> SocketAddr {
        self.upstream.address
    }

    /// An address that refuses connections.
    pub fn deserted(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.deserted.number))
    }

    pub fn node(&self) -> String {
        self.books.node.url()
    }

    /// Closes every connection; what was written down stays.
    pub async fn close(self) -> Arc<Books> {
        self.facilitator.stop().await;
        self.upstream.stop().await;
        self.books
    }
}

impl Books {
    /// From here on everybody does as he should.
    pub fn be_good(&self) {
        self.goes_wrong.store(false, Ordering::Relaxed);
    }

    /// The chain goes on, whether anybody pays or not.
    pub fn tick(&self) {
        self.node.tell(|books| {
            books.latest = block_at(now());
            books.asked.clear();
        });
    }

    /// Each amount that moved from this payer.
    pub fn moved(&self, payer: &str) -> Vec<u64> {
        lock(&self.moved).get(payer).cloned().unwrap_or_default()
    }

    /// Everything that moved.
    pub fn moved_in_all(&self) -> u64 {
        lock(&self.moved).values().flatten().sum()
    }

    /// Everybody who came to the upstream as a payer, and by which ids.
    pub fn ids(&self) -> HashMap<String, Vec<String>> {
        lock(&self.ids).clone()
    }

    pub fn strangers(&self) -> Vec<String> {
        lock(&self.strangers).clone()
    }

    pub fn faults(&self) -> BTreeMap<String, usize> {
        lock(&self.faults).clone()
    }

    fn fault(&self, what: &str) {
        *lock(&self.faults).entry(what.to_owned()).or_default() += 1;
    }

    fn chance<T>(&self, throw: impl FnOnce(&mut StdRng) -> T) -> T {
        throw(&mut lock(&self.random))
    }

    fn goes_wrong(&self, percent: u32) -> bool {
        self.goes_wrong.load(Ordering::Relaxed) && self.chance(|random| random.random_ratio(percent, 100))
    }

    async fn facilitate(self: &Arc<Books>, incoming: Incoming) -> Answer {
        let operation = match incoming.target.as_str() {
            "/verify" => Operation::Verify,
            "/settle" => Operation::Settle,
            "/supported" => return Answer::json(200, &every_kind()),
            other => return Answer::text(404, other),
        };
        let body: Value = serde_json::from_slice(&incoming.body).expect("the gateway sends facilitators JSON");
        let authorization = &body["paymentPayload"]["payload"]["authorization"];
        let nonce = authorization["nonce"].as_str().and_then(|nonce| nonce.parse().ok()).expect("a nonce");
        let payer = text(authorization, "from").to_owned();
        let wrong = match operation {
            Operation::Verify => self.goes_wrong(VERIFY_FAULTS).then(|| self.wrong_verify()),
            Operation::Settle => self.goes_wrong(SETTLE_FAULTS).then(|| self.wrong_settle()),
        };
        let (moves, says) = wrong.unwrap_or((Moves::Yes, truth));
        if wrong.is_some() && self.chance(|random| random.random_ratio(1, 3)) {
            self.fault("facilitator: slow");
            tokio::time::sleep(self.chance(|random| random.random_range(Duration::ZERO..=SLOW_MAX))).await;
        }
        let used = !self.moved(&payer).is_empty();
        let is_over = now() >= text(authorization, "validBefore").parse().expect("seconds");
        if operation == Operation::Settle {
            match moves {
                Moves::No => {}
                Moves::Yes => self.mine(authorization),
                Moves::Late => {
                    let (books, authorization) = (self.clone(), authorization.clone());
                    let late = self.chance(|random| random.random_range(Duration::ZERO..=LATE_MAX));
                    tokio::spawn(async move {
                        tokio::time::sleep(late).await;
                        books.mine(&authorization);
                    });
                }
            }
        }
        let call = Call {
            operation,
            payer: payer.into(),
            network: body["paymentRequirements"]["network"].clone(),
            transaction: transaction_of(nonce).to_string(),
            used,
        };
        if operation == Operation::Settle && wrong.is_none() && !used && is_over {
            let decision = call.settlement(false, "invalid_exact_evm_payload_authorization_valid_before", "");
            return Answer::json(200, &decision);
        }
        says(&call)
    }

    /// As a token does it: once, and not when its time is over.
    fn mine(&self, authorization: &Value) {
        let (payer, value) = (text(authorization, "from"), text(authorization, "value"));
        let mut moved = lock(&self.moved);
        let amounts = moved.entry(payer.to_owned()).or_default();
        if !amounts.is_empty() || now() >= text(authorization, "validBefore").parse().expect("seconds") {
            return;
        }
        let value: u64 = value.parse().expect("an amount");
        amounts.push(value);
        let (payer, nonce) =
            (payer.parse().expect("an address"), text(authorization, "nonce").parse().expect("a nonce"));
        let fate = Fate::Moved { to: text(authorization, "to").parse().expect("an address"), value };
        self.node.tell(|books| {
            books.latest = block_at(now());
            books.spent.push(Spent { payer, nonce, block: books.latest, fate });
        });
    }

    fn wrong_verify(&self) -> (Moves, fn(&Call) -> Answer) {
        self.chance(|random| {
            let refusals: Vec<_> = REFUSALS.iter().map(|(_, saying)| *saying).collect();
            let (what, says) = *match random.random_range(0..10) {
                0 => refusals.choose(random),
                1 => [("silence", sayings::silence as fn(&Call) -> Answer)].choose(random),
                2 | 3 => TURNED_AWAY.choose(random),
                4..7 => NONSENSE.choose(random),
                _ => [("nothing but time", truth as fn(&Call) -> Answer)].choose(random),
            }
            .expect("a saying");
            self.fault(&format!("/verify: {what}"));
            (Moves::No, says)
        })
    }

    fn wrong_settle(&self) -> (Moves, fn(&Call) -> Answer) {
        self.chance(|random| {
            let any = *[Moves::No, Moves::Yes, Moves::Late].choose(random).expect("one");
            let refusals: Vec<_> = REFUSALS.iter().map(|(_, saying)| *saying).collect();
            let (moves, saying) = match random.random_range(0..10) {
                0 => (Moves::No, refusals.choose(random)),
                1 => (Moves::No, TURNED_AWAY.choose(random)),
                2 => (any, [("silence", sayings::silence as fn(&Call) -> Answer)].choose(random)),
                3 | 4 => (any, OPEN_ENDED.choose(random)),
                5 | 6 => (any, NAMING.choose(random)),
                7 | 8 => (any, NONSENSE.choose(random)),
                _ => (Moves::Yes, [("nothing but time", truth as fn(&Call) -> Answer)].choose(random)),
            };
            let (what, says) = *saying.expect("a saying");
            self.fault(&format!("/settle: {what}, money: {moves:?}"));
            (moves, says)
        })
    }

    async fn serve(&self, incoming: Incoming) -> Answer {
        let body = match incoming.header("farebox-payment-id") {
            _ if incoming.target.starts_with("/free/") => {
                if incoming.headers.0.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("farebox-pay")) {
                    lock(&self.strangers).push(format!("{incoming:?}"));
                }
                b"free".to_vec()
            }
            Some(id) if !incoming.target.contains("never-served") => {
                let payer = incoming.header("farebox-payer").expect("a payer with every payment id");
                let mut ids = lock(&self.ids);
                let known = ids.entry(payer.to_owned()).or_default();
                if !known.iter().any(|known| known == id) {
                    known.push(id.to_owned());
                }
                match incoming.target.rsplit('/').next() {
                    Some("long") => long_goods(payer),
                    Some("upload") => [goods(payer).as_bytes(), &incoming.body].concat(),
                    _ => goods(payer).into_bytes(),
                }
            }
            Some(_) | None => {
                lock(&self.strangers).push(format!("{incoming:?}"));
                b"not for you".to_vec()
            }
        };
        let good = Answer::Full { status: 200, headers: vec![("Content-Type", "text/plain".into())], body };
        if !self.goes_wrong(UPSTREAM_FAULTS) {
            return good;
        }
        let (what, answer) = match self.chance(|random| random.random_range(0..100)) {
            0..25 => ("500", Answer::text(500, "broken")),
            25..35 => ("404", Answer::text(404, "gone")),
            35..50 => ("a cut", Answer::Cut),
            50..70 => ("half an answer", Answer::Half),
            70..75 => ("silence", Answer::Never),
            _ => {
                tokio::time::sleep(self.chance(|random| random.random_range(Duration::ZERO..=SLOW_MAX))).await;
                ("slow", good)
            }
        };
        self.fault(&format!("upstream: {what}"));
        answer
    }
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("no {key} in {object}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("the books")
}
