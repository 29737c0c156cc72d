//! Payments whose outcome nobody knows, and whose clients do not come back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::MODES;
use super::ask::{Ask, Upstream};
use super::clock::Clock;
use super::doubles::{Breaks, Step};
use super::resolution::{lost, stand_with_unknown};
use super::stand::{HOUSE, Stand, route};
use super::wallet::Wallet;
use crate::gate::unix_millis;
use crate::ledger::{Ledger as _, Opening, State};

const SECOND: Duration = Duration::from_secs(1);
/// Within a try's pause: who is told to come back at once is waited for, and looks are a second apart.
const SLACK: u64 = 6;
/// Seconds between two tries in vain, at the most but for what lengthens each at random.
const PAUSE_MAX: u64 = 15 * 60;

fn reconcile(stand: &Stand) -> JoinHandle<()> {
    let witnesses = stand.generation.witnesses.clone();
    tokio::spawn(stand.gate.reconciler().run(move || witnesses.clone()))
}

/// A second passes, for the gateway's clock and for who waits: at once.
async fn pass_second(clock: &Clock) {
    clock.forward(SECOND);
    tokio::time::sleep(SECOND).await;
}

/// The seconds until it is asked again and again, of so many.
async fn asked_at(stand: &Stand, clock: &Clock, seconds: std::ops::Range<u64>) -> Vec<u64> {
    let mut asked = Vec::new();
    for second in seconds {
        let before = stand.facilitator.settles();
        pass_second(clock).await;
        if stand.facilitator.settles() > before {
            asked.push(second);
        }
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn what_nobody_comes_back_for_is_found_out_when_its_client_had_time_to() {
    for mode in MODES {
        let clock = Clock::hold();
        let (stand, signed, _) = stand_with_unknown(&format!("settle = \"{mode}\"")).await;
        // A ledger that cannot be read meanwhile is looked into again.
        stand.ledger.break_next(Step::Claim, Breaks::Before, 2);
        let reconciler = reconcile(&stand);
        let asked = asked_at(&stand, &clock, 1..20).await;
        assert!(asked.len() == 1 && (3..9).contains(&asked[0]), "{mode}: {asked:?}");
        assert_eq!((stand.state(&signed).await, stand.transfers()), (Some(State::Settled), 1), "{mode}");
        assert!(stand.record(&signed).await.delivered_at.is_none(), "{mode}: owed to its client");
        reconciler.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn tries_in_vain_come_seldomer_and_seldomer_at_no_fixed_time_and_a_restart_changes_nothing() {
    const HOUR: u64 = 3600;
    let clock = Clock::hold();
    let (stand, signed, _) = stand_with_unknown("").await;
    for _ in 0..100 {
        stand.facilitator.settle_next(lost());
    }
    let reconciler = reconcile(&stand);
    let mut asked = asked_at(&stand, &clock, 0..3 * HOUR).await;
    reconciler.abort();
    let stand = stand.restarted();
    stand.ledger.recover(unix_millis()).await.unwrap();
    let reconciler = reconcile(&stand);
    asked.extend(asked_at(&stand, &clock, 3 * HOUR..6 * HOUR).await);
    reconciler.abort();

    let gaps: Vec<u64> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    for (n, gap) in (0u32..).zip(&gaps) {
        let shortest = PAUSE_MAX.min(2 << n.min(16));
        assert!((shortest..=2 * shortest + SLACK).contains(gap), "gap {n} of {gaps:?}");
    }
    // At the longest pause nothing but chance tells one gap from the next.
    let longest = &gaps[9..];
    let spread = longest.iter().max().unwrap() - longest.iter().min().unwrap();
    assert!(longest.len() > 5 && spread > SLACK, "{longest:?}");
    assert_eq!(stand.state(&signed).await, Some(State::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_try_without_an_answer_is_given_up_and_made_again() {
    let clock = Clock::hold();
    let (stand, signed, _) = stand_with_unknown("").await;
    let never = stand.facilitator.pause_settle();
    let reconciler = reconcile(&stand);
    let asked = asked_at(&stand, &clock, 1..120).await;
    assert!(asked.len() == 2 && asked[1] - asked[0] > 60, "{asked:?}");
    assert_eq!((stand.state(&signed).await, stand.transfers()), (Some(State::Settled), 1));
    drop(never);
    reconciler.abort();
}

#[tokio::test(start_paused = true)]
async fn a_facilitator_that_is_back_is_asked_for_a_few_at_a_time() {
    const UNKNOWN: u64 = 20;
    const AT_ONCE: u64 = 8;
    let clock = Clock::hold();
    let house = HOUSE.replace("url = \"sandbox:\"", "url = \"sandbox:\"\nsettle_delay = \"30s\"");
    let stand = Stand::over(&house, &route("")).await;
    for _ in 0..UNKNOWN {
        stand.facilitator.settle_next(lost());
        let ask = Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
        assert_eq!(stand.visit(&ask, Upstream::Answers(200)).await.status, 503);
    }
    let reconciler = reconcile(&stand);
    asked_at(&stand, &clock, 1..20).await;
    assert_eq!(stand.facilitator.settles(), UNKNOWN + AT_ONCE);
    asked_at(&stand, &clock, 20..120).await;
    assert_eq!((stand.facilitator.settles(), stand.transfers()), (2 * UNKNOWN, UNKNOWN));
    reconciler.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_that_is_gone_has_left_is_taken_over_without_its_client() {
    for (opening, left) in [(Opening::Reserved, State::Failed), (Opening::Settling, State::Unknown)] {
        let clock = Clock::hold();
        let stand = Stand::paid("").await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        stand.opened_at(&signed, "paid", opening, unix_millis()).await;
        let reconciler = reconcile(&stand);
        for _ in 0..60 {
            pass_second(&clock).await;
        }
        assert_eq!(stand.state(&signed).await, Some(opening.state()), "it lives");
        stand.ledger.others_gone.store(true, Ordering::SeqCst);
        for _ in 0..16 {
            pass_second(&clock).await;
        }
        assert_eq!(stand.state(&signed).await, Some(left));
        reconciler.abort();
    }
}
