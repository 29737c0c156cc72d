//! Facilitators that break off, fall silent, lie and contradict themselves, under every settle mode and in both
//! versions: whatever they do, their own books say that nobody paid twice, nobody was served for nothing, and nobody
//! who may have paid was asked to pay anew.

mod away;
pub mod facilitator;
pub mod sayings;
mod scenes;

use std::collections::HashMap;

use farebox::x402::Dialect;
use futures::StreamExt;
use serde_json::{Value, json};

use self::facilitator::HostileFacilitator;
use self::scenes::{Pace, Scene, Told, scenes};
use crate::node::FakeNode;
use crate::support::facilitator::LEAK;
use crate::support::ledger::Entry;
use crate::support::payer::now;
use crate::support::{Challenge, Gateway, Payer, Payment, Request, Response, Setup, Upstream, eventually};

const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const SPENT: &str = "invalid_exact_evm_nonce_already_used";
/// Scenes that play at the same time.
const AT_ONCE: usize = 16;

/// A route's mode: its name, its keys, and whether the facilitator is asked to verify.
#[derive(Debug, Clone, Copy)]
struct Mode {
    name: &'static str,
    keys: &'static str,
    verifies: bool,
}

const MODES: [Mode; 4] = [
    Mode { name: "on-success", keys: "settle = \"on-success\"", verifies: true },
    Mode { name: "local", keys: "settle = \"on-success\"\nverify = \"local\"", verifies: false },
    Mode { name: "before", keys: "settle = \"before\"", verifies: false },
    Mode { name: "overlap", keys: "settle = \"overlap\"", verifies: false },
];

/// Whether the gateway has a node to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    Seen,
    Unseen,
}

#[tokio::test]
async fn under_on_success_nobody_pays_twice_or_for_nothing() {
    play_all(MODES[0], Chain::Unseen).await;
}

#[tokio::test]
async fn under_on_success_with_local_verification_nobody_pays_twice_or_for_nothing() {
    play_all(MODES[1], Chain::Unseen).await;
}

#[tokio::test]
async fn under_before_nobody_pays_twice_or_for_nothing() {
    play_all(MODES[2], Chain::Unseen).await;
}

#[tokio::test]
async fn under_overlap_nobody_pays_twice_or_for_nothing() {
    play_all(MODES[3], Chain::Unseen).await;
}

#[tokio::test]
async fn under_on_success_whoever_has_paid_on_the_chain_is_served() {
    play_all(MODES[0], Chain::Seen).await;
}

#[tokio::test]
async fn under_on_success_with_local_verification_whoever_has_paid_on_the_chain_is_served() {
    play_all(MODES[1], Chain::Seen).await;
}

#[tokio::test]
async fn under_before_whoever_has_paid_on_the_chain_is_served() {
    play_all(MODES[2], Chain::Seen).await;
}

#[tokio::test]
async fn under_overlap_whoever_has_paid_on_the_chain_is_served() {
    play_all(MODES[3], Chain::Seen).await;
}

async fn play_all(mode: Mode, chain: Chain) {
    let stage = Stage::set(chain).await;
    let plays =
        scenes().into_iter().flat_map(|scene| [Dialect::V1, Dialect::V2].map(|dialect| (scene.clone(), dialect)));
    let plays = futures::stream::iter(plays).map(|(scene, dialect)| stage.play(mode, scene, dialect));
    let played: Vec<Played> = plays.buffer_unordered(AT_ONCE).collect().await;
    stage.compare(played).await;
}

/// A gateway with a route for every mode and pace.
struct Stage {
    chain: Chain,
    _upstream: Upstream,
    facilitator: HostileFacilitator,
    gateway: Gateway,
}

/// A scene that has been played: who paid, and what the ledger must say of it.
struct Played {
    what: String,
    payer: String,
    /// State, and whether it was delivered, of each payment.
    left: Vec<(&'static str, bool)>,
}

impl Stage {
    async fn set(chain: Chain) -> Stage {
        let node = match chain {
            Chain::Seen => Some(FakeNode::at(now(), USDC.parse().expect("an address")).await),
            Chain::Unseen => None,
        };
        let network = node
            .as_ref()
            .map(|node| format!("[networks.base-sepolia]\nrpc_url = \"{}\"\nconfirmations = 1\n", node.url()));
        let (upstream, facilitator) = (Upstream::start().await, HostileFacilitator::start(node).await);
        let mut setup = Setup::at(upstream.address(), &format!("url = \"http://{}\"", facilitator.address()))
            .sections(&network.unwrap_or_default());
        for pace in Pace::ALL {
            setup = setup.sections(&pace.sections(facilitator.address()));
            for Mode { name, keys, .. } in MODES {
                let pace = pace.name();
                let keys = format!("price = {{ {pace} = \"0.01\" }}\n{keys}");
                setup = setup.route(&format!("{name}-{pace}"), &format!("/{name}/{pace}/*"), &keys);
            }
        }
        let gateway = Gateway::start(setup).await;
        Stage { chain, _upstream: upstream, facilitator, gateway }
    }

