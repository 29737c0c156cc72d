//! Payments that are refused: by the gateway itself, by the facilitator's verification, by its settlement.

use super::MODES;
use super::ask::{Ask, Seen, Upstream};
use super::stand::Stand;
use super::wallet::{Signed, Wallet};
use crate::facilitator::{FaultKind, Settlement, Verification};
use crate::gate::generation::QuotedOffer;
use crate::ledger::State;
use crate::telemetry::Outcome;
use crate::x402::Reason;
use alloy::primitives::Address;
use serde_json::{Value, json};

/// The request in each dialect.
fn in_both(signed: &Signed) -> [Ask; 2] {
    [Ask::get("/paid").paying(signed), Ask::get("/paid").with("x-payment", signed.v1())]
}

/// A 402 with the code in the challenge of both versions, and in the settlement header of the caller's alone.
fn assert_refused(seen: &Seen, reason: Reason, dialect: usize) {
    let (own, other) = match dialect {
        0 => (seen.settlement(), seen.settlement_v1()),
        _ => (seen.settlement_v1(), seen.settlement()),
    };
    assert_eq!((seen.status, seen.outcome, seen.served), (402, Outcome::Refused, false), "{reason}: {seen:?}");
    assert_eq!(seen.terms().error.as_deref(), Some(reason.code()));
    assert_eq!(seen.error(), reason.code());
    let told = own.expect("a settlement header");
    assert!(!told.success && other.is_none(), "{reason}: {seen:?}");
    assert_eq!(told.error_reason.as_deref(), Some(reason.code()));
    assert_eq!((told.transaction.as_str(), told.network.as_str()), ("", ["eip155:84532", "base-sepolia"][dialect]));
}

#[tokio::test]
async fn what_the_gateway_finds_wanting_reaches_nobody() {
    type Sign = fn(&Wallet, &QuotedOffer) -> Signed;
    let cases: [(Reason, Sign); 7] = [
        (Reason::RecipientMismatch, |w, o| w.sign(o, |a| a.to = Address::repeat_byte(9))),
        (Reason::ValueMismatch, |w, o| w.sign(o, |a| a.value = 99_999.into())),
        (Reason::ValueMismatch, |w, o| w.sign(o, |a| a.value = 100_001.into())),
        (Reason::ValidAfter, |w, o| w.sign(o, |a| a.valid_after += 120)),
        (Reason::ValidBefore, |w, o| w.sign(o, |a| a.valid_before -= 58)),
        (Reason::InvalidSignature, |w, o| {
            let other = w.pay(o);
            Signed { signature: other.signature, ..w.pay(o) }
        }),
        (Reason::InvalidSignature, |w, o| {
            let mut signed = w.pay(o);
            signed.authorization.from = Address::repeat_byte(1);
            signed
        }),
    ];
    let stand = Stand::paid("").await;
    for (reason, sign) in cases {
        let signed = sign(&Wallet::new(), &stand.offer("paid"));
        for (dialect, ask) in in_both(&signed).into_iter().enumerate() {
            assert_refused(&stand.visit(&ask, Upstream::Answers(200)).await, reason, dialect);
        }
    }
    assert!(stand.ledger.all().await.is_empty());
    assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), (0, 0));
}

#[tokio::test]
async fn terms_that_are_not_on_offer_are_refused_by_name() {
    type Change = fn(&mut Value);
    let v2: [(Reason, Change); 6] = [
        (Reason::UnsupportedScheme, |j| j["accepted"]["scheme"] = "upto".into()),
        (Reason::InvalidNetwork, |j| j["accepted"]["network"] = "eip155:8453".into()),
        (Reason::NoMatchingRequirements, |j| j["accepted"]["amount"] = "1".into()),
        (Reason::NoMatchingRequirements, |j| j["accepted"]["payTo"] = Address::repeat_byte(9).to_string().into()),
        (Reason::NoMatchingRequirements, |j| j["accepted"]["extra"]["name"] = "USD Coin".into()),
        (Reason::InvalidX402Version, |j| j["x402Version"] = 1.into()),
    ];
    let v1: [(Reason, Change); 3] = [
        (Reason::UnsupportedScheme, |j| j["scheme"] = "upto".into()),
        (Reason::InvalidNetwork, |j| j["network"] = "avalanche".into()),
        (Reason::InvalidX402Version, |j| j["x402Version"] = 2.into()),
    ];
    let stand = Stand::paid("").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let asks = v2
        .map(|(reason, change)| (reason, 0, Ask::get("/paid").with("payment-signature", signed.v2_with(change))))
        .into_iter()
        .chain(v1.map(|(reason, change)| (reason, 1, Ask::get("/paid").with("x-payment", signed.v1_with(change)))));
    for (reason, dialect, ask) in asks {
        let seen = stand.visit(&ask, Upstream::Answers(200)).await;
        assert_eq!((seen.status, seen.error()), (402, reason.code()), "{reason}");
        let told = [seen.settlement(), seen.settlement_v1()][dialect].clone().expect("a settlement header");
        assert_eq!(told.error_reason.as_deref(), Some(reason.code()));
    }
    assert!(stand.ledger.all().await.is_empty());
}

