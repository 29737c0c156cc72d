//! What a chain's answers prove, against a node on loopback that says what it is told to say.

use alloy::primitives::address;

use super::*;

use crate::node::{self, BLOCK_SECONDS, FakeNode, Fate, Spent, block_at, transaction_of};

const TOKEN: Address = address!("036CbD53842c5426634e7929541eC2318f3dCF7e");
const PAYER: Address = Address::repeat_byte(0x0a);
const PAY_TO: Address = Address::repeat_byte(0x0b);
const NONCE: B256 = B256::repeat_byte(0x0c);
/// When the payment was taken on.
const SINCE: u64 = node::GENESIS + 10_000_000;
const VALID_BEFORE: u64 = SINCE + 300;

fn sought() -> Sought {
    Sought {
        token: TOKEN,
        payer: PAYER,
        nonce: NONCE,
        pay_to: PAY_TO,
        amount: U256::from(1000),
        valid_before: VALID_BEFORE,
        since: SINCE,
    }
}

async fn node_at(time: u64) -> FakeNode {
    FakeNode::at(time, TOKEN).await
}

fn chain(node: &FakeNode) -> Chain {
    chain_with(node, 3, 1000)
}

fn chain_with(node: &FakeNode, confirmations: u64, block_range: u64) -> Chain {
    let url = node.url().parse().unwrap();
    Chain::new(node::CHAIN_ID, &NodeConfig { url, confirmations, block_range }).unwrap()
}

/// Spent ten seconds after the payment was taken on.
fn spent(node: &FakeNode, fate: Fate) {
    node.tell(|books| books.spent.push(Spent { payer: PAYER, nonce: NONCE, block: block_at(SINCE + 10), fate }));
}

fn paid() -> Fate {
    Fate::Moved { to: PAY_TO, value: 1000 }
}

#[tokio::test]
async fn what_an_event_means_is_told_by_where_the_money_went() {
    let transaction = transaction_of(NONCE);
    let cases = [
        (paid(), Finding::Paid { transaction }),
        (Fate::Moved { to: PAY_TO, value: 1001 }, Finding::Paid { transaction }),
        (Fate::Moved { to: PAY_TO, value: 999 }, Finding::Diverted { transaction }),
        (Fate::Moved { to: PAYER, value: 1000 }, Finding::Diverted { transaction }),
        (Fate::Canceled, Finding::Canceled { transaction }),
    ];
    for (fate, expected) in cases {
        let node = node_at(SINCE + 100).await;
        let what = format!("{fate:?}");
        spent(&node, fate);
        for named in [None, Some(transaction), Some(B256::repeat_byte(1))] {
            assert_eq!(chain(&node).look(&sought(), named).await, Ok(expected.clone()), "{what}, named {named:?}");
        }
    }
}

/// Whose transfer is whose is told by the order in which the token logs them. One that logs them in another order is not
/// taken for a payer that paid somebody else: that would be final.
#[tokio::test]
async fn a_transaction_that_paid_us_in_an_unknown_order_decides_nothing() {
    let node = node_at(SINCE + 100).await;
    spent(&node, Fate::MovedFirst { to: PAY_TO, value: 1000 });
    let error = chain(&node).look(&sought(), None).await.unwrap_err().to_string();
    assert!(error.contains("look by hand"), "{error}");

    let node = node_at(SINCE + 100).await;
    spent(&node, Fate::MovedFirst { to: PAYER, value: 1000 });
    let transaction = transaction_of(NONCE);
    assert_eq!(chain(&node).look(&sought(), None).await, Ok(Finding::Diverted { transaction }));
}

#[tokio::test]
async fn an_unused_authorization_is_over_when_a_confirmed_block_is_past_its_time() {
    let cases = [
        (SINCE, Finding::Unused),
        (VALID_BEFORE, Finding::Unused),
        (VALID_BEFORE + 2, Finding::Unused),
        (VALID_BEFORE + 4, Finding::Expired),
        (VALID_BEFORE + 4000, Finding::Expired),
    ];
    for (time, expected) in cases {
        let node = node_at(time).await;
        assert_eq!(chain(&node).look(&sought(), None).await, Ok(expected), "at {time}");
    }
}