    async fn play(&self, mode: Mode, scene: Scene, dialect: Dialect) -> Played {
        let what = format!("{}, {dialect:?}: {}", mode.name, scene.what);
        let path = format!("/{}/{}/ok", mode.name, scene.pace.name());
        let challenge = Challenge::of(&self.gateway.send(Request::get(&path)).await);
        let payer = Payer::new();
        let payment = payer.draft(&challenge, dialect).sign(&payer);
        let (first, then) = scene.told(mode.verifies, self.chain == Chain::Seen);
        let is_late = scene.script.is_late();
        self.facilitator.script(&payment, scene.script);

        let response = self.redeem(&path, &payment).await;
        self.check(&what, first, &payment, &response);
        self.facilitator.answered(&payment);
        if is_late {
            eventually("the money to move", async || self.facilitator.moved(&payment).then_some(())).await;
        }
        let settles = self.facilitator.settles(&payment);
        for _ in 0..2 {
            let response = self.redeem(&path, &payment).await;
            self.check(&what, then, &payment, &response);
            if then == Told::Served {
                break;
            }
        }
        if then == Told::Served {
            // A conforming client never gets here; it is what keeps the next one from riding free.
            let response = self.redeem(&path, &payment).await;
            self.check(&what, Told::Refused(SPENT), &payment, &response);
        }
        if first == Told::Served {
            assert_eq!(self.facilitator.settles(&payment), settles, "{what}: not asked again");
        }
        let mut left = match (first, then) {
            (Told::Served, _) | (_, Told::Served) => vec![("settled", true)],
            (_, Told::Pending) => vec![("unknown", false)],
            (_, Told::Unavailable | Told::Refused(_)) => vec![("failed", false)],
        };
        if let Told::Refused(code) = then
            && code != SPENT
        {
            // It takes another payment, and a conforming client signs one.
            let another = payer.draft(&challenge, dialect).sign(&payer);
            let response = self.redeem(&path, &another).await;
            self.check(&what, Told::Served, &another, &response);
            left.push(("settled", true));
        }
        let charged = self.facilitator.charged(&payer.address().to_string());
        assert!(charged <= 1, "{what}: charged {charged} times");
        Played { what, payer: payer.address().to_string(), left }
    }

    async fn redeem(&self, path: &str, payment: &Payment) -> Response {
        self.gateway.send(Request::get(path).paid(payment)).await
    }

    /// Whether a client was told this, and nothing but this.
    fn check(&self, what: &str, told: Told, payment: &Payment, response: &Response) {
        let (own, other) = match payment.dialect {
            Dialect::V1 => (response.settlement_v1(), response.settlement()),
            Dialect::V2 => (response.settlement(), response.settlement_v1()),
        };
        assert_eq!(other, None, "{what}: in the other version's header");
        assert!(!response.text().contains(LEAK), "{what}: {response:?}");
        let moved = self.facilitator.moved(payment);
        let success = own.as_ref().map(|own| own["success"].clone());
        match told {
            Told::Served => {
                assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{what}: {response:?}");
                assert!(moved, "{what}: served uncharged");
                assert_eq!(success, Some(json!(true)), "{what}");
                return;
            }
            Told::Pending => {
                assert_eq!(response.status, 503, "{what}: {response:?}");
                assert_eq!(response.error(), "settlement_pending", "{what}");
                assert_eq!(own.expect("its header")["errorReason"], "settlement_pending", "{what}");
                assert_same_payment_again(what, response);
            }
            Told::Unavailable => {
                assert_eq!(response.status, 503, "{what}: {response:?}");
                assert_eq!(response.error(), "facilitator_unavailable", "{what}");
                assert!(!moved, "{what}: it says that nothing was charged");
                assert_same_payment_again(what, response);
            }
            Told::Refused(code) => {
                assert_eq!((response.status, response.error().as_str()), (402, code), "{what}: {response:?}");
                assert_eq!(own.expect("its header")["errorReason"], code, "{what}");
                assert!(code == SPENT || !moved, "{what}: asked to pay anew, and charged");
            }
        }
        assert_ne!(response.text(), "ok", "{what}");
        assert_ne!(success, Some(json!(true)), "{what}");
    }

    /// The ledger against what the clients saw.
    async fn compare(&self, played: Vec<Played>) {
        let delivered = played.iter().flat_map(|played| &played.left).filter(|(_, delivered)| *delivered).count();
        // The last ones are written when their clients have been served.
        let ledger = eventually("what was served to be written", async || {
            let ledger = self.gateway.ledger();
            (ledger.iter().filter(|entry| entry.delivered()).count() >= delivered).then_some(ledger)
        })
        .await;
        let mut entries: HashMap<String, Vec<Entry>> = HashMap::new();
        for entry in ledger {
            entries.entry(entry.text("payer").to_owned()).or_default().push(entry);
        }
        assert_eq!(entries.len(), played.len(), "nobody else paid");
        for Played { what, payer, left } in played {
            let mut found: Vec<_> = entries[&payer].iter().map(|entry| (entry.state(), entry.delivered())).collect();
            found.sort_unstable();
            assert_eq!(found, left, "{what}: {:?}", entries[&payer]);
        }
    }
}

/// A 503 that a conforming client answers with the payment that it has, later.
fn assert_same_payment_again(what: &str, response: &Response) {
    let body: Value = response.json();
    assert_eq!(body["retry"], "same_payment", "{what}");
    let seconds: u32 = response.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!(seconds > 0, "{what}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(response.header("payment-required"), None, "{what}: no terms to pay anew");
    assert_eq!(body.get("accepts"), None, "{what}: no terms to pay anew");
}
