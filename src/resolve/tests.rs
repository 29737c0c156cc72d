//! Witnesses that say one thing and another, and what is made of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use async_trait::async_trait;

use super::*;
use crate::config;
use crate::evm::chain::NodeConfig;
use crate::facilitator::testing::{PAY_TO, order, signed_order};
use crate::facilitator::{Facilitator, Facilitators, Fault, FaultKind, Order, Settlement, Supported, Verification};
use crate::ledger::memory::MemoryLedger;
use crate::ledger::{NewPayment, Opening, Record, State};
use crate::x402::{Dialect, Network, PaymentId, Reason};

use crate::node::{self, BLOCK_SECONDS, FakeNode, Fate, Spent, block_at, transaction_of};

const CONFIG: &str = r#"
[upstreams.api]
servers = ["127.0.0.1:3000"]
[facilitators.first]
url = "sandbox:"
[facilitators.second]
url = "sandbox:"
[pay.usdc]
network = "base-sepolia"
asset = "USDC"
pay_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
facilitators = ["first", "second"]
[[route]]
name = "paid"
path = "/paid"
price = "0.001"
"#;
/// When the payments were taken on.
const SINCE: u64 = node::GENESIS + 1_000_000;
const VALID_BEFORE: u64 = SINCE + 60;
const NOW: UnixMillis = (SINCE as i64 + 10) * 1000;
const NONCE: B256 = B256::repeat_byte(3);
const TOKEN: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// Which facilitator was asked for what.
type Asked = Arc<std::sync::Mutex<Vec<(Arc<str>, String)>>>;

/// Says one thing to every settlement, and keeps what it was asked.
struct Says {
    name: Arc<str>,
    answer: Settlement,
    asked: Asked,
}

#[async_trait]
impl Facilitator for Says {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn verify(&self, _: &Order) -> Result<Verification, Fault> {
        panic!("nobody verifies what is unknown")
    }

    async fn settle(&self, order: &Order) -> Settlement {
        self.asked.lock().unwrap().push((self.name.clone(), order.settle_request()));
        self.answer.clone()
    }

    async fn supported(&self) -> Result<Supported, Fault> {
        Ok(Supported::default())
    }
}

/// One unknown payment, those who may know of it, and what they were asked.
struct Case {
    ledger: Arc<MemoryLedger>,
    resolver: Resolver,
    witnesses: Witnesses,
    asked: Asked,
    payer: Address,
    stored: String,
}

fn id() -> PaymentId {
    PaymentId::parse(&"ab".repeat(32)).unwrap()
}

impl Case {
    async fn new(answer: Settlement, node: Option<&FakeNode>, transaction: Option<&str>) -> Case {
        let key = PrivateKeySigner::random();
        let order = signed_order(&key, NONCE, |authorization| authorization.valid_before = VALID_BEFORE);
        let ledger = Arc::new(MemoryLedger::default());
        let payment = NewPayment {
            id: id(),
            digest: [7; 32],
            route: "paid".into(),
            host: "h".into(),
            payer: key.address().to_string().into(),
            network: order.offer.network.clone(),
            asset: order.offer.asset.address.clone(),
            amount: order.offer.amount,
            way: "usdc".into(),
            settle_request: order.settle_request().into(),
            valid_before: Some(VALID_BEFORE),
            now: i64::try_from(SINCE).unwrap() * 1000,
        };
        ledger.reserve(payment, Opening::Settling).await.unwrap();
        let transaction = transaction.map(Arc::from);
        let unknown = Transition::Unknown { facilitator: "second".into(), transaction, error: "timeout".into() };
        ledger.advance(&id(), unknown, NOW).await.unwrap();

        let config = config::parse(CONFIG, "test.toml", std::path::Path::new("."), &|_| None).unwrap().config;
        let asked = Arc::default();
        let says = |name: &Arc<str>, _: &config::FacilitatorConfig| -> Arc<dyn Facilitator> {
            Arc::new(Says { name: name.clone(), answer: answer.clone(), asked: Arc::clone(&asked) })
        };
        let facilitators = Facilitators::standing_in(&config.facilitators, &config.ways, says);
        let nodes = node.map(|node| {
            let url = node.url().parse().unwrap();
            (order.offer.network.clone(), NodeConfig { url, confirmations: 1, block_range: 1000 })
        });
        Case {
            resolver: Resolver::new(ledger.clone(), Metrics::new()),
            witnesses: Witnesses::new(&BTreeMap::from_iter(nodes), Arc::new(facilitators)).unwrap(),
            ledger,
            asked,
            payer: key.address(),
            stored: order.settle_request(),
        }
    }

