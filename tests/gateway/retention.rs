//! Old payments are forgotten where the operator asks for it, and nothing comes of that for anybody.

use farebox::config;
use farebox::ledger::sqlite::SqliteLedger;
use farebox::ledger::{Ledger, NewPayment, Opening, Transition};
use farebox::money::Amount;
use farebox::x402::header::decode_payment;
use farebox::x402::{Dialect, Network, PaymentId};

use crate::support::fleet::Fleet;
use crate::support::payer::now;
use crate::support::postgres::Postgres;
use crate::support::{Challenge, Gateway, House, Payer, Payment, Request, eventually};

const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const DAY: u64 = 24 * 3600;

/// A payment that somebody signed so long ago that its time is over, for a route that it paid then.
fn signed(payer: &Payer, challenge: &Challenge, days: u64) -> Payment {
    let mut draft = payer.draft(challenge, Dialect::V2);
    draft.authorization.valid_before = now() - days * DAY;
    draft.sign(payer)
}

/// What a gateway of that time has written of it.
async fn write(ledger: &dyn Ledger, payment: &Payment, days: u64, end: Option<Transition>) -> PaymentId {
    let read = decode_payment(Dialect::V2, payment.header().1.as_bytes()).expect("a payment");
    let network = Network::parse("base-sepolia").expect("a network");
    let at = i64::try_from((now() - days * DAY) * 1000).expect("a time");
    let id = PaymentId::of(&read, &network, USDC);
    let new = NewPayment {
        id: id.clone(),
        digest: read.digest,
        route: "paid".into(),
        host: "127.0.0.1".into(),
        payer: read.payer().map(|payer| payer.to_string()).unwrap_or_default().into(),
        network,
        asset: USDC.into(),
        amount: Amount::from(10_000),
        way: "usdc".into(),
        settle_request: "{}".into(),
        valid_before: Some(now() - days * DAY),
        now: at,
    };
    ledger.reserve(new, Opening::Settling).await.expect("reserved");
    if let Some(end) = end {
        ledger.advance(&id, end, at).await.expect("its end");
    }
    id
}

fn settled() -> Option<Transition> {
    Some(Transition::Settled { facilitator: "main".into(), transaction: "0xfeed".into(), payer: None })
}

/// The ids that `farebox ledger` lists, in the order of the ids.
fn listed(gateway: &Gateway) -> Vec<String> {
    let mut ids: Vec<String> = gateway.ledger().iter().map(|entry| entry.id().to_owned()).collect();
    ids.sort();
    ids
}

fn sorted(ids: &[&PaymentId]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
    ids.sort();
    ids
}

async fn pruned(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("farebox_ledger_pruned_total", &[])
}

#[tokio::test]
async fn a_reload_starts_pruning_and_what_is_pruned_is_refused_as_before() {
    let mut house = House::with_route("").await;
    let ledger = SqliteLedger::open_beside(&house.gateway.folder().join("farebox.db")).expect("the gateway's file");
    let challenge = house.challenge("/paid/ok").await;
    let signed = |days| signed(&house.payer, &challenge, days);
    let (old, young) = (signed(40), signed(20));
    let old_id = write(&ledger, &old, 40, settled()).await;
    let young_id = write(&ledger, &young, 20, settled()).await;
    let failed = Some(Transition::Failed { error: "refused".into() });
    let failed_id = write(&ledger, &signed(41), 41, failed).await;
    let unknown = Transition::Unknown { facilitator: "main".into(), transaction: None, error: "timeout".into() };
    let unknown_id = write(&ledger, &signed(42), 42, Some(unknown)).await;
    ledger.close().await.expect("closed");
    assert_eq!(listed(&house.gateway), sorted(&[&old_id, &young_id, &failed_id, &unknown_id]), "kept unless asked");
    assert_eq!(house.redeem("/paid/ok", &old).await.status, 402);

    let changed = house.gateway.setup().clone().ledger_keys("keep = \"30d\"");
    house.gateway.rewrite(changed);
    assert_eq!(house.gateway.reload().await.json()["needs_restart"], serde_json::json!([]));
    eventually("two to be pruned", async || (pruned(&house.gateway).await == 2.0).then_some(())).await;
    assert_eq!(listed(&house.gateway), sorted(&[&young_id, &unknown_id]));

    let calls = house.facilitator.calls();
    for payment in [&old, &young] {
        let again = house.redeem("/paid/ok", payment).await;
        assert_eq!(again.status, 402, "{again:?}");
    }
    assert_eq!((house.upstream.count(), house.facilitator.calls()), (0, calls));
    assert_eq!(house.facilitator.charged(), 0);
}

#[tokio::test]
async fn gateways_that_share_a_database_prune_each_payment_once() {
    const OLD: u32 = 60;
    let mut fleet = Fleet::with_route(Postgres::shared(), "").await;
    let url = config::load(&fleet.gateways[0].config()).expect("a config").config.ledger.url;
    let ledger = farebox::ledger::open(&url).await.expect("the gateways' database");
    let challenge = Challenge::of(&fleet.send(Request::get("/paid/ok")).await);
    for _ in 0..OLD {
        write(&*ledger, &signed(&fleet.payer, &challenge, 40), 40, settled()).await;
    }
    let young = write(&*ledger, &signed(&fleet.payer, &challenge, 20), 20, settled()).await;
    ledger.close().await.expect("closed");

    for gateway in &mut fleet.gateways {
        let changed = gateway.setup().clone().ledger_keys("keep = \"30d\"");
        gateway.rewrite(changed);
    }
    let [one, two] = &fleet.gateways;
    eventually("all to be pruned", async || (pruned(one).await + pruned(two).await >= f64::from(OLD)).then_some(()))
        .await;
    assert_eq!(pruned(one).await + pruned(two).await, f64::from(OLD), "each is counted by one of them");
    assert_eq!(listed(one), sorted(&[&young]));
}
