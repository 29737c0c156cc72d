//! A payment whose outcome was lost, and its client that comes back with it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::MODES;
use super::ask::{Ask, Upstream};
use super::clock::Clock;
use super::doubles::Step;
use super::stand::Stand;
use super::wallet::{Signed, Wallet};
use crate::facilitator::{Fault, FaultKind, Settlement};
use crate::ledger::{Ledger as _, State, Transition};
use crate::telemetry::Outcome;
use crate::x402::Reason;

const OK: Upstream = Upstream::Answers(200);

pub fn lost() -> Settlement {
    Settlement::Unknown { facilitator: "main".into(), transaction: None, detail: "timeout".to_owned() }
}

fn refused(reason: Reason) -> Settlement {
    Settlement::Refused { reason, detail: String::new() }
}

/// A stand, and a payment whose first settlement brought no answer.
pub async fn stand_with_unknown(keys: &str) -> (Stand, Signed, Ask) {
    let stand = Stand::paid(keys).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let ask = Ask::get("/paid").paying(&signed);
    stand.facilitator.settle_next(lost());
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Pending);
    (stand, signed, ask)
}

#[tokio::test]
async fn a_retry_finds_out_what_became_of_it() {
    let expected = |state, outcome, status| (state, outcome, status);
    let cases = [
        (None, expected(State::Settled, Outcome::Redelivered, 200)),
        (Some(refused(Reason::NonceAlreadyUsed)), expected(State::Settled, Outcome::Redelivered, 200)),
        (Some(refused(Reason::RecipientMismatch)), expected(State::Failed, Outcome::Refused, 402)),
        (Some(refused(Reason::InsufficientFunds)), expected(State::Unknown, Outcome::Pending, 503)),
        (Some(refused(Reason::ValidBefore)), expected(State::Unknown, Outcome::Pending, 503)),
        (Some(lost()), expected(State::Unknown, Outcome::Pending, 503)),
        (
            Some(Settlement::NotSent {
                fault: Fault { facilitator: "main".into(), kind: FaultKind::Unreached, detail: String::new() },
            }),
            expected(State::Unknown, Outcome::Pending, 503),
        ),
    ];
    for mode in MODES {
        for (answer, (state, outcome, status)) in cases.clone() {
            let case = format!("{mode}: {answer:?}");
            let (stand, signed, ask) = stand_with_unknown(&format!("settle = \"{mode}\"")).await;
            answer.into_iter().for_each(|answer| stand.facilitator.settle_next(answer));
            let seen = stand.visit(&ask, OK).await;
            assert_eq!((seen.outcome, seen.status), (outcome, status), "{case}");
            assert_eq!(stand.state(&signed).await, Some(state), "{case}");
            assert_eq!(seen.served, state == State::Settled, "{case}");
            assert_eq!(stand.facilitator.settles(), 2, "{case}");
            assert_eq!(stand.record(&signed).await.delivered_at.is_some(), state == State::Settled, "{case}");
        }
    }
}

/// That transaction may have failed: its payer can have made it fail.
#[tokio::test]
async fn a_used_nonce_says_nothing_of_a_transaction_that_was_named() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        let (facilitator, transaction, detail) = ("main".into(), Some("0xabc".to_owned()), String::new());
        stand.facilitator.settle_next(Settlement::Unknown { facilitator, transaction, detail });
        for _ in 0..2 {
            let seen = stand.visit(&ask, OK).await;
            assert_eq!((seen.outcome, seen.served), (Outcome::Pending, false), "{mode}");
            let record = stand.record(&signed).await;
            assert_eq!((record.state, record.transaction.as_deref()), (State::Unknown, Some("0xabc")), "{mode}");
            stand.facilitator.settle_next(refused(Reason::NonceAlreadyUsed));
        }
    }
}

#[tokio::test]
async fn what_is_asked_again_is_what_was_asked() {
    for mode in MODES {
        let (stand, signed, ask) = stand_with_unknown(&format!("settle = \"{mode}\"")).await;
        // Another price since then: the old terms were signed and are asked for.
        let house = super::stand::HOUSE;
        let routes = super::stand::route(&format!("settle = \"{mode}\"")).replace("0.10", "0.20");
        let reloaded = stand.reloaded(house, &routes, std::time::Duration::from_secs(1));
        assert_eq!(reloaded.visit(&ask, OK).await.outcome, Outcome::Redelivered, "{mode}");
        assert_eq!((stand.transfers(), stand.state(&signed).await), (1, Some(State::Settled)), "{mode}");
    }
}

