//! Each settled payment is counted as revenue once, by whoever wrote that it settled.

use super::MODES;
use super::ask::{Ask, Upstream};
use super::doubles::{Breaks, Step};
use super::stand::Stand;
use super::wallet::{Signed, Wallet};
use crate::facilitator::{FaultKind, Settlement};
use crate::gate::unix_millis;
use crate::ledger::{Ledger as _, State, Transition};
use crate::telemetry::Outcome;
use crate::x402::Reason;

const OK: Upstream = Upstream::Answers(200);
/// In atomic units.
const PRICE: f64 = 100_000.0;

async fn stand(mode: &str) -> (Stand, Signed, Ask) {
    let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let ask = Ask::get("/paid").paying(&signed);
    (stand, signed, ask)
}

#[tokio::test]
async fn what_the_gate_settles_is_counted_once() {
    for mode in MODES {
        let (stand, _, ask) = stand(mode).await;
        for upstream in [Upstream::BreaksOff(200), OK, OK] {
            stand.visit(&ask, upstream).await;
            assert_eq!(stand.revenue(), PRICE, "{mode}");
        }
    }
}

#[tokio::test]
async fn what_is_not_settled_is_not_counted() {
    for mode in MODES {
        let (stand, _, ask) = stand(mode).await;
        let reason = Reason::InsufficientFunds;
        let fault = stand.facilitator.fault(FaultKind::Unreached);
        for answer in [Settlement::Refused { reason, detail: String::new() }, Settlement::NotSent { fault }] {
            stand.facilitator.settle_next(answer);
            stand.visit(&ask, OK).await;
            assert_eq!(stand.revenue(), 0.0, "{mode}");
        }
    }
}

/// Whether or not a write whose answer was lost had been carried out.
#[tokio::test]
async fn what_is_written_late_is_counted_once() {
    for mode in MODES {
        for breaks in [Breaks::Before, Breaks::After] {
            // Tried again by its request.
            let (stand, _, ask) = stand(mode).await;
            stand.ledger.break_next(Step::Settled, breaks, 1);
            assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Paid, "{mode} {breaks:?}");
            assert_eq!(stand.revenue(), PRICE, "{mode} {breaks:?}");
        }
        for breaks in [Breaks::Before, Breaks::After] {
            // Kept, and written when the request is over.
            let (stand, signed, ask) = stand(mode).await;
            stand.ledger.break_next(Step::Settled, Breaks::Before, u32::MAX);
            assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Pending, "{mode} {breaks:?}");
            assert_eq!(stand.revenue(), 0.0, "{mode} {breaks:?}: not recorded yet");
            stand.ledger.break_next(Step::Settled, breaks, 1);
            stand.catch_up().await;
            assert_eq!(stand.state(&signed).await, Some(State::Settled), "{mode} {breaks:?}");
            assert_eq!(stand.revenue(), PRICE, "{mode} {breaks:?}");
            assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Redelivered, "{mode} {breaks:?}");
            assert_eq!(stand.revenue(), PRICE, "{mode} {breaks:?}");
        }
    }
}

/// Another gateway found it out while the ledger was out of this one's reach, and has counted it.
#[tokio::test]
async fn what_others_have_recorded_is_theirs_to_count() {
    for mode in MODES {
        let (stand, signed, ask) = stand(mode).await;
        stand.ledger.break_next(Step::Settled, Breaks::Before, u32::MAX);
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Pending, "{mode}");
        let taken_over = stand.ledger.inner.hold(&signed.id(), unix_millis()).await.unwrap().unwrap();
        assert_eq!(taken_over.record.state, State::Unknown, "{mode}");
        let settled = Transition::Settled { facilitator: "chain".into(), transaction: "0xfeed".into(), payer: None };
        stand.ledger.inner.advance(&signed.id(), settled, unix_millis()).await.unwrap();
        stand.ledger.mend();
        stand.catch_up().await;
        assert_eq!(stand.revenue(), 0.0, "{mode}");
    }
}

#[tokio::test]
async fn what_turns_out_to_be_settled_is_counted_once() {
    for mode in MODES {
        for lost in [0, 1] {
            let (stand, signed, ask) = stand(mode).await;
            stand.facilitator.lose_next_answer();
            assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Pending, "{mode}");
            assert_eq!(stand.revenue(), 0.0, "{mode}");
            stand.ledger.break_next(Step::Settled, Breaks::After, lost);
            stand.visit(&ask, OK).await;
            assert_eq!(stand.state(&signed).await, Some(State::Settled), "{mode} lost {lost}");
            assert_eq!(stand.revenue(), PRICE, "{mode} lost {lost}");
            stand.visit(&ask, OK).await;
            assert_eq!(stand.revenue(), PRICE, "{mode} lost {lost}");
        }
    }
}
