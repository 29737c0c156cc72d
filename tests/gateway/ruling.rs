//! `farebox ledger resolve ID --as …`: an operator decides where nobody else can know.

use std::process::Command;

use crate::node::FakeNode;
use crate::support::fleet::Fleet;
use crate::support::gateway::BINARY;
use crate::support::payer::now;
use crate::support::postgres::Postgres;
use crate::support::{Answer, Gateway, House, Payment, Request, Settle, eventually, within};

const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const TRANSACTION: &str = "0xabababababababababababababababababababababababababababababababab";

/// `farebox ledger resolve` with these arguments and a gateway's config: exit code and what it said.
async fn resolve(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.args(["ledger", "resolve"]).args(arguments).arg(gateway.config());
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), format!("{}{said}", String::from_utf8_lossy(&output.stdout)))
}

async fn settled_by_word(gateway: &Gateway, id: &str) -> (Option<i32>, String) {
    resolve(gateway, &[id, "--as", "settled", "--transaction", TRANSACTION]).await
}

/// A house whose node is another chain's: whoever asks what became of the payment learns nothing, and it stays unknown.
async fn unknown(settle: Settle) -> (House, Payment, String, FakeNode) {
    let node = FakeNode::at(now(), USDC.parse().expect("an address")).await;
    node.tell(|books| books.chain_id = 1);
    let network = format!("[networks.base-sepolia]\nrpc_url = \"{}\"", node.url());
    let house = House::build("settle = \"before\"", |setup| setup.sections(&network)).await;
    let payment = house.payment("/paid/ok").await;
    house.facilitator.on_settle(settle);
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 503);
    let id = house.gateway.only_entry().id().to_owned();
    (house, payment, id, node)
}

#[tokio::test]
async fn what_an_operator_says_was_paid_opens_its_route_once_and_says_who_decided() {
    let (house, payment, id, _node) = unknown(Settle::MovedBut(Answer::Cut)).await;
    // Of an unknown one the first digits are enough.
    let (code, said) = settled_by_word(&house.gateway, &id[..12]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&format!("{id}: settled, says the operator; transaction {TRANSACTION}; ")), "{said}");
    assert!(said.contains("`redeliver`") && said.contains("route paid"), "{said}");

    let entry = house.gateway.only_entry();
    assert_eq!((entry.state(), entry.text("transaction")), ("settled", TRANSACTION));
    assert_eq!((entry.text("facilitator"), entry.0["by_operator"].as_bool()), ("main", Some(true)));
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.settlement().expect("PAYMENT-RESPONSE")["transaction"], TRANSACTION);
    assert_eq!((house.facilitator.calls().1, house.facilitator.charged()), (1, 1), "nobody was asked again");
    eventually("delivery", async || house.gateway.only_entry().delivered().then_some(())).await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 402, "it opened one request");
}

#[tokio::test]
async fn what_an_operator_says_was_not_paid_is_settled_when_it_comes_again_and_not_before() {
    let (house, payment, id, _node) = unknown(Settle::Answer(Answer::Cut)).await;
    let (code, said) = resolve(&house.gateway, &[&id, "--as", "failed"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&format!("{id}: failed, says the operator; nothing is owed")), "{said}");
    assert!(said.contains("can still be settled"), "its time is not over: {said}");
    let entry = house.gateway.only_entry();
    assert_eq!((entry.state(), entry.0["by_operator"].as_bool()), ("failed", Some(true)));
    assert!(entry.text("error").contains("operator"), "{entry:?}");
    assert_eq!((house.facilitator.charged(), house.upstream.count()), (0, 0));

    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    assert_eq!((house.facilitator.charged(), house.upstream.count()), (1, 1));
    let entry = house.gateway.only_entry();
    assert_eq!((entry.state(), entry.0["by_operator"].as_bool()), ("settled", Some(false)), "the facilitator said so");
}

