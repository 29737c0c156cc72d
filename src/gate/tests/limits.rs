//! Rates, payments that come too often, free uses: what is turned away, and what never is.

use std::time::Duration;

use http::header::CONTENT_LENGTH;

use super::MODES;
use super::ask::{Ask, Seen, Upstream};
use super::clock::Clock;
use super::stand::{HOUSE, Stand, route};
use super::wallet::Wallet;
use crate::gate::unix_millis;
use crate::ledger::State;
use crate::telemetry::Outcome;

const OK: Upstream = Upstream::Answers(200);
const MINUTE: Duration = Duration::from_secs(60);

fn free(keys: &str) -> String {
    format!("[[route]]\nname = \"open\"\npath = \"/open\"\nprice = \"free\"\n{keys}\n")
}

/// Turned away for that reason, with a time to come back.
fn assert_limited(seen: &Seen, reason: &str, seconds: &str) {
    assert_eq!((seen.status, seen.outcome, seen.forwarded), (429, Outcome::Limited, false), "{seen:?}");
    assert_eq!((seen.error(), seen.body["reason"].as_str()), ("too_many_requests", Some(reason)));
    assert_eq!(seen.text("retry-after"), Some(seconds));
}

#[tokio::test]
async fn a_free_and_a_priced_route_are_limited_alike_each_client_and_route_by_itself() {
    let clock = Clock::hold();
    let limit = "limit = \"2/min\"";
    let stand = Stand::new(&format!("{}{}", route(limit), free(limit))).await;
    let (paid, open) = (Ask::get("/paid"), Ask::get("/open"));
    for _ in 0..2 {
        assert_eq!(stand.visit(&paid, OK).await.outcome, Outcome::Challenge);
    }
    assert_limited(&stand.visit(&paid, OK).await, "client_limit", "30");
    for _ in 0..2 {
        assert_eq!(stand.visit(&open, OK).await.outcome, Outcome::Free, "another route has its own");
    }
    assert_limited(&stand.visit(&open, OK).await, "client_limit", "30");
    let neighbour = open.clone().from([192, 0, 2, 2]);
    assert_eq!(stand.visit(&neighbour, OK).await.outcome, Outcome::Free, "and another client");

    clock.forward(Duration::from_secs(30));
    assert_eq!(stand.visit(&paid, OK).await.outcome, Outcome::Challenge);
    assert_limited(&stand.visit(&paid, OK).await, "client_limit", "30");
}

#[tokio::test]
async fn a_payment_that_comes_too_often_is_not_charged_and_is_good_later() {
    for mode in MODES {
        let clock = Clock::hold();
        let stand = Stand::paid(&format!("settle = \"{mode}\"\nlimit = \"1/s\"")).await;
        assert_eq!(stand.visit(&Ask::get("/paid"), OK).await.outcome, Outcome::Challenge);
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        let seen = stand.visit(&ask, OK).await;
        assert_limited(&seen, "client_limit", "1");
        assert!(seen.says_same_payment_again(), "{mode}: {seen:?}");
        assert_eq!(
            (stand.state(&signed).await, stand.facilitator.verifies(), stand.facilitator.settles()),
            (None, 0, 0)
        );

        clock.forward(Duration::from_secs(1));
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Paid, "{mode}");
    }
}

/// Paid, and the upstream failed: no limit keeps it back.
#[tokio::test]
async fn what_was_paid_for_and_not_delivered_passes_every_limit_of_its_route() {
    let _clock = Clock::hold();
    for by in ["client", "payer"] {
        let limit = format!("settle = \"before\"\nlimit = {{ rate = \"1/d\", by = \"{by}\" }}");
        let stand = Stand::paid(&limit).await;
        let wallet = Wallet::new();
        let signed = wallet.pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        assert_eq!(stand.visit(&ask, Upstream::Fails).await.outcome, Outcome::UpstreamError);
        assert_eq!(stand.visit(&ask, Upstream::BreaksOff(200)).await.outcome, Outcome::Redelivered, "{by}");
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Redelivered, "{by}");
        let reason = format!("{by}_limit");
        assert_limited(&stand.visit(&ask, OK).await, &reason, "86400");
        let another = wallet.pay(&stand.offer("paid"));
        assert_limited(&stand.visit(&Ask::get("/paid").paying(&another), OK).await, &reason, "86400");
        assert_eq!(stand.transfers(), 1);
    }
}

/// Who breaks off each response on purpose rides its window no faster than others, but for the tries that an honest
/// client may need.
#[tokio::test]
async fn a_payment_that_is_never_delivered_passes_a_limit_a_few_times_only() {
    for by in ["client", "payer"] {
        let _clock = Clock::hold();
        let stand = Stand::paid(&format!("window = \"1h\"\nlimit = {{ rate = \"1/d\", by = \"{by}\" }}")).await;
        let ask = Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
        assert_eq!(stand.visit(&ask, Upstream::BreaksOff(200)).await.outcome, Outcome::Paid);
        for _ in 0..10 {
            assert_eq!(stand.visit(&ask, Upstream::BreaksOff(200)).await.outcome, Outcome::Window, "{by}");
        }
        assert_limited(&stand.visit(&ask, OK).await, &format!("{by}_limit"), "86400");
    }
}

