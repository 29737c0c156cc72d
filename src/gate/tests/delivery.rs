//! What was paid for with a window is delivered by the first response that is served in full, whichever way it was
//! opened; and that is written once.

use std::time::Duration;

use futures::future::join_all;

use super::MODES;
use super::ask::{Ask, HOST, Upstream};
use super::clock::Clock;
use super::doubles::{Breaks, Step};
use super::stand::{Stand, forwarded};
use super::wallet::{Signed, Wallet};
use crate::access::{Claims, Pass, PassKeys};
use crate::gate::{Forward, Verdict, unix_millis};
use crate::telemetry::Outcome;

const OK: Upstream = Upstream::Answers(200);

/// The pass of a payment that was settled just now.
fn pass(signed: &Signed) -> String {
    let keys = PassKeys::new([("test", &[7; 32][..])]).unwrap();
    let expires_at = u64::try_from(unix_millis() / 1000 + 60).unwrap();
    let payer = signed.authorization.from.to_string().into();
    let claims = Claims { payer, payment_id: signed.id(), expires_at, uses: None };
    keys.issue(&Pass { route: "paid", host: HOST, claims })
}

/// A payment that was settled and not delivered, and the two ways into its window.
async fn owed(keys: &str, failing: Upstream) -> (Stand, Signed, [Ask; 2]) {
    let stand = Stand::paid(keys).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let ask = Ask::get("/paid").paying(&signed);
    stand.visit(&ask, failing).await;
    assert!(!is_delivered(&stand, &signed).await, "{keys} {failing:?}");
    let by_pass = Ask::get("/paid").with("farebox-pass", pass(&signed));
    (stand, signed, [ask, by_pass])
}

async fn is_delivered(stand: &Stand, signed: &Signed) -> bool {
    stand.record(signed).await.delivered_at.is_some()
}

fn writes(stand: &Stand) -> u64 {
    stand.ledger.steps(Step::Delivered)
}

async fn forward(stand: &Stand, ask: &Ask) -> Forward {
    match stand.decide(ask).await {
        Verdict::Forward(forward) => *forward,
        Verdict::Answer { answer, .. } => panic!("not forwarded: {answer:?}"),
    }
}

