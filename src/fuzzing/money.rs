//! What decides about money: payments, and what facilitators answer.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

use crate::access::PassKeys;
use crate::config;
use crate::facilitator::answer::{self, Answer};
use crate::facilitator::{Facilitators, NoObserver, Order, Settlement, Verification};
use crate::gate::check;
use crate::gate::generation::Generation;
use crate::resolve::Witnesses;
use crate::telemetry::Metrics;
use crate::x402::header::{self, decode_payment};
use crate::x402::payment::Payload;
use crate::x402::v2::ResourceInfo;
use crate::x402::{Dialect, Network, Offer, Payment};

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

/// What is read of a payment is the same each time and in every spelling of its base64, a payment that passes the checks
/// pays its offer and has one of the ids that it may have been recorded under, and its outcome can be asked for again
/// from what the ledger keeps. What is said of one that cannot be read fits into an answer.
fn payment_header(dialect: Dialect, data: &[u8]) {
    let padded = STANDARD.encode(data);
    let in_json = read(dialect, padded.as_bytes());
    for value in [format!(" {}\t", padded.trim_end_matches('=')), URL_SAFE.encode(data)] {
        let again = read(dialect, value.as_bytes());
        assert_eq!(again.map(|payment| payment.digest), in_json.as_ref().map(|payment| payment.digest));
    }
    for payment in [in_json, read(dialect, data)].into_iter().flatten() {
        let again = read(dialect, header::encode_json(&payment.json).as_bytes()).expect("it was read before");
        assert_eq!((again.digest, &again.payload, &again.json), (payment.digest, &payment.payload, &payment.json));
        judge(payment);
    }
}

fn read(dialect: Dialect, value: &[u8]) -> Option<Payment> {
    match decode_payment(dialect, value) {
        Ok(payment) => Some(payment),
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && said.len() <= 256, "{} bytes for an answer", said.len());
            None
        }
    }
}

fn judge(payment: Payment) {
    let live = GENERATION.route(0).unwrap();
    let offers = &live.quote.as_ref().unwrap().offers;
    let ids: Vec<_> = check::possible_ids(offers, &payment).collect();
    for now in [NOW_MILLIS, i64::MIN, i64::MAX] {
        match check::check(&GENERATION, live, &payment, now) {
            Ok(checked) => {
                assert!(ids.contains(&checked.id), "a payment would not be found again");
                pays(&checked.quoted.offer, &payment, now);
            }
            Err(reason) => assert!(!reason.code().is_empty()),
        }
    }
    let offer = offers.first().unwrap().offer.clone();
    let network = offer.network.clone();
    let (digest, payload) = (payment.digest, payment.payload.clone());
    let order = Order { payment, offer, resource: resource() };
    let stored = order.settle_request();
    let restored = Order::restore(&stored, &order.offer.way, &network).expect("its outcome could not be asked for");
    assert_eq!(restored.settle_request(), stored);
    assert_eq!((restored.payment.digest, restored.payment.payload), (digest, payload));
}

/// In so many words, beside the check's own.
fn pays(offer: &Offer, payment: &Payment, now_millis: i64) {
    let Payload::Eip3009 { authorization, signature } = &payment.payload else {
        panic!("an EVM offer is paid by EIP-3009")
    };
    assert_eq!(authorization.to.to_string(), *offer.pay_to);
    assert_eq!(authorization.value, offer.amount);
    let now = u64::try_from(now_millis / 1000).unwrap_or(0);
    assert!(authorization.valid_before > now && authorization.valid_after < now + 60, "not good at {now}");
    assert!(!signature.is_empty());
    assert_eq!(payment.scheme, "exact");
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

/// The same for a payment that does not say in the open who pays.
static OPAQUE: LazyLock<Order> = LazyLock::new(|| {
    let mut order = ORDER.clone();
    order.payment.payload = Payload::Opaque(Value::Null);
    order
});

/// A facilitator's answer: two bytes of status, big-endian, and the body.
///
/// Settled is only what says so, with a transaction and a 2xx, of nobody else's payment; refused only what says so,
/// without a transaction; not sent only what says nothing; valid only what says so. What goes into a log line or a header
/// is short and printable and holds no signature.
pub fn facilitator_answer(data: &[u8]) {
    let Some((status, body)) = data.split_first_chunk() else { return };
    let answer = Answer { status: u16::from_be_bytes(*status) % 1000, body: body.to_vec() };
    for order in [&*ORDER, &*OPAQUE] {
        answer_to(order, &answer);
    }
    match answer::supported(&answer) {
        Ok(_) => assert!((200..300).contains(&answer.status)),
        Err(failure) => is_one_line(&failure.detail),
    }
}

fn answer_to(order: &Order, answer: &Answer) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let says = |key: &str, said: bool| body.get(key) == Some(&Value::Bool(said));
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let signer = order.payment.payer().map(|payer| payer.to_string());
    let is_ours = |payer: &Option<String>| {
        let named = text("payer");
        assert_eq!(payer.as_deref(), signer.as_deref().or(named));
        assert!(
            signer.is_none()
                || named.is_none()
                || named.map(str::to_lowercase) == signer.as_deref().map(str::to_lowercase)
        );
    };
    let name: Arc<str> = "main".into();
    match answer::settlement(order, &name, Ok(answer.clone())) {
        Settlement::Settled { transaction, payer, .. } => {
            assert!(says("success", true) && (200..300).contains(&answer.status));
            assert_eq!(text("transaction"), Some(&*transaction));
            assert!(matches!(text("network"), None | Some("base-sepolia" | "eip155:84532")), "{body}");
            is_ours(&payer);
            for name in [Some(transaction), payer].into_iter().flatten() {
                assert!(!name.is_empty() && name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
        Settlement::Refused { detail, .. } => {
            assert!(says("success", false) && text("transaction").is_none() && body.get("errorReason").is_some());
            is_fit_for_a_log(order, &detail);
        }
        Settlement::NotSent { fault } => {
            assert!(matches!(answer.status, 401 | 403 | 429) && body.get("success").is_none());
            is_fit_for_a_log(order, &fault.detail);
        }
        Settlement::Unknown { transaction, detail, .. } => {
            assert!(transaction.is_none() || transaction.as_deref() == text("transaction"));
            is_fit_for_a_log(order, &detail);
        }
    }
    match answer::verification(order, answer) {
        Ok(Verification::Valid { payer }) => {
            assert!(says("isValid", true) && (200..300).contains(&answer.status));
            is_ours(&payer);
        }
        Ok(Verification::Invalid { detail, .. }) => {
            assert!(says("isValid", false));
            is_fit_for_a_log(order, &detail);
        }
        Err(failure) => is_fit_for_a_log(order, &failure.detail),
    }
}

fn is_fit_for_a_log(order: &Order, detail: &str) {
    is_one_line(detail);
    let Payload::Eip3009 { signature, .. } = &order.payment.payload else { return };
    let detail = detail.to_ascii_lowercase();
    for half in signature.chunks_exact(32) {
        // Where a payment's signer is in the open, so is what must not be quoted.
        assert!(!detail.contains(&alloy::hex::encode(half)), "{detail}");
    }
}

fn is_one_line(detail: &str) {
    assert!(detail.len() <= 1024, "{} bytes for a log line", detail.len());
    assert!(!detail.contains(char::is_control), "{detail:?}");
}