    async fn resolve(&self, effort: Effort) -> Verdict {
        self.resolver.resolve_now(&self.witnesses, &id(), effort, NOW).await.unwrap().expect("a claim").verdict
    }

    async fn record(&self) -> Record {
        self.ledger.find(&id()).await.unwrap().unwrap()
    }

    fn asked(&self) -> Vec<(Arc<str>, String)> {
        self.asked.lock().unwrap().clone()
    }
}

fn refused(reason: Reason) -> Settlement {
    Settlement::Refused { reason, detail: "said so".to_owned() }
}

fn settled() -> Settlement {
    Settlement::Settled { facilitator: "second".into(), transaction: "0xfeed".to_owned(), payer: None }
}

fn unreached() -> Settlement {
    let fault = Fault { facilitator: "second".into(), kind: FaultKind::Unreached, detail: "gone".to_owned() };
    Settlement::NotSent { fault }
}

fn pending(transaction: &str) -> Settlement {
    let transaction = Some(transaction.to_owned());
    Settlement::Unknown { facilitator: "second".into(), transaction, detail: "settlement_pending".to_owned() }
}

/// What a facilitator's answer proves where there is no node, without and with a transaction named before.
#[tokio::test]
async fn without_a_node_the_facilitator_decides() {
    let certain: &[Reason] = &[Reason::RecipientMismatch, Reason::ValueMismatch];
    for named in [None, Some("0xbeef")] {
        for reason in Reason::ALL {
            let case = Case::new(refused(reason), None, named).await;
            let expected = match reason {
                reason if certain.contains(&reason) => State::Failed,
                Reason::NonceAlreadyUsed if named.is_none() => State::Settled,
                _ => State::Unknown,
            };
            case.resolve(Effort::Look).await;
            assert_eq!(case.record().await.state, expected, "{reason}, named {named:?}");
        }
        for (answer, expected, transaction) in [
            (settled(), State::Settled, Some("0xfeed")),
            (unreached(), State::Unknown, named),
            (pending("0xcafe"), State::Unknown, Some("0xcafe")),
        ] {
            let case = Case::new(answer.clone(), None, named).await;
            case.resolve(Effort::Look).await;
            let record = case.record().await;
            assert_eq!((record.state, record.transaction.as_deref()), (expected, transaction), "{answer:?}");
            assert_eq!(case.asked(), [("second".into(), case.stored.clone())], "the same one, word for word");
        }
    }
}

#[tokio::test]
async fn where_a_node_knows_the_facilitator_is_not_asked() {
    let transaction = transaction_of(NONCE).to_string();
    let moved = |to| Some(Fate::Moved { to, value: 1000 });
    let cases = [
        (moved(PAY_TO), VALID_BEFORE, State::Settled),
        (moved(Address::repeat_byte(1)), VALID_BEFORE, State::Failed),
        (Some(Fate::Canceled), VALID_BEFORE, State::Failed),
        (Some(Fate::Vanished), VALID_BEFORE, State::Unknown),
        (None, VALID_BEFORE + BLOCK_SECONDS, State::Failed),
    ];
    for effort in [Effort::Look, Effort::Settle] {
        for (fate, time, expected) in cases.clone() {
            let what = format!("{fate:?} at {time}, {effort:?}");
            let node = FakeNode::at(time, TOKEN.parse().unwrap()).await;
            let case = Case::new(refused(Reason::NonceAlreadyUsed), Some(&node), None).await;
            let is_named = matches!(fate, Some(Fate::Moved { to, .. }) if to == PAY_TO);
            let spent = fate.map(|fate| Spent { payer: case.payer, nonce: NONCE, block: block_at(SINCE + 4), fate });
            node.tell(|books| books.spent.extend(spent));
            case.resolve(effort).await;
            let record = case.record().await;
            assert_eq!(record.state, expected, "{what}: {:?}", record.error);
            assert_eq!(record.transaction, is_named.then(|| transaction.as_str().into()), "{what}");
            assert!(case.asked().is_empty(), "{what}");
        }
    }
}