#[tokio::test]
async fn the_first_response_in_full_delivers_by_whichever_way_it_was_opened() {
    for mode in MODES {
        for failing in [Upstream::BreaksOff(200), Upstream::Answers(500), Upstream::Fails] {
            if mode == "on-success" && failing != Upstream::BreaksOff(200) {
                continue;
            }
            for way in 0..2 {
                for restarts in [false, true] {
                    let case = format!("{mode} {failing:?} way {way} restarts {restarts}");
                    let clock = Clock::hold();
                    let (stand, signed, asks) = owed(&format!("settle = \"{mode}\"\nwindow = \"60s\""), failing).await;
                    let stand = if restarts { stand.restarted() } else { stand };
                    for failing in [Upstream::BreaksOff(200), Upstream::Answers(404), Upstream::Fails] {
                        assert_eq!(stand.visit(&asks[way], failing).await.outcome, Outcome::Window, "{case}");
                        assert!(!is_delivered(&stand, &signed).await, "{case}: {failing:?}");
                    }
                    assert_eq!(stand.visit(&asks[way], OK).await.outcome, Outcome::Window, "{case}");
                    assert!(is_delivered(&stand, &signed).await, "{case}");
                    for ask in [&asks[0], &asks[1], &asks[way]] {
                        assert_eq!(stand.visit(ask, OK).await.outcome, Outcome::Window, "{case}");
                    }
                    assert_eq!(writes(&stand), 1, "{case}");
                    clock.forward(Duration::from_secs(61));
                    let late = stand.visit(&asks[0], OK).await;
                    assert_eq!((late.outcome, late.forwarded), (Outcome::Refused, false), "{case}: spent");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_never_served_in_full_is_owed_when_its_window_is_over() {
    let clock = Clock::hold();
    let (stand, signed, asks) = owed("window = \"60s\"", Upstream::BreaksOff(200)).await;
    for ask in &asks {
        assert_eq!(stand.visit(ask, Upstream::BreaksOff(200)).await.outcome, Outcome::Window);
    }
    clock.forward(Duration::from_secs(61));
    assert_eq!(stand.visit(&asks[0], OK).await.outcome, Outcome::Redelivered);
    assert!(is_delivered(&stand, &signed).await);
    assert_eq!(writes(&stand), 1);
}

#[tokio::test]
async fn a_crowd_inside_a_window_writes_once() {
    for restarts in [false, true] {
        let (stand, signed, asks) = owed("window = \"60s\"", Upstream::BreaksOff(200)).await;
        let stand = if restarts { stand.restarted() } else { stand };
        // All are under way before the first is served.
        let under_way = join_all((0..20).map(|n| forward(&stand, &asks[n % 2]))).await;
        let crowd = join_all(under_way.into_iter().map(|forward| forwarded(forward, OK))).await;
        assert!(crowd.iter().all(|seen| seen.served));
        stand.rest().await;
        assert!(is_delivered(&stand, &signed).await);
        assert_eq!(writes(&stand), 1, "restarts {restarts}");
    }
}

#[tokio::test]
async fn whoever_is_served_first_delivers_also_while_the_request_that_paid_is_under_way() {
    for ending in [OK, Upstream::BreaksOff(200)] {
        let clock = Clock::hold();
        let stand = Stand::paid("settle = \"before\"\nwindow = \"60s\"").await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        let first = forward(&stand, &ask).await;
        assert_eq!(first.outcome, Outcome::Paid);
        let second = Ask::get("/paid").with("farebox-pass", pass(&signed));
        assert_eq!(stand.visit_without_rest(&second, OK).await.outcome, Outcome::Window);
        forwarded(first, ending).await;
        stand.rest().await;
        assert!(is_delivered(&stand, &signed).await);
        assert_eq!(writes(&stand), 1, "{ending:?}");
        clock.forward(Duration::from_secs(61));
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Refused, "{ending:?}");
    }
}

/// A request that began inside the window and ends after it, beside one that is delivered again.
#[tokio::test]
async fn a_redelivery_and_a_late_ride_write_once() {
    for ride_first in [true, false] {
        let clock = Clock::hold();
        let (stand, signed, asks) = owed("window = \"60s\"", Upstream::BreaksOff(200)).await;
        let ride = forward(&stand, &asks[0]).await;
        clock.forward(Duration::from_secs(61));
        let again = forward(&stand, &asks[0]).await;
        assert_eq!(again.outcome, Outcome::Redelivered);
        let (first, second) = if ride_first { (ride, again) } else { (again, ride) };
        assert!(forwarded(first, OK).await.served && forwarded(second, OK).await.served);
        stand.rest().await;
        assert!(is_delivered(&stand, &signed).await);
        assert_eq!(writes(&stand), 1, "ride first {ride_first}");
    }
}

/// What another gateway has written is found, or written again in vain, and once.
#[tokio::test]
async fn gateways_that_share_a_ledger_do_not_mind_each_other() {
    let (here, signed, asks) = owed("window = \"60s\"", Upstream::BreaksOff(200)).await;
    let there = here.restarted();
    for ask in [&asks[1], &asks[0], &asks[1]] {
        assert_eq!(there.visit(ask, OK).await.outcome, Outcome::Window);
    }
    let delivered_at = here.record(&signed).await.delivered_at;
    assert!(delivered_at.is_some());
    assert_eq!(writes(&here), 1);
    for ask in [&asks[0], &asks[1], &asks[0]] {
        assert_eq!(here.visit(ask, OK).await.outcome, Outcome::Window);
    }
    assert_eq!(here.record(&signed).await.delivered_at, delivered_at, "the first time stands");
    assert_eq!(writes(&here), 2, "once for each gateway that did not know");
}

/// Gateways that share their pass keys and no ledger: the other's payments are nobody's business here.
#[tokio::test]
async fn a_pass_of_another_ledger_is_looked_up_once_and_writes_nothing() {
    let stand = Stand::paid("window = \"60s\"").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let ask = Ask::get("/paid").with("farebox-pass", pass(&signed));
    for _ in 0..3 {
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Window);
    }
    assert_eq!((stand.ledger.steps(Step::Find), writes(&stand)), (1, 0));
}

#[tokio::test]
async fn a_delivery_inside_a_window_is_written_by_itself_when_the_ledger_is_back() {
    for way in 0..2 {
        for step in [Step::Delivered, Step::Find] {
            let clock = Clock::hold();
            let (stand, signed, asks) = owed("window = \"60s\"", Upstream::BreaksOff(200)).await;
            // By its pass, it is looked up before it is written.
            let stand = if step == Step::Find { stand.restarted() } else { stand };
            stand.ledger.break_next(Step::Delivered, Breaks::Before, u32::MAX);
            if step == Step::Find && way == 1 {
                stand.ledger.break_next(Step::Find, Breaks::Before, u32::MAX);
            }
            assert_eq!(stand.visit(&asks[way], OK).await.outcome, Outcome::Window);
            assert!(!is_delivered(&stand, &signed).await);
            stand.ledger.break_next(Step::Find, Breaks::Before, 0);
            clock.forward(Duration::from_secs(61));
            let seen = stand.visit_without_rest(&asks[0], OK).await;
            assert_eq!((seen.outcome, seen.forwarded), (Outcome::Refused, false), "served, if not written");
            stand.ledger.mend();
            stand.catch_up().await;
            assert!(is_delivered(&stand, &signed).await, "{way} {step:?}");
        }
    }
}
