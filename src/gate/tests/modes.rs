//! Each settle mode under each thing that an upstream may do: who is charged, and what the client sees.

use super::MODES;
use super::ask::{Ask, Seen, Upstream};
use super::stand::Stand;
use super::wallet::Wallet;
use crate::facilitator::Settlement;
use crate::ledger::State;
use crate::telemetry::Outcome;

const UPSTREAMS: [Upstream; 8] = [
    Upstream::Answers(200),
    Upstream::Answers(204),
    Upstream::Answers(301),
    Upstream::Answers(404),
    Upstream::Answers(500),
    Upstream::BreaksOff(200),
    Upstream::BreaksOff(500),
    Upstream::Fails,
];

fn status_of(upstream: Upstream) -> u16 {
    match upstream {
        Upstream::Answers(status) | Upstream::BreaksOff(status) => status,
        Upstream::Fails => 502,
    }
}

#[tokio::test]
async fn who_is_charged_and_what_the_client_sees() {
    for mode in MODES {
        for upstream in UPSTREAMS {
            let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
            let signed = Wallet::new().pay(&stand.offer("paid"));
            let seen = stand.visit(&Ask::get("/paid").paying(&signed), upstream).await;
            let record = stand.record(&signed).await;
            let good = status_of(upstream) < 400;
            let charged = mode != "on-success" || good;
            let case = format!("{mode} {upstream:?}");

            assert_eq!(stand.transfers(), u64::from(charged), "{case}");
            assert_eq!(record.state, if charged { State::Settled } else { State::Failed }, "{case}");
            assert_eq!(
                record.delivered_at.is_some(),
                upstream == Upstream::Answers(status_of(upstream)) && good,
                "{case}"
            );
            assert_eq!(seen.status, status_of(upstream), "{case}");
            match seen.settlement() {
                Some(told) => {
                    assert!(charged && told.success, "{case}");
                    assert_eq!(Some(&*told.transaction), record.transaction.as_deref(), "{case}");
                    assert_eq!(told.amount.unwrap().to_string(), "100000", "{case}");
                }
                None => assert!(!charged, "{case}"),
            }
            if upstream == Upstream::Fails {
                assert_eq!(seen.outcome, Outcome::UpstreamError, "{case}");
                assert_eq!(seen.says_same_payment_again(), charged, "{case}: a charged client is told to come back");
            } else if charged {
                assert_eq!(seen.text("farebox-payment-id"), Some(signed.id().as_str()), "{case}");
            }
            let verified = u64::from(mode == "on-success");
            assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), (verified, u64::from(charged)));
        }
    }
}

#[tokio::test]
async fn the_upstream_is_told_who_pays_what() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let wallet = Wallet::new();
        let signed = wallet.pay(&stand.offer("paid"));
        let seen = stand.visit(&Ask::get("/paid").paying(&signed), Upstream::Answers(200)).await;
        let identity = seen.identity.unwrap();
        let paid = identity.paid.unwrap();
        assert_eq!((&*identity.route, &*identity.payer), ("paid", &*wallet.address()), "{mode}");
        assert_eq!(identity.payment_id, signed.id());
        assert_eq!((paid.network.caip2(), paid.amount.to_string()), ("eip155:84532", "100000".to_owned()));
        assert_eq!(paid.transaction.is_some(), mode == "before", "{mode}: named where the money has moved already");
    }
}

#[tokio::test]
async fn local_verification_asks_for_the_settlement_alone() {
    let stand = Stand::paid("verify = \"local\"").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let seen = stand.visit(&Ask::get("/paid").paying(&signed), Upstream::Answers(200)).await;
    assert_eq!(seen.outcome, Outcome::Paid);
    assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), (0, 1));
}

/// The money rules' dearest: what nobody knows is never a 402, however often it is asked about.
#[tokio::test]
async fn an_unknown_outcome_is_pending_until_it_is_known() {
    for mode in MODES {
        for (named, lost) in [(None, true), (Some("0xabc".to_owned()), false)] {
            let keys = format!("settle = \"{mode}\"\nwindow = \"60s\"");
            let stand = Stand::paid(&keys).await;
            let signed = Wallet::new().pay(&stand.offer("paid"));
            for _ in 0..5 {
                stand.facilitator.settle_next(Settlement::Unknown {
                    facilitator: "main".into(),
                    transaction: named.clone(),
                    detail: "HTTP 500 0xsecret".to_owned(),
                });
            }
            let v2 = Ask::get("/paid").paying(&signed);
            let v1 = Ask::get("/paid").with("x-payment", signed.v1());
            let first = stand.visit(&v2, Upstream::Answers(200)).await;
            let told = |seen: &Seen| seen.settlement().or_else(|| seen.settlement_v1()).unwrap();
            let mut all = vec![first];
            for ask in [&v2, &v1] {
                all.push(stand.visit(ask, Upstream::Answers(200)).await);
                all.push(stand.restarted().visit(ask, Upstream::Answers(200)).await);
            }
            for seen in &all {
                let case = format!("{mode} {lost} {seen:?}");
                assert_eq!((seen.status, seen.outcome, seen.served), (503, Outcome::Pending, false), "{case}");
                assert_eq!(seen.error(), "settlement_pending", "{case}");
                assert!(seen.says_same_payment_again() && !case.contains("secret"), "{case}");
                let told = told(seen);
                assert_eq!((told.success, told.error_reason.as_deref()), (false, Some("settlement_pending")), "{case}");
                assert_eq!(told.transaction, named.clone().unwrap_or_default(), "{case}");
            }
            assert_eq!(stand.facilitator.settles(), 5, "{mode}: each retry asks again");
            assert_eq!(stand.state(&signed).await, Some(State::Unknown), "{mode}");
            let served = stand.visit(&v2, Upstream::Answers(200)).await;
            assert!(served.served && stand.transfers() == 1, "{mode}: {served:?}");
        }
    }
}

/// A client that signs the nonce of a pending payment anew is not sent to sign yet another one.
#[tokio::test]
async fn another_payment_under_a_pending_nonce_is_pending_too() {
    let stand = Stand::paid("settle = \"before\"").await;
    let wallet = Wallet::new();
    let signed = wallet.pay(&stand.offer("paid"));
    let (facilitator, detail) = ("main".into(), String::new());
    stand.facilitator.settle_next(Settlement::Unknown { facilitator, transaction: None, detail });
    assert_eq!(stand.visit(&Ask::get("/paid").paying(&signed), Upstream::Answers(200)).await.status, 503);
    let resigned = wallet.sign(&stand.offer("paid"), |a| {
        a.nonce = signed.authorization.nonce;
        a.valid_before -= 1;
    });
    let seen = stand.visit(&Ask::get("/paid").paying(&resigned), Upstream::Answers(200)).await;
    assert_eq!((seen.outcome, stand.facilitator.settles()), (Outcome::Pending, 1));
}