/// Nobody is charged behind their back: what is unused is settled only for one who asks for it.
#[tokio::test]
async fn an_unused_payment_is_settled_only_on_demand() {
    let node = FakeNode::at(SINCE + 20, TOKEN.parse().unwrap()).await;
    let case = Case::new(settled(), Some(&node), None).await;
    assert!(matches!(case.resolve(Effort::Look).await, Verdict::Unknown { .. }));
    assert!(case.asked().is_empty());
    assert!(matches!(case.resolve(Effort::Settle).await, Verdict::Settled { .. }));
    assert_eq!(case.asked().len(), 1);

    // With a node a used nonce is for the node to explain: it may have been cancelled since.
    let case = Case::new(refused(Reason::NonceAlreadyUsed), Some(&node), None).await;
    assert!(matches!(case.resolve(Effort::Settle).await, Verdict::Unknown { .. }));
}

#[tokio::test]
async fn a_node_that_cannot_tell_decides_nothing() {
    let node = FakeNode::at(VALID_BEFORE + 1000, TOKEN.parse().unwrap()).await;
    node.tell(|books| books.chain_id = 1);
    let case = Case::new(refused(Reason::NonceAlreadyUsed), Some(&node), None).await;
    let Verdict::Unknown { why, .. } = case.resolve(Effort::Settle).await else { panic!("unknown") };
    assert!(why.contains("chain 1, not 84532"), "{why}");
    assert_eq!(case.record().await.error.as_deref(), Some(&*why), "the operator can read it");
}

#[tokio::test]
async fn a_try_in_vain_is_due_again_later_and_later() {
    let case = Case::new(unreached(), None, None).await;
    let mut last = Duration::ZERO;
    for tries in 0..20 {
        let due = pause(tries);
        let shortest = PAUSE_MIN.saturating_mul(1 << tries.min(12)).min(PAUSE_MAX);
        assert!(due >= shortest && due <= shortest * 2, "{tries}: {due:?}");
        last = due;
    }
    assert!(last >= PAUSE_MAX);

    case.resolve(Effort::Look).await;
    assert!(case.resolver.claim_due(NOW, NOW, 5).await.unwrap().is_empty(), "not at once");
    let later = NOW + 60_000;
    let due = case.resolver.claim_due(later, later, 5).await.unwrap();
    assert_eq!((due.len(), due[0].tries), (1, 1));
}

#[tokio::test]
async fn what_two_find_out_is_counted_once() {
    let case = Case::new(settled(), None, None).await;
    let unresolved = case.ledger.claim(&id(), case.resolver.claim(NOW)).await.unwrap().unwrap();
    for _ in 0..2 {
        case.resolver.resolve(&case.witnesses, unresolved.clone(), Effort::Settle, NOW).await.unwrap();
        let metrics = case.resolver.metrics.render();
        let counted: Vec<_> =
            metrics.lines().filter(|line| line.starts_with("farebox_revenue_atomic_total{")).collect();
        assert!(counted.len() == 1 && counted[0].ends_with(" 1000"), "{counted:?}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_again_is_left_to_the_operator() {
    for stored in ["", "{}", "no JSON", r#"{"x402Version":3}"#] {
        let case = Case::new(settled(), None, None).await;
        let mut unresolved = case.ledger.claim(&id(), case.resolver.claim(NOW)).await.unwrap().unwrap();
        unresolved.settle_request = stored.into();
        let resolution = case.resolver.resolve(&case.witnesses, unresolved, Effort::Settle, NOW).await.unwrap();
        assert!(matches!(resolution.verdict, Verdict::Unknown { .. }), "{stored:?}");
        assert!(case.asked().is_empty(), "{stored:?}");
    }
}

#[test]
fn an_order_is_restored_word_for_word_or_not_at_all() {
    let network = Network::parse("base-sepolia").unwrap();
    for dialect in [Dialect::V1, Dialect::V2] {
        let given = order(dialect);
        let stored = given.settle_request();
        let restored = Order::restore(&stored, &"usdc".into(), &network).expect("an order");
        assert_eq!(restored.settle_request(), stored);
        assert_eq!(restored.payment.payer(), given.payment.payer());
        assert_eq!((restored.offer.amount, &restored.offer.pay_to), (given.offer.amount, &given.offer.pay_to));

        let base = Network::parse("base").unwrap();
        assert!(Order::restore(&stored, &"usdc".into(), &base).is_none(), "another network");
        let respelt = stored.replace("\"exact\"", "\"exact\" ");
        assert!(Order::restore(&respelt, &"usdc".into(), &network).is_none(), "not word for word");
    }
}
