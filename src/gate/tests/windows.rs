//! What a settled payment opens, and what it does not.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use super::MODES;
use super::ask::{Ask, HOST, Upstream};
use super::doubles::{Breaks, Step};
use super::stand::{Stand, route};
use super::wallet::Wallet;
use crate::access::{Claims, HeaderDigest, Pass, PassKeys};
use crate::gate::unix_millis;
use crate::telemetry::Outcome;
use crate::x402::Dialect;

const OK: Upstream = Upstream::Answers(200);

/// The pass in a `Set-Cookie`, as a browser sends it back.
fn cookie_of(set_cookie: &str) -> String {
    set_cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_payment_its_pass_and_its_cookie_open_the_window() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"\nwindow = \"60s\"")).await;
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let first = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
        assert_eq!(first.outcome, Outcome::Paid, "{mode}");
        let pass = first.text("farebox-pass").expect("a pass").to_owned();
        let set_cookie = first.text("set-cookie").expect("a cookie");
        for field in ["farebox-pass", "set-cookie"] {
            assert_eq!(format!("{:?}", first.header(field).expect(field)), "Sensitive", "no log has a pass");
        }
        assert!(set_cookie.contains("; HttpOnly; SameSite=Lax") && !set_cookie.contains("Secure"), "{set_cookie}");
        let asked = (stand.facilitator.verifies(), stand.facilitator.settles());
        let asks = [
            Ask::get("/paid").paying(&signed),
            Ask::get("/paid").with("x-payment", signed.v1()),
            Ask::get("/paid").with("farebox-pass", &pass),
            Ask::get("/paid").with("cookie", format!("a=b; {}", cookie_of(set_cookie))),
            // With a good pass, nothing else is looked at.
            Ask::get("/paid").with("farebox-pass", &pass).with("x-payment", "garbage"),
        ];
        // The receipt is the ledger's: a restart forgets none.
        for stand in [stand.clone(), stand.restarted()] {
            for ask in &asks {
                let seen = stand.visit(ask, OK).await;
                assert_eq!((seen.outcome, seen.served), (Outcome::Window, true), "{mode}");
                let identity = seen.identity.unwrap();
                assert_eq!(identity.payment_id, signed.id(), "{mode}");
                assert_eq!(&*identity.payer, signed.authorization.from.to_string(), "{mode}");
            }
        }
        assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), asked, "{mode}");
    }
}