#[tokio::test]
async fn nothing_is_said_before_enough_blocks_confirm_it() {
    let node = node_at(SINCE + 10).await;
    spent(&node, paid());
    let transaction = transaction_of(NONCE);
    for (confirmations, later, expected) in [
        (1, 0, Finding::Paid { transaction }),
        (2, 0, Finding::Unconfirmed { transaction }),
        (3, 1, Finding::Unconfirmed { transaction }),
        (3, 2, Finding::Paid { transaction }),
    ] {
        node.tell(|books| books.latest = block_at(SINCE + 10) + later);
        let found = chain_with(&node, confirmations, 1000).look(&sought(), None).await;
        assert_eq!(found, Ok(expected), "{confirmations} confirmations, {later} blocks later");
    }
}

#[tokio::test]
async fn a_search_keeps_within_what_the_node_allows() {
    let node = node_at(SINCE + 20_000).await;
    node.tell(|books| books.range_max = 100);
    spent(&node, paid());
    let transaction = transaction_of(NONCE);
    assert_eq!(chain_with(&node, 3, 100).look(&sought(), None).await, Ok(Finding::Paid { transaction }));
    let questions = node.tell(|books| books.asked.len());
    assert!(questions < 60, "{questions} questions for a payment of some hours ago");

    let refused = chain_with(&node, 3, 101).look(&sought(), None).await.unwrap_err().to_string();
    assert!(refused.contains("eth_getLogs") && refused.contains("max block range"), "{refused}");
}

#[tokio::test]
async fn a_search_begins_before_the_payment_came_for_clocks_differ() {
    let transaction = transaction_of(NONCE);
    for (early, is_found) in [(0, true), (CLOCK_MARGIN_SECONDS, true), (CLOCK_MARGIN_SECONDS + BLOCK_SECONDS, false)] {
        let node = node_at(SINCE + 100).await;
        let block = block_at(SINCE - early);
        node.tell(|books| books.spent.push(Spent { payer: PAYER, nonce: NONCE, block, fate: paid() }));
        let found = chain(&node).look(&sought(), None).await;
        assert_eq!(found == Ok(Finding::Paid { transaction }), is_found, "{early} s early: {found:?}");
    }
}

#[tokio::test]
async fn a_search_without_end_ends() {
    let node = node_at(SINCE + 20_000_000).await;
    spent(&node, Fate::Vanished);
    let error = chain(&node).look(&sought(), None).await.unwrap_err().to_string();
    assert!(error.contains("look by hand"), "{error}");
    assert_eq!(node.tell(|books| books.asked.iter().filter(|asked| *asked == "eth_getLogs").count()), 50);
}

#[tokio::test]
async fn a_young_chain_is_searched_from_its_first_block() {
    let node = node_at(node::GENESIS + 100).await;
    node.tell(|books| books.spent.push(Spent { payer: PAYER, nonce: NONCE, block: 0, fate: paid() }));
    let sought = Sought { since: node::GENESIS, ..sought() };
    let transaction = transaction_of(NONCE);
    assert_eq!(chain(&node).look(&sought, None).await, Ok(Finding::Paid { transaction }));
}

#[tokio::test]
async fn what_does_not_fit_together_decides_nothing() {
    let cases: &[fn(&mut node::Books)] = &[
        |books| books.chain_id = 8453,
        |books| books.token = Address::repeat_byte(9),
        |books| books.instead = vec!["<html>".to_owned()],
        |books| books.instead = vec!["{}".to_owned()],
        |books| books.instead = vec![format!("\"{}\"", "x".repeat(5 << 20))],
        |books| books.instead = vec![r#"{"jsonrpc":"2.0","id":0,"result":"0x1ffffffffffffffffff"}"#.to_owned()],
        |books| books.spent.push(Spent { payer: PAYER, nonce: NONCE, block: 0, fate: Fate::Vanished }),
    ];
    for (case, change) in cases.iter().enumerate() {
        let node = node_at(SINCE + 100).await;
        node.tell(change);
        let error = chain(&node).look(&sought(), None).await.unwrap_err().to_string();
        assert!(error.len() < 500, "case {case}: {error}");
        assert!(!error.contains("127.0.0.1"), "case {case} tells the URL: {error}");
    }
}

#[tokio::test]
async fn a_node_that_is_gone_says_so_without_its_url() {
    let node = node_at(SINCE).await;
    let url = format!("{}?key=hushhush", node.url()).parse().unwrap();
    drop(node);
    let config = NodeConfig { url, confirmations: 1, block_range: 1000 };
    assert!(!format!("{config:?}").contains("hushhush"));
    let chain = Chain::new(node::CHAIN_ID, &config).unwrap();
    let error = chain.look(&sought(), None).await.unwrap_err().to_string();
    assert!(error.contains("eth_chainId") && !error.contains("hushhush"), "{error}");
}