/// What a settled payment opens counts from when that was known: its client cannot have come before.
#[tokio::test]
async fn a_window_and_redelivery_begin_when_it_is_known() {
    let (stand, signed, ask) = stand_with_unknown("redeliver = \"10m\"\nwindow = \"10m\"").await;
    let reserved_at = stand.record(&signed).await.reserved_at;
    let seen = stand.visit(&ask, OK).await;
    assert!(seen.served, "{seen:?}");
    let settled_at = stand.record(&signed).await.settled_at.unwrap();
    assert!(settled_at >= reserved_at);
    for _ in 0..2 {
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Window);
    }
    assert_eq!(stand.transfers(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_retries_one_asks_and_one_is_served() {
    for mode in MODES {
        let (stand, _, ask) = stand_with_unknown(&format!("settle = \"{mode}\"")).await;
        let visits = (0..8).map(|_| {
            let (stand, ask) = (stand.clone(), ask.clone());
            tokio::spawn(async move { stand.visit_without_rest(&ask, OK).await })
        });
        let seen = futures::future::join_all(visits).await;
        stand.rest().await;
        assert_eq!(seen.iter().filter(|seen| seen.as_ref().unwrap().served).count(), 1, "{mode}");
        assert_eq!((stand.facilitator.settles(), stand.transfers()), (2, 1), "{mode}");
    }
}

#[tokio::test]
async fn a_retry_waits_for_somebody_else_who_is_at_it() {
    let (stand, signed, ask) = stand_with_unknown("").await;
    let asked = stand.facilitator.pause_settle();
    // Another node, over the same ledger.
    let other = stand.restarted();
    let first = tokio::spawn({
        let (other, ask) = (other.clone(), ask.clone());
        async move { other.visit(&ask, OK).await }
    });
    asked.reached().await;
    let looked = stand.ledger.pause_at(Step::Find);
    let second = tokio::spawn({
        let (stand, ask) = (stand.clone(), ask.clone());
        async move { stand.visit(&ask, OK).await }
    });
    looked.reached().await;
    looked.release();
    asked.release();
    let seen = [first.await.unwrap(), second.await.unwrap()];
    assert!(seen.iter().all(|seen| seen.status != 503), "{seen:?}");
    assert_eq!((stand.transfers(), stand.state(&signed).await), (1, Some(State::Settled)));
    assert_eq!(stand.facilitator.settle_calls.load(Ordering::SeqCst), 2, "asked once again, not by both");
}

#[tokio::test]
async fn an_impatient_retry_leaves_the_try_to_go_on() {
    let (stand, signed, ask) = stand_with_unknown("").await;
    let seen = stand.impatient().visit(&ask, OK).await;
    assert_eq!((seen.status, seen.outcome), (503, Outcome::Pending));
    assert!(seen.says_same_payment_again());
    stand.rest().await;
    assert_eq!((stand.transfers(), stand.state(&signed).await), (1, Some(State::Settled)));
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Redelivered);
}

/// Whoever waited for others already does not wait as long again.
#[tokio::test]
async fn what_a_retry_waits_for_is_bounded_together() {
    let (stand, signed, ask) = stand_with_unknown("").await;
    let asked = stand.facilitator.pause_settle();
    let seen = stand.impatient_with_others().visit_without_rest(&ask, OK).await;
    assert_eq!((seen.status, seen.outcome), (503, Outcome::Pending));
    asked.release();
    stand.rest().await;
    assert_eq!(stand.state(&signed).await, Some(State::Unknown), "asked by the other gate, which goes on");
}

fn retry_after(seen: &super::ask::Seen) -> Duration {
    assert!(seen.status == 503 && seen.says_same_payment_again(), "{seen:?}");
    Duration::from_secs(seen.text("retry-after").unwrap().parse().unwrap())
}

#[tokio::test]
async fn retries_in_a_tight_loop_ask_seldom_and_are_told_when_to_come_back() {
    const HOUR: Duration = Duration::from_secs(3600);
    for mode in MODES {
        let clock = Clock::hold();
        let (stand, signed, ask) = stand_with_unknown(&format!("settle = \"{mode}\"\nredeliver = \"10m\"")).await;
        let stand = stand.asking_seldom(HOUR, 3 * HOUR);
        for (n, pause) in [(2, HOUR), (3, 2 * HOUR), (4, 3 * HOUR), (5, 3 * HOUR)] {
            stand.facilitator.settle_next(lost());
            for retry in 0..5 {
                let wait = retry_after(&stand.visit(&ask, OK).await);
                assert_eq!(stand.facilitator.settles(), n, "{mode}: retry {retry} asks only if it is the first");
                assert!(wait <= pause && wait > pause / 2, "{mode} retry {retry}: {wait:?} of {pause:?}");
            }
            clock.forward(retry_after(&stand.visit(&ask, OK).await));
        }
        stand.facilitator.settle_next(lost());
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Pending, "{mode}: its time is over, and asked again");
        assert_eq!(stand.facilitator.settles(), 6, "{mode}");
        // The reconciler finds it out inside the pause.
        let settled = Transition::Settled { facilitator: "main".into(), transaction: "0xfeed".into(), payer: None };
        stand.ledger.inner.advance(&signed.id(), settled, crate::gate::unix_millis()).await.unwrap();
        let seen = stand.visit(&ask, OK).await;
        assert_eq!((seen.outcome, seen.served), (Outcome::Redelivered, true), "{mode}");
    }
}

#[tokio::test]
async fn a_ledger_that_fails_meanwhile_asks_for_no_second_payment() {
    for step in [Step::Claim, Step::Settled, Step::Find] {
        let (stand, signed, ask) = stand_with_unknown("").await;
        // What was found out is tried to be written twice.
        stand.ledger.break_next(step, super::doubles::Breaks::Before, 2);
        let seen = stand.visit(&ask, OK).await;
        assert!(seen.status == 503 && seen.says_same_payment_again(), "{step:?}: {seen:?}");
        stand.ledger.mend();
        assert!(stand.transfers() <= 1);
        assert!(matches!(stand.state(&signed).await, Some(State::Unknown | State::Settled)), "{step:?}");
    }
}