#[tokio::test]
async fn behind_tls_the_cookie_is_secure() {
    let house = format!("[server]\npublic_url = \"https://shop.test\"\n{}", super::stand::HOUSE);
    let stand = Stand::over(&house, &route("window = \"60s\"")).await;
    let seen = stand.visit(&Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid"))), OK).await;
    assert!(seen.text("set-cookie").unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn a_pass_opens_nothing_else() {
    let routes = format!("{}{}", route("window = \"60s\""), route("").replace("paid", "other"));
    let stand = Stand::new(&routes).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let first = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
    let pass = first.text("farebox-pass").unwrap().to_owned();
    let issue = |key: u8, expires_in: i64| {
        let keys = PassKeys::new([("test", &[key; 32][..])]).unwrap();
        let expires_at = u64::try_from(unix_millis() / 1000 + expires_in).unwrap();
        let claims = Claims { payer: "0x1".into(), payment_id: signed.id(), expires_at, uses: None };
        keys.issue(&Pass { route: "paid", host: HOST, claims })
    };
    let with = |target: &str, pass: &str| Ask::get(target).with("farebox-pass", pass);
    assert_eq!(stand.visit(&with("/paid", &issue(7, 60)), OK).await.outcome, Outcome::Window, "the test's own is good");
    let cases = [
        ("another route", with("/other", &pass)),
        ("another host", with("/paid", &pass).host("www.shop.test")),
        ("expired", with("/paid", &issue(7, -1))),
        ("another's key", with("/paid", &issue(8, 60))),
        ("forged", with("/paid", &pass.replacen("fb1.test.A", "fb1.test.B", 1))),
        ("nonsense", with("/paid", "fb1...")),
        ("not text", Ask::get("/paid").with("farebox-pass", "é")),
    ];
    for (what, ask) in cases {
        assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Challenge, "{what}");
    }
    let elsewhere = Ask::get("/paid").paying(&signed).host("www.shop.test");
    assert_eq!(stand.visit(&elsewhere, OK).await.outcome, Outcome::Refused, "nor does the payment");
}

#[tokio::test]
async fn a_window_ends() {
    let stand = Stand::paid("window = \"60s\"").await;
    for (age, outcome) in [(59_000, Outcome::Window), (60_000, Outcome::Redelivered), (600_000, Outcome::Refused)] {
        let signed = Wallet::new().pay(&stand.offer("paid"));
        stand.settled_at(&signed, "paid", unix_millis() - age).await;
        let seen = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
        assert_eq!(seen.outcome, outcome, "after {age} ms");
        assert_eq!(seen.text("farebox-pass"), None, "no pass for a window that is over, nor from within one");
    }
}

#[tokio::test]
async fn without_a_window_there_is_no_pass() {
    let stand = Stand::paid("").await;
    let seen = stand.visit(&Ask::get("/paid").paying(&Wallet::new().pay(&stand.offer("paid"))), OK).await;
    assert_eq!(seen.outcome, Outcome::Paid);
    assert!(seen.text("farebox-pass").is_none() && seen.text("set-cookie").is_none());
}

#[tokio::test]
async fn a_window_that_was_paid_for_survives_a_reload() {
    let stand = Stand::paid("window = \"60s\"").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let first = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
    let reloaded = stand.reloaded(super::stand::HOUSE, &route(""), Duration::ZERO);
    let pass = Ask::get("/paid").with("farebox-pass", first.text("farebox-pass").unwrap());
    for ask in [pass, Ask::get("/paid").paying(&signed)] {
        assert_eq!(reloaded.visit(&ask, OK).await.outcome, Outcome::Window);
    }
}

/// From the third time on it is known by its bytes.
#[tokio::test]
async fn a_header_that_is_known_opens_what_it_has_opened_and_nothing_else() {
    let routes = format!("{}{}", route("window = \"60s\""), route("window = \"60s\"").replace("paid", "other"));
    let stand = Stand::new(&routes).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    for (dialect, value) in [(Dialect::V2, signed.v2()), (Dialect::V1, signed.v1())] {
        let field = dialect.payment_header();
        let again = || Ask::get("/paid").with(field, &value);
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            outcomes.push(stand.visit(&again(), OK).await.outcome);
        }
        let first = if dialect == Dialect::V2 { Outcome::Paid } else { Outcome::Window };
        assert_eq!(outcomes, [first, Outcome::Window, Outcome::Window, Outcome::Window], "{field}");
        let known = stand.gate.shared().readings.get(&HeaderDigest::of(dialect, value.as_bytes())).unwrap();
        assert_eq!(known.id, signed.id(), "{field}");
        for elsewhere in [again().host("www.shop.test"), Ask::get("/other").with(field, &value)] {
            assert_eq!(stand.visit(&elsewhere, OK).await.outcome, Outcome::Refused, "{field}");
        }
    }
    // The same id under another signature is another header, and is read.
    let forged = signed.v1_with(|json| json["payload"]["signature"] = Value::from(format!("0x{}1b", "1".repeat(128))));
    for _ in 0..3 {
        assert_eq!(stand.visit(&Ask::get("/paid").with("x-payment", &forged), OK).await.outcome, Outcome::Refused);
    }
}

#[tokio::test]
async fn uses_are_counted_exactly_whatever_opens_the_window() {
    let stand = Stand::paid("window = { for = \"60s\", uses = 10 }").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let first = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
    let asks = [
        Ask::get("/paid").paying(&signed),
        Ask::get("/paid").with("farebox-pass", first.text("farebox-pass").unwrap()),
        Ask::get("/paid").with("cookie", cookie_of(first.text("set-cookie").unwrap())),
    ];
    let crowd = join_all((0..45).map(|n| stand.visit_without_rest(&asks[n % 3], OK))).await;
    assert_eq!(crowd.iter().filter(|seen| seen.served).count(), 9, "the paid request was the first of ten");
    for seen in crowd.iter().filter(|seen| !seen.served) {
        assert_eq!(seen.status, 402, "used up: another payment is asked for");
    }
    assert_eq!(stand.record(&signed).await.uses, 10);
}

/// A 402 would make the client pay for what it has.
#[tokio::test]
async fn a_window_that_cannot_be_counted_asks_for_no_other_payment() {
    let stand = Stand::paid("window = { for = \"60s\", uses = 10 }").await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let first = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
    let pass = first.text("farebox-pass").unwrap();
    for stand in [stand.clone(), stand.restarted()] {
        for ask in [Ask::get("/paid").with("farebox-pass", pass), Ask::get("/paid").paying(&signed)] {
            stand.ledger.break_next(Step::CountUse, Breaks::Before, 9);
            let seen = stand.visit(&ask, OK).await;
            assert_eq!((seen.status, seen.outcome), (503, Outcome::Unavailable));
            assert!(seen.says_same_payment_again());
            stand.ledger.mend();
            assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Window);
        }
    }
    // A pass of another ledger's is no reason to fail.
    let empty = Stand::paid("window = { for = \"60s\", uses = 10 }").await;
    assert_eq!(empty.visit(&Ask::get("/paid").with("farebox-pass", pass), OK).await.outcome, Outcome::Challenge);
}
