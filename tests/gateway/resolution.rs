//! Settlements whose answer was lost: found out by the chain or by the facilitator, for the client that comes back, by
//! the gateway itself and for its operator.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256};
use futures::future::join_all;

use crate::node::{FakeNode, Fate, Spent, block_at, transaction_of};
use crate::support::fleet::Fleet;
use crate::support::gateway::BINARY;
use crate::support::postgres::Postgres;
use crate::support::setup::PAY_TO;
use crate::support::{Answer, Gateway, House, Payment, Request, Settle, eventually};

const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A house that can ask a node.
async fn house_with_node(keys: &str) -> (House, FakeNode) {
    let node = FakeNode::at(now(), USDC.parse().expect("an address")).await;
    let network = format!("[networks.base-sepolia]\nrpc_url = \"{}\"\nconfirmations = 1", node.url());
    (House::build(keys, |setup| setup.sections(&network)).await, node)
}

/// A payment whose money moves and whose answer is lost; what the chain shows of it, if anything.
async fn lose(house: &House, settle: Settle) -> Payment {
    let payment = house.payment("/paid/ok").await;
    house.facilitator.on_settle(settle);
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, response.error().as_str()), (503, "settlement_pending"), "{response:?}");
    payment
}

/// Puts on the chain what became of a payment; its transaction.
fn mine(node: &FakeNode, payment: &Payment, fate: Fate) -> String {
    let signed = |field: &str| payment.json["payload"]["authorization"][field].as_str().expect("a text");
    let payer: Address = signed("from").parse().expect("an address");
    let nonce: B256 = signed("nonce").parse().expect("a nonce");
    node.tell(|books| {
        books.latest = block_at(now());
        books.spent.push(Spent { payer, nonce, block: books.latest, fate });
    });
    transaction_of(nonce).to_string()
}

fn paid() -> Fate {
    Fate::Moved { to: PAY_TO.parse().expect("an address"), value: 10_000 }
}

#[tokio::test]
async fn a_retry_is_served_for_what_the_chain_says_was_paid() {
    for mode in ["on-success", "before", "overlap"] {
        let (house, node) = house_with_node(&format!("settle = \"{mode}\"")).await;
        let payment = lose(&house, Settle::MovedBut(Answer::Cut)).await;
        let transaction = mine(&node, &payment, paid());
        let again = house.redeem("/paid/ok", &payment).await;
        assert_eq!((again.status, again.text().as_str()), (200, "ok"), "{mode}: {again:?}");
        assert_eq!(again.settlement().expect("PAYMENT-RESPONSE")["transaction"], transaction.as_str(), "{mode}");
        assert_eq!((house.facilitator.charged(), house.facilitator.calls().1), (1, 1), "{mode}: asked once, paid once");
        eventually("delivery", async || house.gateway.only_entry().delivered().then_some(())).await;
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 402, "{mode}: it opened one request");
    }
}

#[tokio::test]
async fn what_the_payer_cancelled_is_refused_and_never_served() {
    let (house, node) = house_with_node("settle = \"before\"").await;
    let payment = lose(&house, Settle::Answer(Answer::Cut)).await;
    mine(&node, &payment, Fate::Canceled);
    let again = house.redeem("/paid/ok", &payment).await;
    assert_eq!(again.status, 402, "{again:?}");
    let entry = house.gateway.only_entry();
    assert_eq!(entry.state(), "failed");
    assert!(entry.text("error").contains("cancelled"), "{entry:?}");
    assert_eq!((house.facilitator.charged(), house.upstream.count()), (0, 0));
}

#[tokio::test]
async fn what_the_chain_cannot_explain_stays_pending() {
    let pay_to = PAY_TO.parse().expect("an address");
    for fate in [Fate::Vanished, Fate::MovedFirst { to: pay_to, value: 10_000 }] {
        let (house, node) = house_with_node("settle = \"before\"").await;
        let payment = lose(&house, Settle::MovedBut(Answer::Cut)).await;
        mine(&node, &payment, fate);
        let again = house.redeem("/paid/ok", &payment).await;
        assert_eq!((again.status, again.error().as_str()), (503, "settlement_pending"), "{again:?}");
        assert_eq!(house.gateway.only_entry().state(), "unknown");
        assert_eq!((house.facilitator.calls().1, house.upstream.count()), (1, 0));
    }
}

