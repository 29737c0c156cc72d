//! Paid means served: a settled payment that was not delivered opens its route again.

use std::time::Duration;

use super::MODES;
use super::ask::{Ask, Upstream};
use super::stand::{HOUSE, Stand, route};
use super::wallet::Wallet;
use crate::gate::unix_millis;
use crate::ledger::{Opening, State};
use crate::telemetry::Outcome;

const OK: Upstream = Upstream::Answers(200);

#[tokio::test]
async fn what_was_not_delivered_is_delivered_once() {
    for mode in MODES {
        for failing in [Upstream::Answers(404), Upstream::Answers(500), Upstream::BreaksOff(200), Upstream::Fails] {
            if mode == "on-success" && failing != Upstream::BreaksOff(200) {
                continue;
            }
            let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
            let signed = Wallet::new().pay(&stand.offer("paid"));
            let ask = Ask::get("/paid").paying(&signed);
            let first = stand.visit(&ask, failing).await;
            let case = format!("{mode} {failing:?}");
            assert_eq!(stand.transfers(), 1, "{case}");
            // It may fail more than once, and the gateway may be killed meanwhile.
            for stand in [&stand, &stand.restarted()] {
                let seen = stand.visit(&ask, failing).await;
                assert!(seen.forwarded, "{case}");
            }
            let v1 = Ask::get("/paid").with("x-payment", signed.v1());
            let seen = stand.visit(&v1, OK).await;
            assert_eq!((seen.outcome, seen.served), (Outcome::Redelivered, true), "{case}");
            let (told, identity) = (seen.settlement_v1().unwrap(), seen.identity.unwrap());
            assert!(told.success, "{case}");
            assert_eq!(told.transaction, first.settlement().unwrap().transaction, "{case}");
            assert_eq!(identity.payment_id, signed.id(), "{case}: the backend's idempotency key");
            assert_eq!(identity.paid.unwrap().transaction.as_deref(), Some(&*told.transaction), "{case}");
            let spent = stand.visit(&ask, OK).await;
            assert_eq!((spent.outcome, spent.error()), (Outcome::Refused, "invalid_exact_evm_nonce_already_used"));
            assert_eq!(stand.facilitator.settles(), 1, "{case}");
        }
    }
}

#[tokio::test]
async fn it_is_owed_for_as_long_as_the_route_says() {
    let stand = Stand::paid("redeliver = \"2m\"").await;
    for (age, outcome) in [(0, Outcome::Redelivered), (119_000, Outcome::Redelivered), (120_000, Outcome::Refused)] {
        let signed = Wallet::new().pay(&stand.offer("paid"));
        stand.settled_at(&signed, "paid", unix_millis() - age).await;
        let seen = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
        assert_eq!(seen.outcome, outcome, "after {age} ms");
    }
}

#[tokio::test]
async fn it_is_owed_where_it_was_paid() {
    let stand = Stand::new(&format!("{}{}", route(""), route("").replace("paid", "other"))).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    stand.settled_at(&signed, "paid", unix_millis()).await;
    for ask in [Ask::get("/other"), Ask::get("/paid").host("www.shop.test")] {
        assert_eq!(stand.visit(&ask.paying(&signed), OK).await.outcome, Outcome::Refused);
    }
    assert_eq!(stand.visit(&Ask::get("/paid").paying(&signed), OK).await.outcome, Outcome::Redelivered);
}

/// The signature is part of what proves that it is the payer who comes back.
#[tokio::test]
async fn a_nonce_read_from_the_chain_is_worth_nothing() {
    let stand = Stand::paid("window = \"60s\"").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    stand.settled_at(&signed, "paid", unix_millis()).await;
    // As a smart account's, it is not checked here.
    let forged = super::wallet::Signed { signature: vec![1; 130].into(), ..signed.clone() };
    let seen = stand.visit(&Ask::get("/paid").paying(&forged), OK).await;
    assert_eq!((seen.outcome, seen.forwarded), (Outcome::Refused, false));
    assert_eq!(stand.facilitator.verifies(), 0);
}

/// The terms of before, and what the settlement header says of them, are what was paid.
#[tokio::test]
async fn it_is_owed_under_whatever_terms_it_was_paid() {
    let before = Stand::paid("").await;
    let house_without_the_way = HOUSE.replace("[pay.usdc]", "[pay.mainnet]").replace("base-sepolia", "base");
    let reloads = [
        (HOUSE.to_owned(), route("").replace("0.10", "0.20")),
        (
            HOUSE.replace("0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "0x0000000000000000000000000000000000000001"),
            route(""),
        ),
        (house_without_the_way, route("")),
    ];
    for (house, routes) in reloads {
        let stand = before.reloaded(&house, &routes, Duration::from_secs(120));
        for v1 in [false, true] {
            let signed = Wallet::new().pay(&before.offer("paid"));
            stand.settled_at(&signed, "paid", unix_millis()).await;
            let ask =
                if v1 { Ask::get("/paid").with("x-payment", signed.v1()) } else { Ask::get("/paid").paying(&signed) };
            let seen = stand.visit(&ask, OK).await;
            assert_eq!(seen.outcome, Outcome::Redelivered, "v1 {v1}: {house}");
            let paid = seen.identity.clone().unwrap().paid.unwrap();
            assert_eq!((paid.network.caip2(), paid.amount.to_string()), ("eip155:84532", "100000".to_owned()));
            if !v1 {
                assert_eq!(seen.settlement().unwrap().amount.unwrap().to_string(), "100000");
            }
        }
    }
}

/// Also when its own time has passed meanwhile.
#[tokio::test]
async fn it_is_owed_after_its_authorization_has_run_out() {
    let stand = Stand::paid("").await;
    for (opening, state, outcome) in [
        (None, State::Settled, Outcome::Redelivered),
        (Some(Opening::Settling), State::Unknown, Outcome::Pending),
        (Some(Opening::Reserved), State::Failed, Outcome::Refused),
    ] {
        let signed = Wallet::new().sign(&stand.offer("paid"), |a| a.valid_before -= 90);
        match opening {
            None => stand.settled_at(&signed, "paid", unix_millis()).await,
            Some(opening) => stand.opened_at(&signed, "paid", opening, unix_millis()).await,
        }
        let seen = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
        assert_eq!(seen.outcome, outcome, "{opening:?}");
        assert_eq!(stand.state(&signed).await, Some(state), "{opening:?}: what a dead request left is put right");
        assert_eq!(stand.facilitator.settles(), 0, "{opening:?}");
    }
}

/// A redelivery is what was paid for, not a use of the window.
#[tokio::test]
async fn a_redelivery_is_no_use() {
    let stand = Stand::paid("settle = \"before\"\nwindow = { for = \"60s\", uses = 1 }").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let ask = Ask::get("/paid").paying(&signed);
    for (upstream, outcome) in
        [(Upstream::Fails, Outcome::UpstreamError), (OK, Outcome::Redelivered), (OK, Outcome::Refused)]
    {
        assert_eq!(stand.visit(&ask, upstream).await.outcome, outcome);
    }
    assert_eq!((stand.transfers(), stand.record(&signed).await.uses), (1, 1));
}
