//! A payment that another gateway works on, over a ledger that both share: it is waited for as another request of this
//! gateway is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::MODES;
use super::ask::{Ask, Seen, Upstream};
use super::stand::Stand;
use super::wallet::{Signed, Wallet};
use crate::gate::unix_millis;
use crate::ledger::{Ledger as _, Opening, State, Transition};
use crate::telemetry::Outcome;

const OK: Upstream = Upstream::Answers(200);

/// A stand whose payment another gateway has taken and is settling, or has just reserved.
async fn taken_elsewhere(keys: &str, opening: Opening) -> (Stand, Signed, Ask) {
    let stand = Stand::paid(keys).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    stand.opened_at(&signed, "paid", opening, unix_millis()).await;
    stand.ledger.elsewhere.store(true, Ordering::SeqCst);
    let ask = Ask::get("/paid").paying(&signed);
    (stand, signed, ask)
}

/// Sends the payment here, and lets the other gateway do this once the request waits for it.
async fn while_waiting(stand: &Stand, ask: &Ask, there: impl AsyncFnOnce()) -> Seen {
    let here = tokio::spawn({
        let (stand, ask) = (stand.clone(), ask.clone());
        async move { stand.visit_without_rest(&ask, OK).await }
    });
    looks_again(stand).await;
    assert!(!here.is_finished());
    there().await;
    let seen = here.await.unwrap();
    stand.rest().await;
    seen
}

/// Waits until a request has seen that the other one has the payment, and looks again.
async fn looks_again(stand: &Stand) {
    let looks = || stand.ledger.looks.load(Ordering::SeqCst);
    let seen = looks();
    let again = async {
        while looks() < seen + 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("it looks again");
}

async fn settle(stand: &Stand, signed: &Signed) {
    let payer = Some(signed.authorization.from.to_string().into());
    let settled = Transition::Settled { facilitator: "main".into(), transaction: "0xfeed".into(), payer };
    stand.ledger.inner.advance(&signed.id(), settled, unix_millis()).await.unwrap();
}

#[tokio::test]
async fn a_payment_that_the_other_gives_back_is_taken_here() {
    for mode in MODES {
        let (stand, signed, ask) = taken_elsewhere(&format!("settle = \"{mode}\""), Opening::Reserved).await;
        let seen = while_waiting(&stand, &ask, async || {
            let failed = Transition::Failed { error: "the upstream answered 500".into() };
            stand.ledger.inner.advance(&signed.id(), failed, unix_millis()).await.unwrap();
            stand.ledger.elsewhere.store(false, Ordering::SeqCst);
        })
        .await;
        assert_eq!((seen.outcome, seen.served, stand.transfers()), (Outcome::Paid, true, 1), "{mode}");
    }
}

#[tokio::test]
async fn a_payment_that_the_other_settles_opens_its_window_here() {
    let (stand, signed, ask) = taken_elsewhere("window = \"60s\"", Opening::Settling).await;
    let seen = while_waiting(&stand, &ask, async || settle(&stand, &signed).await).await;
    assert_eq!((seen.outcome, seen.served), (Outcome::Window, true));
    assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), (0, 0));
    assert!(stand.ledger.let_go.lock().unwrap().is_empty(), "it was never this one's to deliver");
}

#[tokio::test]
async fn nobody_rides_before_the_other_has_counted_the_request_that_paid() {
    let (stand, signed, ask) = taken_elsewhere("window = { for = \"60s\", uses = 2 }", Opening::Settling).await;
    let seen = while_waiting(&stand, &ask, async || {
        settle(&stand, &signed).await;
        looks_again(&stand).await;
        assert_eq!(stand.record(&signed).await.uses, 0, "it waits");
        assert!(stand.ledger.inner.count_use(&signed.id(), 2).await.unwrap());
    })
    .await;
    assert_eq!((seen.outcome, stand.record(&signed).await.uses), (Outcome::Window, 2));
}

#[tokio::test]
async fn a_payment_that_the_other_delivers_is_spent_here() {
    let (stand, signed, ask) = taken_elsewhere("", Opening::Settling).await;
    let seen = while_waiting(&stand, &ask, async || {
        settle(&stand, &signed).await;
        stand.ledger.inner.advance(&signed.id(), Transition::Delivered, unix_millis()).await.unwrap();
    })
    .await;
    assert_eq!((seen.outcome, seen.forwarded), (Outcome::Refused, false));
    assert_eq!(seen.error(), "invalid_exact_evm_nonce_already_used");
}

#[tokio::test]
async fn a_payment_that_the_other_settles_and_does_not_deliver_is_delivered_here() {
    let (stand, signed, ask) = taken_elsewhere("", Opening::Settling).await;
    let seen = while_waiting(&stand, &ask, async || {
        settle(&stand, &signed).await;
        stand.ledger.elsewhere.store(false, Ordering::SeqCst);
    })
    .await;
    assert_eq!((seen.outcome, seen.served), (Outcome::Redelivered, true));
    assert!(stand.record(&signed).await.delivered_at.is_some());
    assert_eq!(stand.facilitator.settles(), 0);
}

#[tokio::test]
async fn what_the_other_does_is_waited_for_no_longer_than_what_happens_here() {
    for opening in [Opening::Reserved, Opening::Settling] {
        let (stand, _, ask) = taken_elsewhere("", opening).await;
        let seen = stand.impatient().visit(&ask, OK).await;
        assert_eq!((seen.status, seen.outcome, seen.forwarded), (503, Outcome::Pending, false));
        assert!(seen.says_same_payment_again());
    }
    let (stand, signed, ask) = taken_elsewhere("", Opening::Settling).await;
    settle(&stand, &signed).await;
    let seen = stand.impatient().visit(&ask, OK).await;
    assert_eq!((seen.status, seen.error(), seen.forwarded), (409, "payment_in_use", false));
    assert_eq!(stand.state(&signed).await, Some(State::Settled));
}

/// Whatever ends a request, a settled payment that it did not deliver is anybody's.
#[tokio::test]
async fn what_is_not_delivered_here_may_be_delivered_elsewhere() {
    for mode in MODES {
        for upstream in [Upstream::BreaksOff(200), Upstream::Fails, Upstream::Answers(500), OK] {
            let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
            let signed = Wallet::new().pay(&stand.offer("paid"));
            stand.visit(&Ask::get("/paid").paying(&signed), upstream).await;
            let record = stand.record(&signed).await;
            let is_owed = record.state == State::Settled && record.delivered_at.is_none();
            let let_go = stand.ledger.let_go.lock().unwrap().contains(&signed.id());
            assert_eq!(let_go, is_owed, "{mode} {upstream:?}");
        }
    }
    let stand = Stand::paid("settle = \"overlap\"").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let pause = stand.facilitator.pause_settle();
    let ticket = stand.ticket(&Ask::get("/paid").paying(&signed)).await;
    pause.reached().await;
    drop(ticket);
    pause.release();
    stand.rest().await;
    assert_eq!(stand.state(&signed).await, Some(State::Settled));
    assert_eq!(*stand.ledger.let_go.lock().unwrap(), [signed.id()], "gone before its settlement was");
}
