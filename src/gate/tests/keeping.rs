//! What happened while the ledger was gone is written when it is back, without its client; and what others took over
//! meanwhile is left to them.

use std::time::Duration;

use super::MODES;
use super::ask::{Ask, Upstream};
use super::doubles::{Breaks, Step};
use super::stand::Stand;
use super::wallet::{Signed, Wallet};
use crate::facilitator::{FaultKind, Settlement, Verification};
use crate::gate::unix_millis;
use crate::ledger::{Ledger as _, State};
use crate::telemetry::Outcome;
use crate::x402::Reason;

const OK: Upstream = Upstream::Answers(200);

fn refused(reason: Reason) -> Settlement {
    Settlement::Refused { reason, detail: String::new() }
}

async fn stand(mode: &str) -> Stand {
    Stand::paid(&format!("settle = \"{mode}\"")).await
}

/// A request that was under way when the ledger went away at this step, for good.
async fn cut_off(stand: Stand, step: Step, answer: Option<Settlement>) -> (Stand, Signed, Ask) {
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let ask = Ask::get("/paid").paying(&signed);
    answer.into_iter().for_each(|answer| stand.facilitator.settle_next(answer));
    stand.ledger.break_next(step, Breaks::Before, u32::MAX);
    stand.visit(&ask, OK).await;
    (stand, signed, ask)
}

#[tokio::test]
async fn every_outcome_is_written_by_itself_when_the_ledger_is_back() {
    let lost = Settlement::Unknown { facilitator: "main".into(), transaction: None, detail: "timeout".to_owned() };
    let cases = [
        (Step::Settled, None, State::Settling, State::Settled),
        (Step::Unknown, Some(lost), State::Settling, State::Unknown),
        (Step::Failed, Some(refused(Reason::InsufficientFunds)), State::Settling, State::Failed),
        (Step::Delivered, None, State::Settled, State::Settled),
    ];
    for mode in MODES {
        for (step, answer, before, after) in cases.clone() {
            let (stand, signed, _) = cut_off(stand(mode).await, step, answer).await;
            assert_eq!(stand.state(&signed).await, Some(before), "{mode} {step:?}");
            stand.ledger.mend();
            stand.catch_up().await;
            assert_eq!(stand.state(&signed).await, Some(after), "{mode} {step:?}");
            assert_eq!(stand.record(&signed).await.delivered_at.is_some(), step == Step::Delivered, "{mode} {step:?}");
            assert_eq!(stand.facilitator.settles(), 1, "{mode} {step:?}: nobody is asked again");
        }
    }
}

#[tokio::test]
async fn a_settlement_that_was_written_late_opens_its_route_here_or_elsewhere() {
    for mode in MODES {
        let (stand, signed, ask) = cut_off(stand(mode).await, Step::Settled, None).await;
        stand.ledger.mend();
        stand.catch_up().await;
        assert_eq!(*stand.ledger.let_go.lock().unwrap(), [signed.id()], "{mode}");
        let seen = stand.visit(&ask, OK).await;
        assert_eq!((seen.outcome, seen.served), (Outcome::Redelivered, true), "{mode}");
        assert_eq!((stand.transfers(), stand.facilitator.settles()), (1, 1), "{mode}");
    }
}

#[tokio::test]
async fn a_retry_waits_for_what_is_not_written_yet() {
    let impatient = stand("before").await.impatient_with_others();
    let (impatient, _, ask) = cut_off(impatient, Step::Settled, None).await;
    let seen = impatient.visit_without_rest(&ask, OK).await;
    assert_eq!((seen.status, seen.outcome), (503, Outcome::Pending), "within a bound");
    assert!(seen.says_same_payment_again());
    assert_eq!(impatient.facilitator.settles(), 1, "nobody is asked for what is known");

    let (stand, _, ask) = cut_off(stand("before").await, Step::Settled, None).await;
    let retry = tokio::spawn({
        let (stand, ask) = (stand.clone(), ask.clone());
        async move { stand.visit_without_rest(&ask, OK).await }
    });
    stand.ledger.mend();
    let seen = retry.await.unwrap();
    assert_eq!((seen.outcome, seen.served), (Outcome::Redelivered, true));
    assert_eq!((stand.transfers(), stand.facilitator.settles()), (1, 1));
}

