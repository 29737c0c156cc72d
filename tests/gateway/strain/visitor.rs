//! Somebody who comes again and again: to look, to pay, to come back inside a window, to cheat, and to hang up.
//!
//! A payment is sent again until it is served or refused, as every conforming client does; what became of it is told
//! in a [`Tale`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::B256;
use farebox::x402::Dialect;
use futures::future::join;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::town::{goods, long_goods};
use crate::support::h2::Http2;
use crate::support::{Challenge, Connection, Payer, Payment, Request, Response, within};

/// Between two errands, at most: traffic goes on, and leaves the machine to others.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Before a payment comes again, at first and at most.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// One request in so many comes over HTTP/2.
const HTTP2: u32 = 6;
/// The bytes of an upload.
const UPLOAD_BYTES: usize = 64 * 1024;
/// A host for all, for a window is one host's.
pub const HOST: &str = "shop.test";
/// Uses of a route's window that are paid for at once, on the routes of this prefix.
pub const USES: usize = 4;
pub const WINDOWS: &str = "window-";

/// Codes by which the facilitator refuses a payment that it would have settled another time.
const FROM_THE_FACILITATOR: [&str; 2] = ["insufficient_funds", "invalid_exact_evm_signature"];

/// What everybody shares.
pub struct Street {
    pub gateway: SocketAddr,
    /// Names of priced routes, which are their paths' first segments.
    pub routes: Vec<String>,
    /// Nobody begins anything any more.
    pub closes: AtomicBool,
    pub tales: Mutex<Vec<Tale>>,
    /// Requests and answers by kind.
    pub counts: Mutex<BTreeMap<String, usize>>,
    /// Payments that are neither served nor refused so far: by payer, and the last answer.
    pub open: Mutex<BTreeMap<String, String>>,
}

impl Street {
    pub fn count(&self, what: &str) {
        *self.counts.lock().expect("counts").entry(what.to_owned()).or_default() += 1;
    }
}

/// One payment, as its client knows it.
#[derive(Debug, Clone)]
pub struct Tale {
    pub payer: String,
    pub route: String,
    pub amount: u64,
    /// Whole answers that it, or its pass, brought.
    pub served: usize,
    /// Whether its client hung up on an answer, which may have been the one that it paid for.
    pub hung_up: bool,
    pub end: End,
}

/// How it ended for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It has what it paid for.
    Served,
    /// 402 with this code.
    Refused(String),
}

/// What an answer means to who has paid.
enum Meaning {
    Served,
    SamePaymentAgain,
    Refused(String),
}

/// A payment on its way.
struct Purchase {
    payer: String,
    payment: Payment,
    route: String,
    kind: Kind,
    amount: u64,
    served: usize,
    hung_up: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Short,
    Long,
    Upload,
}

/// Where a client that hangs up does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HangUp {
    WhenSent,
    InTheRequest,
    InTheAnswer,
}

pub struct Visitor {
    street: Arc<Street>,
    random: StdRng,
    connection: Option<Connection>,
}

impl Visitor {
    pub fn new(street: Arc<Street>, random: StdRng) -> Visitor {
        Visitor { street, random, connection: None }
    }

    /// Until the street closes.
    pub async fn stroll(mut self) {
        while !self.street.closes.load(Ordering::Relaxed) {
            match self.random.random_range(0..100) {
                0..25 => self.look_at_what_is_free().await,
                25..40 => {
                    let route = self.route();
                    self.challenge(&format!("/{route}/short")).await;
                }
                40..50 => self.cheat().await,
                50..80 => self.buy(None).await,
                80..90 => self.buy_twice_at_once().await,
                _ => {
                    let hang_up = *[HangUp::WhenSent, HangUp::InTheRequest, HangUp::InTheAnswer]
                        .choose(&mut self.random)
                        .expect("one");
                    self.buy(Some(hang_up)).await;
                }
            }
            let pause = self.random.random_range(Duration::ZERO..=PAUSE_MAX);
            tokio::time::sleep(pause).await;
        }
    }

    fn route(&mut self) -> String {
        self.street.routes.choose(&mut self.random).expect("a route").clone()
    }