#[tokio::test]
async fn without_a_node_a_retry_asks_the_facilitator_for_the_same_settlement() {
    for (settle, calls) in [(Settle::MovedBut(Answer::Cut), 2), (Settle::Answer(Answer::Cut), 2)] {
        let house = House::with_route("settle = \"before\"").await;
        let payment = lose(&house, settle).await;
        let again = house.redeem("/paid/ok", &payment).await;
        assert_eq!((again.status, again.text().as_str()), (200, "ok"), "{again:?}");
        let asked = house.facilitator.settles();
        assert_eq!((asked.len(), house.facilitator.charged()), (calls, 1));
        assert_eq!(asked[0].body, asked[1].body, "word for word");
    }
}

#[tokio::test]
async fn the_gateway_finds_out_by_itself_and_stays_ready_meanwhile() {
    let (house, node) = house_with_node("settle = \"before\"\nredeliver = \"10m\"").await;
    let payment = lose(&house, Settle::MovedBut(Answer::Cut)).await;
    assert_eq!(house.gateway.ask(Request::get("/readyz")).await.status, 200, "an unknown payment is no outage");
    let id = house.gateway.only_entry().id().to_owned();
    let unsettled = async || {
        let metrics = house.gateway.metrics().await;
        let unknown = metrics.sum("farebox_unsettled_payments", &[("state", "unknown")]);
        (unknown, metrics.sum("farebox_unsettled_oldest_age_seconds", &[]))
    };
    eventually("its age", async || Some(unsettled().await).filter(|(unknown, age)| *unknown == 1.0 && *age > 0.0))
        .await;
    let what_to_do = format!("farebox ledger resolve {id}");
    let said = house.gateway.stderr();
    let warning = said.lines().find(|line| line.contains(&what_to_do)).unwrap_or_else(|| panic!("no warning: {said}"));
    let warning: serde_json::Value = serde_json::from_str(warning).expect("a line of the log");
    assert_eq!((warning["level"].as_str(), warning["payment_id"].as_str()), (Some("WARN"), Some(&*id)), "{warning}");

    let transaction = mine(&node, &payment, paid());
    let entry = eventually("a resolution", async || {
        let entry = house.gateway.only_entry();
        (entry.state() == "settled").then_some(entry)
    })
    .await;
    assert_eq!((entry.text("transaction"), entry.delivered()), (transaction.as_str(), false));
    assert_eq!(house.facilitator.calls().1, 1, "the chain said it");
    assert_eq!(unsettled().await, (0.0, 0.0));
    let metrics = house.gateway.ask(Request::get("/metrics")).await.text();
    assert!(metrics.contains("farebox_resolutions_total{by=\"chain\",result=\"settled\"} 1"), "{metrics}");
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200, "and its client gets what it paid for");
}

#[tokio::test]
async fn a_gateway_finds_out_by_itself_what_the_run_before_was_settling_when_it_was_killed() {
    join_all(["on-success", "before", "overlap"].map(async |mode| {
        let mut house = House::with_route(&format!("settle = \"{mode}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let held = house.facilitator.hold_settle(Settle::Settled);
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        house.facilitator.settle_reached(1).await;
        house.gateway.kill().await;
        held.release();
        house.gateway.start_again().await;
        let entry = house.gateway.entry_becomes("settled", |entry| entry.state() == "settled").await;
        assert!(!entry.delivered(), "{mode}");
        assert_eq!((house.facilitator.calls().1, house.facilitator.charged()), (2, 1), "{mode}");
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200, "{mode}");
        assert_eq!(house.facilitator.calls().1, 2, "{mode}: nobody is asked again");
    }))
    .await;
}

/// `farebox ledger` with these arguments and a gateway's config: exit code and standard output.
async fn ledger(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.arg("ledger").args(arguments).arg(gateway.config());
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), format!("{}{said}", String::from_utf8_lossy(&output.stdout)))
}