/// Whatever a facilitator says no with, under each mode, is passed on by its code; nothing is charged.
#[tokio::test]
async fn what_the_facilitator_refuses_is_refused() {
    for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::SettlementPending) {
        let detail = "0xsecret calldata".to_owned();
        for (mode, at_verify) in [("on-success", true), ("on-success", false), ("before", false), ("overlap", false)] {
            for dialect in [0, 1] {
                let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
                if at_verify {
                    stand.facilitator.verify_next(Ok(Verification::Invalid { reason, detail: detail.clone() }));
                } else {
                    stand.facilitator.settle_next(Settlement::Refused { reason, detail: detail.clone() });
                }
                let signed = Wallet::new().pay(&stand.offer("paid"));
                let [v2, v1] = in_both(&signed);
                let ask = [v2, v1][dialect].clone();
                let seen = stand.visit(&ask, Upstream::Answers(200)).await;
                assert_refused(&seen, reason, dialect);
                assert!(!format!("{seen:?}").contains("secret"), "a facilitator's own words stay in the log");
                assert_eq!(stand.state(&signed).await, Some(State::Failed), "{mode} {reason}");
                // Certainly not charged, so it may be tried again.
                let again = stand.visit(&ask, Upstream::Answers(200)).await;
                assert_eq!((again.outcome, stand.transfers()), (Outcome::Paid, 1), "{mode} {reason}");
            }
        }
    }
}

#[tokio::test]
async fn a_facilitator_that_cannot_be_asked_is_not_the_payers_fault() {
    let kinds = [FaultKind::Unreached, FaultKind::Unauthorized, FaultKind::RateLimited];
    for kind in kinds {
        for (mode, at_verify) in [("on-success", true), ("on-success", false), ("before", false), ("overlap", false)] {
            let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
            let fault = stand.facilitator.fault(kind);
            if at_verify {
                stand.facilitator.verify_next(Err(fault));
            } else {
                stand.facilitator.settle_next(Settlement::NotSent { fault });
            }
            let signed = Wallet::new().pay(&stand.offer("paid"));
            let ask = Ask::get("/paid").paying(&signed);
            let seen = stand.visit(&ask, Upstream::Answers(200)).await;
            assert_eq!((seen.status, seen.outcome), (503, Outcome::Unavailable), "{mode} {kind:?}");
            assert_eq!(seen.error(), "facilitator_unavailable");
            assert!(seen.says_same_payment_again() && !seen.served);
            assert_eq!(stand.state(&signed).await, Some(State::Failed));
            let again = stand.visit(&ask, Upstream::Answers(200)).await;
            assert_eq!((again.outcome, stand.transfers()), (Outcome::Paid, 1), "{mode} {kind:?}");
        }
    }
}

/// Somebody else's payment under the same nonce, once the first has settled.
#[tokio::test]
async fn a_spent_nonce_is_refused_without_asking() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let wallet = Wallet::new();
        let first = wallet.pay(&stand.offer("paid"));
        assert_eq!(stand.visit(&Ask::get("/paid").paying(&first), Upstream::Answers(200)).await.outcome, Outcome::Paid);
        let asked = (stand.facilitator.verifies(), stand.facilitator.settles());
        let resigned = wallet.sign(&stand.offer("paid"), |a| {
            a.nonce = first.authorization.nonce;
            a.valid_before -= 1;
        });
        for signed in [&first, &resigned] {
            for (dialect, ask) in in_both(signed).into_iter().enumerate() {
                let seen = stand.visit(&ask, Upstream::Answers(200)).await;
                assert_refused(&seen, Reason::NonceAlreadyUsed, dialect);
            }
        }
        assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), asked, "{mode}");
    }
}

#[tokio::test]
async fn a_payment_opens_the_route_that_it_paid() {
    let routes = "[[route]]\nname = \"a\"\npath = \"/a\"\nprice = \"0.10\"\n[[route]]\nname = \"b\"\npath = \"/b\"\nprice = \"0.10\"\n";
    let stand = Stand::new(routes).await;
    let signed = Wallet::new().pay(&stand.offer("a"));
    let first = stand.visit(&Ask::get("/a").paying(&signed), Upstream::Answers(200)).await;
    assert_eq!(first.outcome, Outcome::Paid);
    let second = stand.visit(&Ask::get("/b").paying(&signed), Upstream::Answers(200)).await;
    assert_refused(&second, Reason::NonceAlreadyUsed, 0);
}

#[tokio::test]
async fn the_empty_purse_is_found_out() {
    let stand = Stand::paid("settle = \"before\"").await;
    let rich = stand.offer("paid");
    let wallet = Wallet::new();
    // The sandbox gives every payer ten whole tokens: a hundred dimes.
    for n in 0..101 {
        let seen = stand.visit(&Ask::get("/paid").paying(&wallet.pay(&rich)), Upstream::Answers(200)).await;
        match n {
            0..100 => assert_eq!(seen.outcome, Outcome::Paid, "{n}"),
            _ => assert_refused(&seen, Reason::InsufficientFunds, 0),
        }
    }
    assert_eq!(json!(stand.transfers()), json!(100));
}