#[tokio::test]
async fn a_delivery_that_is_not_written_yet_is_not_made_twice() {
    let (stand, signed, ask) = cut_off(stand("before").await.impatient_with_others(), Step::Delivered, None).await;
    let seen = stand.visit_without_rest(&ask, OK).await;
    assert_eq!((seen.status, seen.error(), seen.forwarded), (409, "payment_in_use", false));
    stand.ledger.mend();
    stand.catch_up().await;
    assert!(stand.record(&signed).await.delivered_at.is_some());
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Refused);
}

#[tokio::test]
async fn a_drain_tries_for_the_last_time_and_leaves_the_rest_to_the_next_start() {
    // As often as a write is tried: then only the drain is left to try.
    for (times, state) in [(4, State::Settled), (u32::MAX, State::Settling)] {
        let stand = stand("before").await.with_keep(Duration::from_secs(600));
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        stand.ledger.break_next(Step::Settled, Breaks::Before, times);
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Pending);
        stand.gate.drain().await;
        assert_eq!(stand.state(&signed).await, Some(state), "{times}");
        stand.ledger.mend();
        let next = stand.restarted();
        next.ledger.recover(unix_millis()).await.unwrap();
        let seen = next.visit(&ask, OK).await;
        assert_eq!((seen.outcome, seen.served, stand.transfers()), (Outcome::Redelivered, true, 1), "{times}");
    }
}

/// A gateway that stood still past its lease: what the facilitator then refuses may be refused because others settled.
#[tokio::test]
async fn what_others_took_over_meanwhile_is_not_called_failed() {
    let not_sent = |stand: &Stand| Settlement::NotSent { fault: stand.facilitator.fault(FaultKind::Unreached) };
    for mode in MODES {
        for is_refused in [true, false] {
            let stand = stand(mode).await;
            let signed = Wallet::new().pay(&stand.offer("paid"));
            let ask = Ask::get("/paid").paying(&signed);
            let answer = if is_refused { refused(Reason::NonceAlreadyUsed) } else { not_sent(&stand) };
            stand.facilitator.settle_next(answer);
            let paused = stand.facilitator.pause_settle();
            let request = tokio::spawn({
                let (stand, ask) = (stand.clone(), ask.clone());
                async move { stand.visit(&ask, OK).await }
            });
            paused.reached().await;
            stand.ledger.inner.hold(&signed.id(), unix_millis()).await.unwrap();
            paused.release();
            let seen = request.await.unwrap();
            assert_eq!((seen.status, seen.outcome), (503, Outcome::Pending), "{mode} refused {is_refused}");
            assert!(seen.says_same_payment_again(), "{mode} refused {is_refused}");
            assert_eq!(
                stand.state(&signed).await,
                Some(State::Unknown),
                "{mode} refused {is_refused}: theirs to find out"
            );
        }
    }
    let stand = Stand::paid("").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let reason = Reason::NonceAlreadyUsed;
    stand.facilitator.verify_next(Ok(Verification::Invalid { reason, detail: String::new() }));
    let paused = stand.facilitator.pause_verify();
    let request = tokio::spawn({
        let (stand, ask) = (stand.clone(), Ask::get("/paid").paying(&signed));
        async move { stand.visit(&ask, OK).await }
    });
    paused.reached().await;
    stand.ledger.inner.hold(&signed.id(), unix_millis()).await.unwrap();
    paused.release();
    let seen = request.await.unwrap();
    assert_eq!((seen.status, seen.forwarded), (503, false), "verified too late");
    assert!(seen.says_same_payment_again());
}
