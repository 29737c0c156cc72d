//! A ledger that fails at each step: money that may have moved has a record that can be resolved, and no client is
//! sent to pay a second time for it.

use super::MODES;
use super::ask::{Ask, Seen, Upstream};
use super::doubles::{Breaks, Step};
use super::stand::Stand;
use super::wallet::{Signed, Wallet};
use crate::facilitator::Settlement;
use crate::ledger::State;
use crate::telemetry::Outcome;

const OK: Upstream = Upstream::Answers(200);
/// Fewer than a write is tried, and more.
const TIMES: [u32; 2] = [1, 20];
const STEPS: [Step; 9] = [
    Step::Reserve,
    Step::Settling,
    Step::Settled,
    Step::Unknown,
    Step::Failed,
    Step::Delivered,
    Step::Find,
    Step::CountUse,
    Step::Hold,
];

/// Settles, refuses, says nothing.
fn settlements() -> [Option<Settlement>; 3] {
    let refused = Settlement::Refused { reason: crate::x402::Reason::InsufficientFunds, detail: String::new() };
    let unknown = Settlement::Unknown { facilitator: "main".into(), transaction: None, detail: String::new() };
    [None, Some(refused), Some(unknown)]
}

async fn assert_sound(stand: &Stand, signed: &Signed, seen: &Seen, may_have_moved: bool, case: &str) {
    let state = stand.state(signed).await;
    if seen.served {
        assert_eq!((stand.transfers(), state), (1, Some(State::Settled)), "{case}: served, so paid and written");
    }
    if may_have_moved {
        assert!(
            matches!(state, Some(State::Settling | State::Unknown | State::Settled)),
            "{case}: money without a record that can be resolved: {state:?}"
        );
        let spent = stand.record(signed).await.delivered_at.is_some();
        assert!(seen.status != 402 || spent, "{case}: sent to pay again: {seen:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_whichever_write_fails() {
    for mode in MODES {
        let keys = format!("settle = \"{mode}\"\nwindow = {{ for = \"60s\", uses = 2 }}");
        for (step, breaks, times) in STEPS.into_iter().flat_map(ways_to_fail) {
            for settlement in settlements() {
                let case = format!("{mode} {step:?} {breaks:?} x{times} {settlement:?}");
                // A try whose verdict was not written has its claim on for a while.
                let stand = Stand::paid(&keys).await.without_waiting_for_resolutions();
                one_case(&stand, (step, breaks, times), settlement, OK, &case).await;
            }
            if mode == "on-success" {
                let case = format!("{mode} {step:?} {breaks:?} x{times}, refused by the upstream");
                one_case(&Stand::paid(&keys).await, (step, breaks, times), None, Upstream::Answers(500), &case).await;
            }
        }
    }
}

fn ways_to_fail(step: Step) -> impl Iterator<Item = (Step, Breaks, u32)> {
    [Breaks::Before, Breaks::After].into_iter().flat_map(move |breaks| TIMES.map(|times| (step, breaks, times)))
}

async fn one_case(
    stand: &Stand,
    (step, breaks, times): (Step, Breaks, u32),
    settlement: Option<Settlement>,
    upstream: Upstream,
    case: &str,
) {
    let is_unknown = matches!(settlement, Some(Settlement::Unknown { .. }));
    if let Some(settlement) = settlement {
        stand.facilitator.settle_next(settlement);
    }
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let ask = Ask::get("/paid").paying(&signed);
    stand.ledger.break_next(step, breaks, times);
    let may_have_moved = || stand.transfers() > 0 || (is_unknown && stand.facilitator.settles() > 0);

    let seen = stand.visit(&ask, upstream).await;
    assert_sound(stand, &signed, &seen, may_have_moved(), case).await;
    let seen = stand.visit(&ask, OK).await;
    assert_sound(stand, &signed, &seen, may_have_moved(), case).await;
    stand.ledger.mend();
    for stand in [stand, &stand.restarted()] {
        let seen = stand.visit(&ask, OK).await;
        assert_sound(stand, &signed, &seen, may_have_moved(), case).await;
    }
    assert!(stand.transfers() <= 1, "{case}");
    assert_ne!(stand.state(&signed).await, Some(State::Reserved), "{case}");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_charged() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        stand.ledger.break_next(Step::Reserve, Breaks::Before, 1);
        let seen = stand.visit(&ask, OK).await;
        assert_eq!((seen.status, seen.outcome, seen.forwarded), (503, Outcome::Unavailable, false), "{mode}");
        assert_eq!(seen.error(), "ledger_unavailable");
        assert!(seen.says_same_payment_again());
        assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), (0, 0), "{mode}");
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Paid, "{mode}");
    }
}

#[tokio::test]
async fn what_cannot_be_called_settling_is_not_settled() {
    for breaks in [Breaks::Before, Breaks::After] {
        let stand = Stand::paid("").await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        stand.ledger.break_next(Step::Settling, breaks, 1);
        let seen = stand.visit(&ask, OK).await;
        assert_eq!((seen.status, seen.served, stand.facilitator.settles()), (503, false, 0), "{breaks:?}");
        assert_eq!(stand.state(&signed).await, Some(State::Failed), "{breaks:?}");
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Paid, "{breaks:?}");
    }
}

/// The money has moved and the facilitator said so: that is not given up at the first failure.
#[tokio::test]
async fn a_settlement_is_written_again_until_it_is_written() {
    for mode in MODES {
        for breaks in [Breaks::Before, Breaks::After] {
            let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
            let signed = Wallet::new().pay(&stand.offer("paid"));
            stand.ledger.break_next(Step::Settled, breaks, 3);
            let seen = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
            assert_eq!((seen.outcome, seen.served), (Outcome::Paid, true), "{mode} {breaks:?}");
            assert!(stand.record(&signed).await.delivered_at.is_some(), "{mode} {breaks:?}");
        }
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        stand.ledger.break_next(Step::Settled, Breaks::Before, u32::MAX);
        let seen = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
        assert_eq!((seen.outcome, seen.served), (Outcome::Pending, false), "{mode}");
        assert!(!seen.settlement().unwrap().transaction.is_empty(), "{mode}: the client learns the transaction");
    }
}