    /// One request, on the connection of the last one or on a new one; `None` where it ended without an answer.
    async fn send(&mut self, request: Request) -> Option<Response> {
        let is_short = request.headers.0.iter().all(|(_, value)| value.len() < 8 * 1024);
        if is_short && self.random.random_ratio(1, HTTP2) {
            self.street.count("over HTTP/2");
            let mut connection = Http2::open(self.street.gateway).await;
            return within("an answer", connection.try_exchange(&request.header(":authority", HOST))).await.ok();
        }
        let mut connection = match self.connection.take().filter(|_| self.random.random()) {
            Some(connection) => connection,
            None => Connection::open(self.street.gateway).await,
        };
        connection.send(&request.clone().header("Host", HOST)).await;
        let head = within("an answer", connection.try_head(&request.method)).await?;
        let response = connection.finish(head).await;
        if response.complete && !response.headers.lists("connection", "close") {
            self.connection = Some(connection);
        }
        Some(response)
    }

    async fn look_at_what_is_free(&mut self) {
        let mut request = match self.random.random_range(0..3) {
            0 => Request::post("/free/upload", vec![b'u'; UPLOAD_BYTES]),
            _ => Request::get("/free/short"),
        };
        if self.random.random() {
            request = request.header("farebox-payer", "0xforged").header("farebox-payment-id", "forged");
        }
        let Some(response) = self.send(request).await else { return self.street.count("free: cut off") };
        match response.status {
            200 if response.complete => assert_eq!(response.text(), "free"),
            200 | 404 | 500 | 502 | 504 => {}
            other => panic!("a free request: {other}: {response:?}"),
        }
        self.street.count(&format!("free: {}", response.status));
    }

    /// The terms of a path; `None` where its route is away for the moment.
    async fn challenge(&mut self, path: &str) -> Option<Challenge> {
        loop {
            let Some(response) = self.send(Request::get(path)).await else { continue };
            self.street.count(&format!("unpaid: {}", response.status));
            match response.status {
                402 => return Some(Challenge::of(&response)),
                404 if path.starts_with("/extra/") => return None,
                other => panic!("an unpaid request: {other}: {response:?}"),
            }
        }
    }

    fn dialect(&mut self) -> Dialect {
        if self.random.random() { Dialect::V1 } else { Dialect::V2 }
    }

    /// A payer who pays once.
    fn payer(&mut self) -> Payer {
        Payer::with_key(self.random.random())
    }

    /// Payments that pay nothing.
    async fn cheat(&mut self) {
        let route = self.route();
        let path = format!("/{route}/never-served");
        let Some(challenge) = self.challenge(&path).await else { return };
        let (payer, dialect) = (self.payer(), self.dialect());
        let mut draft = payer.draft(&challenge, dialect);
        draft.authorization.nonce = B256::from(self.random.random::<[u8; 32]>());
        let (what, request, statuses) = match self.random.random_range(0..7) {
            0 => {
                draft.authorization.value = farebox::money::Amount::from(1_u64);
                ("a small amount", Request::get(&path).paid(&draft.sign(&payer)), [402, 402])
            }
            1 => {
                draft.authorization.to = payer.address();
                ("to itself", Request::get(&path).paid(&draft.sign(&payer)), [402, 402])
            }
            2 => {
                draft.authorization.valid_before = draft.authorization.valid_after + 1;
                ("too late", Request::get(&path).paid(&draft.sign(&payer)), [402, 402])
            }
            3 => {
                let forged =
                    draft.sign(&payer).with("/payload/authorization/nonce", format!("0x{}", "5e".repeat(32)).into());
                ("a forged signature", Request::get(&path).paid(&forged), [402, 402])
            }
            4 => {
                let paid = draft.sign(&payer);
                ("twice", Request::get(&path).paid(&paid).paid(&paid), [400, 400])
            }
            5 => {
                let garbage: String =
                    (0..self.random.random_range(1..8000)).map(|_| self.random.random_range('!'..='~')).collect();
                ("garbage", Request::get(&path).header("X-PAYMENT", garbage), [400, 402])
            }
            _ => ("endless", Request::get(&path).header("PAYMENT-SIGNATURE", "A".repeat(20_000)), [400, 400]),
        };
        let Some(response) = self.send(request).await else { return };
        let allowed = statuses.contains(&response.status) || response.status == 404 && route == "extra";
        assert!(allowed, "{what}: {response:?}");
        self.street.count(&format!("bad payments: {}", response.status));
    }

