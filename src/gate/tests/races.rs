//! Many requests with one payment.

use std::time::Duration;

use futures::future::join_all;

use super::MODES;
use super::ask::{Ask, Upstream};
use super::doubles::Step;
use super::stand::{HOUSE, Stand, route};
use super::wallet::Wallet;
use crate::gate::unix_millis;
use crate::telemetry::Outcome;
use crate::telemetry::labels::Label as _;

const CROWD: usize = 50;

#[tokio::test]
async fn a_crowd_with_one_payment_is_charged_once_and_served_once() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let ask = Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
        let crowd = join_all((0..CROWD).map(|_| stand.visit_without_rest(&ask, Upstream::Answers(200)))).await;
        stand.rest().await;
        assert_eq!(stand.transfers(), 1, "{mode}");
        assert_eq!(stand.facilitator.settles(), 1, "{mode}");
        assert_eq!(crowd.iter().filter(|seen| seen.forwarded).count(), 1, "{mode}");
        for seen in crowd.iter().filter(|seen| !seen.forwarded) {
            assert_eq!(seen.outcome, Outcome::Refused, "{mode}: {seen:?}");
            assert_eq!(seen.error(), "invalid_exact_evm_nonce_already_used", "{mode}");
        }
    }
}

#[tokio::test]
async fn a_crowd_with_one_payment_rides_its_window() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"\nwindow = \"60s\"")).await;
        let ask = Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
        let crowd = join_all((0..CROWD).map(|_| stand.visit_without_rest(&ask, Upstream::Answers(200)))).await;
        stand.rest().await;
        assert_eq!(stand.facilitator.settles(), 1, "{mode}");
        assert_eq!(crowd.iter().filter(|seen| seen.outcome == Outcome::Paid).count(), 1, "{mode}");
        assert_eq!(crowd.iter().filter(|seen| seen.outcome == Outcome::Window).count(), CROWD - 1, "{mode}");
    }
}

#[tokio::test]
async fn a_crowd_gets_the_uses_of_a_window_and_not_one_more() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"\nwindow = {{ for = \"60s\", uses = 7 }}")).await;
        let ask = Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
        let crowd = join_all((0..CROWD).map(|_| stand.visit_without_rest(&ask, Upstream::Answers(200)))).await;
        stand.rest().await;
        assert_eq!(stand.facilitator.settles(), 1, "{mode}");
        assert_eq!(crowd.iter().filter(|seen| seen.served).count(), 7, "{mode}");
        for seen in crowd.iter().filter(|seen| !seen.served) {
            assert_eq!(seen.outcome, Outcome::Refused, "{mode}: {seen:?}");
        }
    }
}

/// The same on threads of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_on_many_threads_is_charged_once() {
    for mode in MODES {
        for (keys, served) in [("", 1), ("window = { for = \"60s\", uses = 7 }", 7), ("window = \"60s\"", CROWD)] {
            let stand = Stand::paid(&format!("settle = \"{mode}\"\n{keys}")).await;
            let ask = Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
            let crowd = (0..CROWD).map(|_| {
                let (stand, ask) = (stand.clone(), ask.clone());
                tokio::spawn(async move { stand.visit_without_rest(&ask, Upstream::Answers(200)).await })
            });
            let crowd = join_all(crowd).await;
            assert_eq!(crowd.iter().filter(|seen| seen.as_ref().unwrap().served).count(), served, "{mode} {keys}");
            assert_eq!(stand.facilitator.settles(), 1, "{mode} {keys}");
        }
    }
}

/// Those whose turn comes after a failed upstream pay for themselves, one after the other, until one is served.
#[tokio::test]
async fn a_crowd_before_a_failing_upstream_is_charged_for_the_one_that_is_served() {
    let stand = Stand::paid("").await;
    let ask = Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
    let upstream = |n| if n == CROWD - 1 { Upstream::Answers(200) } else { Upstream::Answers(503) };
    let crowd = join_all((0..CROWD).map(|n| stand.visit_without_rest(&ask, upstream(n)))).await;
    stand.rest().await;
    let last = &crowd[CROWD - 1];
    assert_eq!((last.outcome, stand.transfers()), (Outcome::Paid, 1));
    for seen in &crowd {
        assert!(matches!(seen.outcome, Outcome::Paid | Outcome::Refused), "{seen:?}");
    }
}

#[tokio::test]
async fn nobody_rides_before_the_first_use_is_counted() {
    let stand = Stand::paid("window = { for = \"60s\", uses = 1 }").await;
    let ask = Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
    let pause = stand.ledger.pause_at(Step::CountUse);
    let first = tokio::spawn({
        let (stand, ask) = (stand.clone(), ask.clone());
        async move { stand.visit_without_rest(&ask, Upstream::Answers(200)).await }
    });
    pause.reached().await;
    let second = tokio::spawn({
        let (stand, ask) = (stand.clone(), ask.clone());
        async move { stand.visit_without_rest(&ask, Upstream::Answers(200)).await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    pause.release();
    assert_eq!(first.await.unwrap().outcome, Outcome::Paid);
    assert_eq!(second.await.unwrap().outcome, Outcome::Refused);
}

/// Both read the record before either had redelivered it.
#[tokio::test]
async fn two_late_retries_get_one_redelivery() {
    let before = Stand::paid("settle = \"before\"").await;
    let signed = Wallet::new().pay(&before.offer("paid"));
    before.settled_at(&signed, "paid", unix_millis()).await;
    // The quote is gone: the payment is known by the ledger alone.
    let dearer = route("settle = \"before\"").replace("0.10", "0.20");
    let stand = before.reloaded(HOUSE, &dearer, Duration::from_secs(120));
    let ask = Ask::get("/paid").paying(&signed);
    let two = join_all((0..2).map(|_| stand.visit_without_rest(&ask, Upstream::Answers(200)))).await;
    stand.rest().await;
    let mut outcomes: Vec<_> = two.iter().map(|seen| seen.outcome.label()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["redelivered", "refused"]);
}