/// Also when its own time has passed meanwhile, so that the local checks would refuse it.
#[tokio::test]
async fn what_was_paid_for_passes_when_its_authorization_has_run_out() {
    for by in ["client", "payer"] {
        let stand = Stand::paid(&format!("limit = {{ rate = \"1/d\", by = \"{by}\" }}")).await;
        let clock = Clock::hold();
        let wallet = Wallet::new();
        let signed = wallet.pay(&stand.offer("paid"));
        stand.settled_at(&signed, "paid", unix_millis()).await;
        let other = wallet.pay(&stand.offer("paid"));
        assert_eq!(stand.visit(&Ask::get("/paid").paying(&other), OK).await.outcome, Outcome::Paid, "the day's one");
        clock.forward(MINUTE * 2);
        let seen = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
        assert_eq!(seen.outcome, Outcome::Redelivered, "{by}: {seen:?}");
    }
}

#[tokio::test]
async fn by_payer_each_payer_is_counted_by_itself_with_payments_and_passes_and_challenges_are_not() {
    let _clock = Clock::hold();
    let stand = Stand::paid("window = \"1h\"\nlimit = { rate = \"3/h\", by = \"payer\" }").await;
    let (one, other) = (Wallet::new(), Wallet::new());
    for _ in 0..10 {
        assert_eq!(stand.visit(&Ask::get("/paid"), OK).await.outcome, Outcome::Challenge);
    }
    let first = Ask::get("/paid").paying(&one.pay(&stand.offer("paid")));
    let paid = stand.visit(&first, OK).await;
    assert_eq!(paid.outcome, Outcome::Paid);
    assert_eq!(stand.visit(&first, OK).await.outcome, Outcome::Window, "the same payment");
    let pass = Ask::get("/paid").with("farebox-pass", paid.text("farebox-pass").unwrap());
    assert_eq!(stand.visit(&pass, OK).await.outcome, Outcome::Window, "its pass");
    let second = one.pay(&stand.offer("paid"));
    for ask in [&first, &pass, &Ask::get("/paid").paying(&second)] {
        assert_limited(&stand.visit(ask, OK).await, "payer_limit", "1200");
    }
    assert_eq!(stand.state(&second).await, None);
    let theirs = Ask::get("/paid").paying(&other.pay(&stand.offer("paid")));
    assert_eq!(stand.visit(&theirs, OK).await.outcome, Outcome::Paid);
}

/// Anybody can write somebody else's address into a payment.
#[tokio::test]
async fn nobody_uses_up_the_limit_of_a_payer_whose_key_it_has_not() {
    let stand = Stand::paid("limit = { rate = \"1/h\", by = \"payer\" }").await;
    let victim = Wallet::new();
    let mut forged = victim.pay(&stand.offer("paid"));
    forged.signature = Wallet::new().pay(&stand.offer("paid")).signature;
    assert_eq!(stand.visit(&Ask::get("/paid").paying(&forged), OK).await.outcome, Outcome::Refused);
    // As a smart account's, which only the chain can judge.
    forged.signature = [forged.signature.to_vec(), vec![0; 32]].concat().into();
    for n in 0..2 {
        let seen = stand.visit(&Ask::get("/paid").paying(&forged), OK).await;
        assert_eq!(
            seen.outcome,
            if n == 0 { Outcome::Refused } else { Outcome::Limited },
            "by its own address: {seen:?}"
        );
    }
    let honest = Ask::get("/paid").paying(&victim.pay(&stand.offer("paid")));
    assert_eq!(stand.visit(&honest, OK).await.outcome, Outcome::Paid);
}

#[tokio::test]
async fn the_first_requests_of_a_period_are_free_and_then_the_price_is_asked() {
    let clock = Clock::hold();
    let stand = Stand::paid("free = { uses = 2, per = \"1h\" }").await;
    let ask = Ask::get("/paid");
    for _ in 0..2 {
        let seen = stand.visit(&ask, OK).await;
        assert_eq!((seen.outcome, seen.served, seen.identity.is_none()), (Outcome::Allowance, true, true));
    }
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Challenge);
    assert_eq!(stand.visit(&ask.clone().from([192, 0, 2, 2]), OK).await.outcome, Outcome::Allowance);
    clock.forward(MINUTE * 59);
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Challenge);
    clock.forward(MINUTE);
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Allowance);
    assert_eq!((stand.transfers(), stand.ledger.all().await.len()), (0, 0));
}

