//! Clients that leave: whatever a request was doing, its payment comes to rest.

use super::MODES;
use super::ask::{Ask, Upstream};
use super::doubles::{Pause, Step, TestFacilitator, TestLedger};
use super::stand::Stand;
use super::wallet::Wallet;
use crate::gate::life::Head;
use crate::ledger::State;
use crate::telemetry::Outcome;
use http::StatusCode;
use std::sync::Arc;

const OK: Upstream = Upstream::Answers(200);

#[tokio::test]
async fn a_ticket_that_is_dropped_before_the_head_gives_its_payment_back_or_settles_it() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        drop(stand.ticket(&ask).await);
        stand.rest().await;
        let (state, again) = match mode {
            "on-success" => (State::Failed, Outcome::Paid),
            _ => (State::Settled, Outcome::Redelivered),
        };
        assert_eq!(stand.state(&signed).await, Some(state), "{mode}");
        assert_eq!(stand.visit(&ask, OK).await.outcome, again, "{mode}");
        assert_eq!(stand.transfers(), 1, "{mode}");
    }
}

#[tokio::test]
async fn a_ticket_that_is_dropped_after_the_head_is_owed() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        let mut ticket = stand.ticket(&ask).await;
        ticket.head(StatusCode::OK).await;
        drop(ticket);
        stand.rest().await;
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Redelivered, "{mode}");
        assert_eq!(stand.facilitator.settles(), 1, "{mode}");
    }
}

/// Where a request may be stopped.
type Stop = (&'static str, fn(&TestLedger, &TestFacilitator) -> Arc<Pause>);

/// The whole request is given up while something is under way: nothing stays reserved, and what was being settled is
/// settled and owed.
#[tokio::test]
async fn a_request_that_is_given_up_anywhere_leaves_a_payment_at_rest() {
    let stops: [Stop; 7] = [
        ("reserve", |ledger, _| ledger.pause_at(Step::Reserve)),
        ("verify", |_, facilitator| facilitator.pause_verify()),
        ("settling", |ledger, _| ledger.pause_at(Step::Settling)),
        ("settle", |_, facilitator| facilitator.pause_settle()),
        ("settled", |ledger, _| ledger.pause_at(Step::Settled)),
        ("first use", |ledger, _| ledger.pause_at(Step::CountUse)),
        ("delivered", |ledger, _| ledger.pause_at(Step::Delivered)),
    ];
    for mode in MODES {
        for (what, stop) in stops {
            if mode != "on-success" && matches!(what, "verify" | "settling") {
                continue;
            }
            let stand = Stand::paid(&format!("settle = \"{mode}\"\nwindow = {{ for = \"60s\", uses = 1 }}")).await;
            let signed = Wallet::new().pay(&stand.offer("paid"));
            let ask = Ask::get("/paid").paying(&signed);
            let pause = stop(&stand.ledger, &stand.facilitator);
            let request = tokio::spawn({
                let (stand, ask) = (stand.clone(), ask.clone());
                async move { stand.visit_without_rest(&ask, OK).await }
            });
            pause.reached().await;
            request.abort();
            drop(request.await);
            // Somebody else comes meanwhile, and waits no longer than he likes.
            pause.release();
            stand.rest().await;

            let case = format!("{mode}, given up at {what}");
            let settling = mode != "on-success" || !matches!(what, "reserve" | "verify");
            let expected = if settling { State::Settled } else { State::Failed };
            assert_eq!(stand.state(&signed).await, Some(expected), "{case}");
            let again = match (settling, what) {
                (false, _) => Outcome::Paid,
                (true, "delivered") => Outcome::Refused,
                (true, _) => Outcome::Redelivered,
            };
            assert_eq!(stand.visit(&ask, OK).await.outcome, again, "{case}");
            assert_eq!((stand.transfers(), stand.facilitator.settles()), (1, 1), "{case}");
        }
    }
}

/// Who waits is told to come again with the same payment, never to pay another.
#[tokio::test]
async fn a_second_request_does_not_wait_for_ever() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await.impatient();
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        let pause = stand.facilitator.pause_settle();
        let first = tokio::spawn({
            let (stand, ask) = (stand.clone(), ask.clone());
            async move {
                let mut ticket = stand.ticket(&ask).await;
                ticket.head(StatusCode::OK).await;
                ticket
            }
        });
        pause.reached().await;
        let seen = stand.visit_without_rest(&ask, OK).await;
        assert_eq!((seen.status, seen.outcome, seen.error()), (503, Outcome::Pending, "settlement_pending"), "{mode}");
        assert!(seen.says_same_payment_again(), "{mode}");
        pause.release();

        // Settled, and on its way to the first.
        let ticket = first.await.unwrap();
        let seen = stand.visit_without_rest(&ask, OK).await;
        assert_eq!((seen.status, seen.outcome, seen.error()), (409, Outcome::Pending, "payment_in_use"), "{mode}");
        assert!(seen.says_same_payment_again(), "{mode}");
        ticket.finish(true);
        stand.rest().await;
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Refused, "{mode}");
        assert_eq!(stand.facilitator.settles(), 1, "{mode}");
    }
}

/// Whatever the proxy asks once more, nothing passes that was not paid.
#[tokio::test]
async fn a_ticket_whose_payment_was_given_back_opens_nothing() {
    let stand = Stand::paid("").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let mut ticket = stand.ticket(&Ask::get("/paid").paying(&signed)).await;
    assert!(matches!(ticket.head(StatusCode::BAD_GATEWAY).await, Head::Send(_)), "the upstream's own refusal");
    assert!(matches!(ticket.head(StatusCode::NOT_FOUND).await, Head::Send(_)));
    let Head::Replace(unpaid) = ticket.head(StatusCode::OK).await else { panic!("forwarded without a settlement") };
    assert_eq!((unpaid.answer.status.as_u16(), stand.transfers()), (500, 0));
}

/// A proxy that gives up a head half way asks again through another hook.
#[tokio::test]
async fn a_head_that_was_given_up_is_told_of_all_the_same() {
    let stand = Stand::paid("").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let mut ticket = stand.ticket(&Ask::get("/paid").paying(&signed)).await;
    let pause = stand.facilitator.pause_settle();
    {
        let mut head = std::pin::pin!(ticket.head(StatusCode::OK));
        tokio::select! {
            biased;
            _ = &mut head => panic!("the settlement is paused"),
            () = pause.reached() => {}
        }
    }
    pause.release();
    let unpaid = ticket.upstream_failed(crate::gate::answer::Trouble::UpstreamBroken).await;
    assert_eq!(unpaid.outcome, Outcome::UpstreamError);
    assert!(ticket.money().is_some());
    assert!(String::from_utf8_lossy(&unpaid.answer.body).contains("same_payment"));
}

#[test]
fn a_ticket_may_outlive_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stand, signed, ticket) = runtime.block_on(async {
        let stand = Stand::paid("").await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ticket = stand.ticket(&Ask::get("/paid").paying(&signed)).await;
        (stand, signed, ticket)
    });
    drop(runtime);
    drop(ticket);
    let next = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    next.block_on(async {
        use crate::ledger::Ledger as _;
        assert_eq!(stand.state(&signed).await, Some(State::Reserved));
        stand.ledger.recover(crate::gate::unix_millis()).await.unwrap();
        assert_eq!(stand.state(&signed).await, Some(State::Failed), "the next start puts it right");
    });
}
