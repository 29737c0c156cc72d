//! What stands around a gateway that is killed: it lives on, and remembers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::places::{Place, Places};
use crate::support::facilitator::every_kind;
use crate::support::server::{Handler, Incoming, Server};
use crate::support::{Answer, Setup};

/// A facilitator and an upstream, honest both, with a trap now and then.
pub struct Town {
    pub places: Arc<Places>,
    facilitator: Server,
    upstream: Server,
    books: Arc<Books>,
}

/// By payer: everybody buys one thing.
#[derive(Default)]
struct Books {
    /// The nonces that moved money.
    moved: Mutex<HashMap<String, Vec<String>>>,
    /// The ids by which the upstream was told of a payment.
    ids: Mutex<HashMap<String, HashSet<String>>>,
}

impl Town {
    pub async fn found() -> Town {
        let (places, books) = (Arc::new(Places::default()), Arc::new(Books::default()));
        let facilitator: Handler = {
            let (places, books) = (places.clone(), books.clone());
            Arc::new(move |incoming| {
                let (places, books) = (places.clone(), books.clone());
                Box::pin(async move { facilitate(places, &books, incoming).await })
            })
        };
        let upstream: Handler = {
            let (places, books) = (places.clone(), books.clone());
            Arc::new(move |incoming| {
                let (places, books) = (places.clone(), books.clone());
                Box::pin(async move { serve(places, &books, incoming).await })
            })
        };
        let (facilitator, upstream) = (Server::start(facilitator).await, Server::start(upstream).await);
        Town { places, facilitator, upstream, books }
    }

    pub fn setup(&self) -> Setup {
        Setup::at(self.upstream.address, &format!("url = \"http://{}\"", self.facilitator.address))
    }

    /// How often this payer was charged.
    pub fn charged(&self, payer: &str) -> usize {
        self.books.moved.lock().expect("the books").get(payer).map_or(0, Vec::len)
    }

    /// The ids by which the upstream was told of this payer's payment.
    pub fn ids(&self, payer: &str) -> HashSet<String> {
        self.books.ids.lock().expect("the books").get(payer).cloned().unwrap_or_default()
    }
}

/// What a payer gets for its money.
pub fn goods(payer: &str) -> String {
    format!("the first half of what {payer} has paid for, and the second half of what {payer} has paid for")
}

/// Settles each nonce once, as a chain does.
async fn facilitate(places: Arc<Places>, books: &Books, incoming: Incoming) -> Answer {
    if incoming.target == "/supported" {
        return Answer::json(200, &every_kind());
    }
    let body: Value = serde_json::from_slice(&incoming.body).expect("the gateway sends facilitators JSON");
    let authorization = &body["paymentPayload"]["payload"]["authorization"];
    let text = |key: &str| authorization[key].as_str().expect("a text").to_owned();
    let (payer, nonce) = (text("from"), text("nonce"));
    if incoming.target == "/verify" {
        places.pass(Place::Verify).await;
        return Answer::json(200, &json!({"isValid": true, "payer": payer}));
    }
    if !places.pass(Place::Settling).await {
        return Answer::Cut;
    }
    let is_new = {
        let mut moved = books.moved.lock().expect("the books");
        let nonces = moved.entry(payer.clone()).or_default();
        let is_new = !nonces.contains(&nonce);
        if is_new {
            nonces.push(nonce.clone());
        }
        is_new
    };
    places.pass(Place::Moved).await;
    let network = &body["paymentRequirements"]["network"];
    let answer = Answer::json(
        200,
        &if is_new {
            json!({"success": true, "transaction": nonce, "network": network, "payer": payer})
        } else {
            json!({"success": false, "errorReason": "invalid_exact_evm_nonce_already_used", "transaction": "",
                   "network": network, "payer": payer})
        },
    );
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        if told.await.is_ok() {
            places.pass(Place::Answered).await;
        }
    });
    Answer::Told(tell, Box::new(answer))
}

async fn serve(places: Arc<Places>, books: &Books, incoming: Incoming) -> Answer {
    let header = |name: &str| incoming.header(name).unwrap_or_else(|| panic!("no {name} in {incoming:?}")).to_owned();
    let (payer, id) = (header("farebox-payer"), header("farebox-payment-id"));
    books.ids.lock().expect("the books").entry(payer.clone()).or_default().insert(id);
    places.pass(Place::Head).await;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let goods = goods(&payer).into_bytes();
        let (first, second) = goods.split_at(goods.len() / 2);
        // A gateway that is dead takes nothing.
        let _ = sender.send(first.to_vec()).await;
        places.pass(Place::Body).await;
        let _ = sender.send(second.to_vec()).await;
    });
    Answer::Stream(receiver)
}