#[tokio::test]
async fn who_pays_or_has_paid_spends_no_free_use() {
    let stand = Stand::paid("window = \"1h\"\nfree = { uses = 1, per = \"1h\" }").await;
    let paid = stand.visit(&Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid"))), OK).await;
    assert_eq!((paid.outcome, stand.transfers()), (Outcome::Paid, 1));
    let pass = Ask::get("/paid").with("farebox-pass", paid.text("farebox-pass").unwrap());
    assert_eq!(stand.visit(&pass, OK).await.outcome, Outcome::Window);
    let malformed = Ask::get("/paid").with("payment-signature", "none");
    assert_eq!(stand.visit(&malformed, OK).await.outcome, Outcome::Malformed);
    assert_eq!(stand.visit(&Ask::get("/paid"), OK).await.outcome, Outcome::Allowance);
    assert_eq!(stand.visit(&Ask::get("/paid"), OK).await.outcome, Outcome::Challenge);
}

#[tokio::test]
async fn a_reload_gives_nothing_back() {
    let _clock = Clock::hold();
    let keys = "limit = \"2/h\"\nfree = { uses = 1, per = \"1h\" }";
    let stand = Stand::paid(keys).await;
    let ask = Ask::get("/paid");
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Allowance);
    let stand = stand.reloaded(HOUSE, &route(keys), Duration::ZERO);
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Challenge);
    let stand = stand.reloaded(HOUSE, &route(keys), Duration::ZERO);
    assert_limited(&stand.visit(&ask, OK).await, "client_limit", "1800");
}

#[tokio::test]
async fn payments_of_one_client_reach_a_facilitator_no_more_often_than_they_may_and_bad_ones_do_not_count() {
    let clock = Clock::hold();
    let house = format!("[server]\npayment_limit = \"3/s\"\n{HOUSE}");
    for mode in MODES {
        let stand = Stand::over(&house, &route(&format!("settle = \"{mode}\""))).await;
        let pay = || Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid")));
        for _ in 0..10 {
            let mut bad = Wallet::new().pay(&stand.offer("paid"));
            bad.signature = Wallet::new().pay(&stand.offer("paid")).signature;
            assert_eq!(stand.visit(&Ask::get("/paid").paying(&bad), OK).await.outcome, Outcome::Refused);
        }
        for _ in 0..3 {
            assert_eq!(stand.visit(&pay(), OK).await.outcome, Outcome::Paid);
        }
        let asked = (stand.facilitator.verifies(), stand.facilitator.settles());
        let late = pay();
        let seen = stand.visit(&late, OK).await;
        assert_limited(&seen, "payment_limit", "1");
        assert!(seen.says_same_payment_again());
        assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), asked, "{mode}");
        assert_eq!(stand.ledger.all().await.len(), 3, "nor the ledger");
        assert_eq!(stand.visit(&pay().from([192, 0, 2, 2]), OK).await.outcome, Outcome::Paid, "somebody else");
        clock.forward(Duration::from_secs(1));
        assert_eq!(stand.visit(&late, OK).await.outcome, Outcome::Paid, "{mode}");
    }
}

#[tokio::test]
async fn a_priced_requests_body_may_be_as_long_as_the_file_says_and_no_longer() {
    let house = format!("[server]\nrequest_body_bytes = 1000\n{HOUSE}");
    let stand = Stand::over(&house, &format!("{}{}", route(""), free(""))).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let sending = |ask: Ask, bytes: &str| ask.with(CONTENT_LENGTH.as_str(), bytes);
    for ask in [Ask::get("/paid"), Ask::get("/paid").paying(&signed)] {
        for bytes in ["1001", "18446744073709551615"] {
            let seen = stand.visit(&sending(ask.clone(), bytes), OK).await;
            assert_eq!((seen.status, seen.outcome, seen.error()), (413, Outcome::Limited, "body_too_large"));
            assert_eq!(seen.body["reason"], "request_body_bytes");
        }
    }
    assert_eq!(stand.state(&signed).await, None);
    assert_eq!(stand.visit(&sending(Ask::get("/open"), "1001"), OK).await.outcome, Outcome::Free);
    assert_eq!(stand.visit(&sending(Ask::get("/paid"), "1000"), OK).await.outcome, Outcome::Challenge);
    let seen = stand.visit(&sending(Ask::get("/paid").paying(&signed), "1000"), OK).await;
    assert_eq!((seen.outcome, stand.state(&signed).await), (Outcome::Paid, Some(State::Settled)));
}

/// A settlement that was not begun for want of room has certainly moved nothing.
#[tokio::test(start_paused = true)]
async fn a_facilitator_that_has_enough_to_do_costs_nobody_anything() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let fault = stand.facilitator.fault(crate::facilitator::FaultKind::Busy);
        stand.facilitator.settle_next(crate::facilitator::Settlement::NotSent { fault });
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let ask = Ask::get("/paid").paying(&signed);
        let seen = stand.visit(&ask, OK).await;
        assert_eq!((seen.status, seen.outcome, seen.error()), (503, Outcome::Limited, "overloaded"), "{mode}");
        assert_eq!(seen.body["reason"], "calls_in_flight");
        assert!(seen.says_same_payment_again() && !seen.served);
        assert_eq!((stand.state(&signed).await, stand.transfers()), (Some(State::Failed), 0));
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Paid, "{mode}");
    }
}