#[tokio::test]
async fn an_operator_asks_beside_the_running_gateway() {
    let (house, node) = house_with_node("settle = \"before\"").await;
    node.tell(|books| books.chain_id = 1);
    let payment = lose(&house, Settle::MovedBut(Answer::Cut)).await;
    let id = house.gateway.only_entry().id().to_owned();
    let ask = async || ledger(&house.gateway, &["resolve", &id[..12]]).await;
    let (_, listed) = ledger(&house.gateway, &["--state", "unknown"]).await;
    assert!(listed.contains(&id[..12]), "{listed}");

    // The gateway may be at it in this moment.
    let said = eventually("a node of the wrong chain", async || {
        let (code, said) = ask().await;
        assert_eq!(code, Some(1), "{said}");
        said.contains("not 84532").then_some(said)
    })
    .await;
    assert!(said.starts_with(&format!("{id}: unknown")), "{said}");

    let transaction = mine(&node, &payment, paid());
    node.tell(|books| books.chain_id = crate::node::CHAIN_ID);
    let said = eventually("the right one", async || {
        let (code, said) = ledger(&house.gateway, &["resolve", &id]).await;
        (code == Some(0)).then_some(said)
    })
    .await;
    assert!(said.starts_with(&format!("{id}: settled")) && said.contains(&transaction), "{said}");
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);

    let absent = "0".repeat(64);
    for (asked, words) in [(absent.as_str(), "no payment"), ("f00d", "no unknown payment"), ("", "no unknown")] {
        let (code, said) = ledger(&house.gateway, &["resolve", asked]).await;
        assert!(code == Some(2) && said.contains(words), "{asked:?}: {code:?} {said}");
    }
    let (code, exported) = ledger(&house.gateway, &["export", "--json"]).await;
    let line: serde_json::Value = serde_json::from_str(exported.trim()).expect("one object a line");
    assert_eq!((code, line["id"].as_str(), line["state"].as_str()), (Some(0), Some(&*id), Some("settled")));
    let (_, exported) = ledger(&house.gateway, &["export"]).await;
    assert!(exported.starts_with("id,state,route,") && exported.lines().count() == 2, "{exported}");
}

#[tokio::test]
async fn what_was_not_used_so_far_is_settled_for_an_operator_who_says_so() {
    let (house, _node) = house_with_node("settle = \"before\"").await;
    let payment = lose(&house, Settle::Answer(Answer::Cut)).await;
    let id = house.gateway.only_entry().id().to_owned();
    // The gateway may be at it in this moment.
    eventually("the chain's word", async || {
        let (code, said) = ledger(&house.gateway, &["resolve", &id]).await;
        assert_eq!(code, Some(1), "{said}");
        said.contains("not used so far").then_some(())
    })
    .await;
    assert_eq!((house.facilitator.calls().1, house.facilitator.charged()), (1, 0));
    eventually("its settlement", async || {
        let (code, _) = ledger(&house.gateway, &["resolve", "--settle", &id]).await;
        (code == Some(0)).then_some(())
    })
    .await;
    assert_eq!((house.facilitator.calls().1, house.facilitator.charged()), (2, 1));
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
}

#[tokio::test]
async fn an_operator_asks_beside_gateways_that_share_a_database() {
    let fleet = Fleet::with_route(Postgres::shared(), "settle = \"before\"").await;
    let payment = fleet.payment("/paid/ok").await;
    fleet.facilitator.on_settle(Settle::MovedBut(Answer::Cut));
    assert_eq!(fleet.redeem("/paid/ok", &payment).await.status, 503);
    let [gateway, _] = &fleet.gateways;
    let id = gateway.only_entry().id().to_owned();
    eventually("an answer", async || {
        let (code, said) = ledger(gateway, &["resolve", &id]).await;
        assert!(said.starts_with(&id), "{said}");
        (code == Some(0)).then_some(())
    })
    .await;
    let (code, exported) = ledger(gateway, &["export"]).await;
    assert!(code == Some(0) && exported.contains(&format!("{id},settled,paid,")), "{exported}");
    assert_eq!(fleet.redeem("/paid/ok", &payment).await.status, 200);
    assert_eq!(fleet.facilitator.charged(), 1);
}