#[tokio::test]
async fn what_is_known_already_is_not_decided_again() {
    let (house, payment, id, _node) = unknown(Settle::MovedBut(Answer::Cut)).await;
    for (arguments, words) in [
        (&["--as", "settled"][..], "--transaction"),
        (&["--as", "settled", "--transaction", "0x12"], "names no transaction of base-sepolia"),
        (&["--as", "failed", "--transaction", TRANSACTION], "leave it out"),
        (&["--as", "failed", "--settle"], "--settle"),
        (&["--as", "unknown"], "possible values: settled, failed"),
        (&["--transaction", TRANSACTION], "--as"),
    ] {
        let (code, said) = resolve(&house.gateway, &[&[&id[..]], arguments].concat()).await;
        assert!(code == Some(2) && said.contains(words), "{arguments:?}: {code:?} {said}");
    }
    let (code, said) = resolve(&house.gateway, &[&"0".repeat(64), "--as", "failed"]).await;
    assert!(code == Some(2) && said.contains("no payment"), "{said}");
    assert_eq!(house.gateway.only_entry().state(), "unknown");

    assert_eq!(settled_by_word(&house.gateway, &id).await.0, Some(0));
    for arguments in [&["--as", "failed"][..], &["--as", "settled", "--transaction", TRANSACTION]] {
        let (code, said) = resolve(&house.gateway, &[&[&id[..]], arguments].concat()).await;
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(said, format!("{id}: nothing was changed: it is settled already, {TRANSACTION}\n"));
    }
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
}

#[tokio::test]
async fn a_settlement_is_left_to_the_gateway_that_is_at_it_until_that_has_ended() {
    let mut house = House::with_route("settle = \"before\"").await;
    let payment = house.payment("/paid/ok").await;
    let latch = house.facilitator.hold_settle(Settle::MovedBut(Answer::Cut));
    let mut client = house.gateway.connect().await;
    client.send(&Request::get("/paid/ok").paid(&payment)).await;
    let id = house.gateway.entry_becomes("settling", |entry| entry.state() == "settling").await.id().to_owned();
    eventually("the facilitator to be asked", async || (house.facilitator.calls().1 == 1).then_some(())).await;

    let (code, said) = settled_by_word(&house.gateway, &id).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing was changed: a gateway is settling it"), "{said}");
    assert_eq!(house.gateway.only_entry().state(), "settling");

    house.gateway.kill().await;
    latch.release();
    let (code, said) = settled_by_word(&house.gateway, &id).await;
    assert_eq!(code, Some(0), "{said}");
    house.gateway.start_again().await;
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(house.facilitator.calls().1, 1, "nobody was asked again");
}

#[tokio::test]
async fn in_a_shared_ledger_too_a_settlement_is_left_to_the_gateway_that_is_at_it() {
    let mut fleet = Fleet::with_route(Postgres::shared(), "settle = \"before\"").await;
    let payment = fleet.payment("/paid/ok").await;
    // Whoever asks, and whoever asks again: it is silent.
    let _latches = [(); 2].map(|()| fleet.facilitator.hold_settle(Settle::MovedBut(Answer::Cut)));
    let _client = fleet.connect(0, Request::get("/paid/ok").paid(&payment)).await;
    let id = fleet.gateways[1].entry_becomes("settling", |entry| entry.state() == "settling").await.id().to_owned();
    eventually("the facilitator to be asked", async || (fleet.facilitator.calls().1 == 1).then_some(())).await;
    let (code, said) = settled_by_word(&fleet.gateways[1], &id).await;
    assert!(code == Some(1) && said.contains("a gateway is settling it"), "{said}");

    fleet.gateways[0].kill().await;
    // When its lease has ended; the other gateway may find it first and ask the facilitator, who is silent.
    let said = within("the lease to end", async {
        loop {
            let (code, said) = settled_by_word(&fleet.gateways[1], &id).await;
            if code == Some(0) {
                return said;
            }
            assert!(said.contains("a gateway is"), "{said}");
        }
    })
    .await;
    assert!(said.contains("settled, says the operator"), "{said}");
    let response = fleet.redeem_at(1, "/paid/ok", &payment).await;
    assert_eq!(response.status, 200, "{response:?}");
}