    /// Signs a payment for what the route costs now.
    async fn sign(&mut self) -> Option<Purchase> {
        let route = self.route();
        let kind = *[Kind::Short, Kind::Short, Kind::Long, Kind::Upload].choose(&mut self.random).expect("one");
        let challenge = self.challenge(&format!("/{route}/{}", kind.path())).await?;
        let (payer, dialect) = (self.payer(), self.dialect());
        let mut draft = payer.draft(&challenge, dialect);
        draft.authorization.nonce = B256::from(self.random.random::<[u8; 32]>());
        self.street.count("payments");
        Some(Purchase {
            payer: payer.address().to_string(),
            payment: draft.sign(&payer),
            route,
            kind,
            amount: challenge.amount().parse().expect("an amount"),
            served: 0,
            hung_up: false,
        })
    }

    async fn buy(&mut self, hang_up: Option<HangUp>) {
        let Some(mut purchase) = self.sign().await else { return };
        if let Some(hang_up) = hang_up {
            self.street.count(&format!("hung up: {hang_up:?}"));
            self.hang_up(hang_up, &purchase).await;
            purchase.hung_up = true;
        }
        self.carry_through(purchase).await;
    }

    async fn buy_twice_at_once(&mut self) {
        let Some(mut purchase) = self.sign().await else { return };
        self.street.count("two at once");
        let once = async || {
            let mut connection = Connection::open(self.street.gateway).await;
            let request = purchase.request().header("Host", HOST);
            connection.send(&request).await;
            let head = within("an answer", connection.try_head(&request.method)).await?;
            Some(connection.finish(head).await)
        };
        let answers = join(once(), once()).await;
        let read = |answer: Option<Response>| answer.map_or(Meaning::SamePaymentAgain, |answer| purchase.read(&answer));
        match (read(answers.0), read(answers.1)) {
            (Meaning::Refused(code), Meaning::Refused(_)) => self.tell(purchase, End::Refused(code)),
            (Meaning::Served, Meaning::Served) => {
                purchase.served = 2;
                self.after(purchase).await;
            }
            (Meaning::Served, _) | (_, Meaning::Served) => {
                purchase.served = 1;
                self.after(purchase).await;
            }
            _ => self.carry_through(purchase).await,
        }
    }

