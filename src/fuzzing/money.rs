//! What decides about money: payments, and what facilitators answer.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::access::PassKeys;
use crate::config;
use crate::facilitator::answer::{self, Answer};
use crate::facilitator::{Facilitators, NoObserver, Order, Settlement, Verification};
use crate::gate::check;
use crate::gate::generation::Generation;
use crate::resolve::Witnesses;
use crate::telemetry::Metrics;
use crate::x402::header::decode_payment;
use crate::x402::v2::ResourceInfo;
use crate::x402::{Dialect, Network, Payment};

/// A time at which the seeds' payments are good.
const NOW_MILLIS: i64 = 1_795_197_700_000;

/// The terms that the seeds pay.
const SHOP: &str = r#"
[upstreams.api]
servers = ["127.0.0.1:3000"]
[facilitators.main]
url = "sandbox:"
[pay.usdc]
network = "base-sepolia"
asset = "USDC"
pay_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
facilitators = ["main"]
max_timeout = "300s"
[[route]]
path = "/premium"
price = "$0.001"
"#;

static GENERATION: LazyLock<Generation> = LazyLock::new(|| {
    let config = config::parse(SHOP, "shop.toml", Path::new("."), &|_| None).unwrap().config;
    let facilitators = Facilitators::new(&config.facilitators, &config.ways, None, Arc::new(NoObserver)).unwrap();
    let witnesses = Witnesses::new(&config.networks, Arc::new(facilitators)).unwrap();
    let keys = PassKeys::new([("a", &[1; 32][..])]).unwrap_or_else(|error| panic!("{error}"));
    Generation::build(Arc::new(config), Arc::new(witnesses), Arc::new(keys), &Metrics::new(), None)
});

/// The value of an `X-PAYMENT` header, or the JSON that it would hold.
pub fn payment_v1(data: &[u8]) {
    payment_header(Dialect::V1, data);
}

/// The value of a `PAYMENT-SIGNATURE` header, or the JSON that it would hold.
pub fn payment_v2(data: &[u8]) {
    payment_header(Dialect::V2, data);
}

/// What is read of a payment is the same each time, a payment that passes the checks has one of the ids that it may
/// have been recorded under, and its outcome can be asked for again from what the ledger keeps.
fn payment_header(dialect: Dialect, data: &[u8]) {
    for value in [data, STANDARD.encode(data).as_bytes()] {
        let Ok(payment) = decode_payment(dialect, value) else { continue };
        let again = decode_payment(dialect, value).expect("it was read before");
        assert_eq!(payment.digest, again.digest);
        judge(payment);
    }
}

fn judge(payment: Payment) {
    let live = GENERATION.route(0).unwrap();
    let offers = &live.quote.as_ref().unwrap().offers;
    let ids: Vec<_> = check::possible_ids(offers, &payment).collect();
    match check::check(&GENERATION, live, &payment, NOW_MILLIS) {
        Ok(checked) => assert!(ids.contains(&checked.id), "a payment would not be found again"),
        Err(reason) => assert!(!reason.code().is_empty()),
    }
    let offer = offers.first().unwrap().offer.clone();
    let network = offer.network.clone();
    let order = Order { payment, offer, resource: resource() };
    let stored = order.settle_request();
    let restored = Order::restore(&stored, &order.offer.way, &network).expect("its outcome could not be asked for");
    assert_eq!(restored.settle_request(), stored);
}

fn resource() -> ResourceInfo {
    ResourceInfo {
        url: "https://shop.test/premium".to_owned(),
        description: "Premium".to_owned(),
        mime_type: "application/json".to_owned(),
    }
}

/// The order that the seeds' answers are for, as the ledger would have kept it.
static ORDER: LazyLock<Order> = LazyLock::new(|| {
    let stored = include_str!("order.json");
    Order::restore(stored.trim_end(), &"usdc".into(), &Network::parse("base-sepolia").unwrap()).unwrap()
});

/// A facilitator's answer: two bytes of status, big-endian, and the body.
///
/// Settled is only what says so, with a transaction and a 2xx; refused only what says so, without a transaction; valid
/// only what says so. What goes into a log line or a header is short and printable.
pub fn facilitator_answer(data: &[u8]) {
    let Some((status, body)) = data.split_first_chunk() else { return };
    let answer = Answer { status: u16::from_be_bytes(*status) % 1000, body: body.to_vec() };
    let says = |key: &str, said: bool| {
        let body: Option<Value> = serde_json::from_slice(body).ok();
        body.is_some_and(|body| body.get(key) == Some(&Value::Bool(said)))
    };
    let name: Arc<str> = "main".into();
    match answer::settlement(&ORDER, &name, Ok(answer.clone())) {
        Settlement::Settled { transaction, payer, .. } => {
            assert!(says("success", true) && (200..300).contains(&answer.status));
            for name in [Some(transaction), payer].into_iter().flatten() {
                assert!(!name.is_empty() && name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
        Settlement::Refused { detail, .. } => {
            assert!(says("success", false));
            is_one_line(&detail);
        }
        Settlement::NotSent { fault } => {
            assert!(matches!(answer.status, 401 | 403 | 429));
            is_one_line(&fault.detail);
        }
        Settlement::Unknown { detail, .. } => is_one_line(&detail),
    }
    match answer::verification(&ORDER, &answer) {
        Ok(Verification::Valid { .. }) => assert!(says("isValid", true) && (200..300).contains(&answer.status)),
        Ok(Verification::Invalid { detail, .. }) => {
            assert!(says("isValid", false));
            is_one_line(&detail);
        }
        Err(failure) => is_one_line(&failure.detail),
    }
    match answer::supported(&answer) {
        Ok(_) => assert!((200..300).contains(&answer.status)),
        Err(failure) => is_one_line(&failure.detail),
    }
}

fn is_one_line(detail: &str) {
    assert!(detail.len() <= 1024, "{} bytes for a log line", detail.len());
    assert!(!detail.contains(char::is_control), "{detail:?}");
}