    /// Sends the payment until it is served or refused.
    async fn carry_through(&mut self, mut purchase: Purchase) {
        let mut pause = AGAIN;
        loop {
            let answer = self.send(purchase.request()).await;
            let meaning = answer.as_ref().map_or(Meaning::SamePaymentAgain, |answer| purchase.read(answer));
            match meaning {
                Meaning::Served => {
                    purchase.served += 1;
                    self.street.open.lock().expect("open").remove(&purchase.payer);
                    let header = |name| answer.as_ref().and_then(|answer| answer.header(name)).map(str::to_owned);
                    if let Some((pass, cookie)) = header("farebox-pass").zip(header("set-cookie")) {
                        self.come_back(&mut purchase, &pass, &cookie).await;
                    }
                    return self.after(purchase).await;
                }
                // The request that it hung up on may be under way still, and charge what another one was refused.
                Meaning::Refused(code) if purchase.hung_up && FROM_THE_FACILITATOR.contains(&code.as_str()) => {
                    self.street.count("payments sent again: refused, and hung up before");
                }
                Meaning::Refused(code) => {
                    self.street.open.lock().expect("open").remove(&purchase.payer);
                    return self.tell(purchase, End::Refused(code));
                }
                Meaning::SamePaymentAgain => {
                    let said =
                        answer.map_or("nothing".to_owned(), |answer| format!("{} {}", answer.status, answer.text()));
                    let what = match said.split_once(' ') {
                        Some(("503", body)) if body.contains("settlement_pending") => "settlement pending",
                        Some(("503", _)) => "unavailable",
                        Some((status @ ("404" | "409" | "500" | "502" | "504"), _)) => status,
                        _ => "cut off",
                    };
                    self.street.count(&format!("payments sent again: {what}"));
                    self.street.open.lock().expect("open").insert(purchase.payer.clone(), said);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    /// What a client whose payment was served tries besides.
    async fn after(&mut self, mut purchase: Purchase) {
        if self.random.random_ratio(1, 4) {
            self.street.count("spent payments sent again");
            if let Some(answer) = self.send(purchase.request()).await
                && answer.status == 200
                && answer.complete
            {
                purchase.served += 1;
            }
        }
        self.tell(purchase, End::Served);
    }

    /// Inside the window, by each of the ways in.
    async fn come_back(&mut self, purchase: &mut Purchase, pass: &str, cookie: &str) {
        let cookie = cookie.split(';').next().expect("a cookie's name and value");
        for _ in 0..self.random.random_range(1..=USES) {
            let request = purchase.unpaid();
            let request = match self.random.random_range(0..3) {
                0 => request.header("farebox-pass", pass),
                1 => request.header("Cookie", format!("a=b; {cookie}")),
                _ => purchase.request(),
            };
            let Some(answer) = self.send(request).await else { continue };
            self.street.count(&format!("inside a window: {}", answer.status));
            if answer.status == 200 && answer.complete {
                purchase.is_goods(&answer);
                purchase.served += 1;
            }
        }
    }

    async fn hang_up(&mut self, hang_up: HangUp, purchase: &Purchase) {
        let mut connection = Connection::open(self.street.gateway).await;
        let bytes = purchase.request().header("Host", HOST).to_bytes(self.street.gateway);
        match hang_up {
            HangUp::WhenSent => connection.send_bytes(&bytes).await,
            HangUp::InTheRequest => connection.send_bytes(&bytes[..bytes.len() - bytes.len() / 20 - 1]).await,
            HangUp::InTheAnswer => {
                connection.send_bytes(&bytes).await;
                connection.some_body().await;
            }
        }
    }

    fn tell(&self, purchase: Purchase, end: End) {
        let Purchase { payer, route, amount, served, hung_up, .. } = purchase;
        self.street.tales.lock().expect("tales").push(Tale { payer, route, amount, served, hung_up, end });
    }
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Kind::Short => "short",
            Kind::Long => "long",
            Kind::Upload => "upload",
        }
    }
}

impl Purchase {
    fn unpaid(&self) -> Request {
        let path = format!("/{}/{}", self.route, self.kind.path());
        match self.kind {
            Kind::Short | Kind::Long => Request::get(&path),
            Kind::Upload => Request::post(&path, vec![b'u'; UPLOAD_BYTES]),
        }
    }

    fn request(&self) -> Request {
        self.unpaid().paid(&self.payment)
    }

    fn is_goods(&self, response: &Response) {
        let goods = match self.kind {
            Kind::Short => goods(&self.payer).into_bytes(),
            Kind::Long => long_goods(&self.payer),
            Kind::Upload => [goods(&self.payer).as_bytes(), &[b'u'; UPLOAD_BYTES]].concat(),
        };
        assert!(response.body == goods, "{} was given something else on {}", self.payer, self.route);
    }

    fn read(&self, response: &Response) -> Meaning {
        let payer = &self.payer;
        match response.status {
            200 if response.complete => {
                self.is_goods(response);
                Meaning::Served
            }
            200 => Meaning::SamePaymentAgain,
            402 => Meaning::Refused(response.error()),
            503 => {
                let codes = ["settlement_pending", "facilitator_unavailable"];
                assert!(codes.contains(&response.error().as_str()), "{payer}: {response:?}");
                assert_eq!(response.json()["retry"], "same_payment", "{payer}");
                Meaning::SamePaymentAgain
            }
            409 => {
                assert_eq!(response.error(), "payment_in_use", "{payer}");
                Meaning::SamePaymentAgain
            }
            // The upstream's own, no answer of it, or a route that is away for the moment.
            500 | 502 | 504 | 404 => Meaning::SamePaymentAgain,
            other => panic!("{payer}: {other}: {response:?}"),
        }
    }
}
