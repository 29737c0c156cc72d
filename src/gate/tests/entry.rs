//! What is decided before any payment is looked at.

use http::Method;

use super::ask::{Ask, Upstream};
use super::stand::{HOUSE, Stand};
use super::wallet::Wallet;
use crate::gate::Verdict;
use crate::ledger::State;
use crate::telemetry::Outcome;

const ROUTES: &str = r#"
[[route]]
name = "paid"
path = "/paid/*"
price = "0.10"

[[route]]
name = "got"
path = "/got"
methods = ["GET"]
price = "0.10"

[[route]]
name = "free"
path = "/free"
price = "free"
"#;

#[tokio::test]
async fn each_request_is_let_in_or_answered() {
    let stand = Stand::new(ROUTES).await;
    let cases = [
        (Method::GET, "/free", 200, Outcome::Free),
        (Method::POST, "/free", 200, Outcome::Free),
        (Method::GET, "/paid/a", 402, Outcome::Challenge),
        (Method::HEAD, "/paid/a", 402, Outcome::Challenge),
        (Method::POST, "/paid/a", 402, Outcome::Challenge),
        (Method::HEAD, "/got", 402, Outcome::Challenge),
        // Not a preflight: it has no `Origin`.
        (Method::OPTIONS, "/paid/a", 402, Outcome::Challenge),
        (Method::POST, "/got", 404, Outcome::Unmatched),
        (Method::GET, "/other", 404, Outcome::Unmatched),
        (Method::GET, "/paid%2fa", 400, Outcome::BadTarget),
        (Method::GET, "/free/..%5cpaid", 400, Outcome::BadTarget),
        (Method::GET, "/free;/../paid/a", 400, Outcome::BadTarget),
        // The canonical path is what counts.
        (Method::GET, "/free/../paid/a", 402, Outcome::Challenge),
        (Method::GET, "//paid//a", 402, Outcome::Challenge),
        (Method::GET, "/%70aid/a", 402, Outcome::Challenge),
    ];
    for (method, target, status, outcome) in cases {
        let seen = stand.visit(&Ask::get(target).method(method.clone()), Upstream::Answers(200)).await;
        assert_eq!((seen.status, seen.outcome), (status, outcome), "{method} {target}");
        assert_eq!(seen.forwarded, outcome == Outcome::Free, "{method} {target}");
    }
    assert!(stand.ledger.all().await.is_empty(), "no payment, no record");
    assert_eq!((stand.facilitator.verifies(), stand.facilitator.settles()), (0, 0));
}

#[tokio::test]
async fn what_is_forwarded_is_what_was_matched() {
    let stand = Stand::new(ROUTES).await;
    for (target, rewritten) in [("/free", None), ("/free?a=b", None), ("/x/../free?a=b", Some("/free?a=b"))] {
        let Verdict::Forward(forward) = stand.decide(&Ask::get(target)).await else { panic!("{target}") };
        assert_eq!(forward.rewritten.as_deref(), rewritten, "{target}");
    }
}

#[tokio::test]
async fn a_challenge_can_be_paid_in_both_versions() {
    let stand = Stand::new(ROUTES).await;
    let seen = stand.visit(&Ask::get("/paid/a?b=c"), Upstream::Answers(200)).await;
    let terms = seen.terms();
    assert_eq!(terms.resource.url, "http://shop.test/paid/a?b=c");
    assert_eq!(terms.accepts, [stand.offer("paid").offer.to_v2()]);
    assert_eq!(seen.body["x402Version"], 1);
    assert_eq!(seen.body["accepts"][0]["maxAmountRequired"], "100000");
    assert_eq!(seen.body["accepts"][0]["resource"], "http://shop.test/paid/a?b=c");
    assert_eq!(seen.text("cache-control"), Some("no-store"));
    assert!(seen.text("access-control-expose-headers").unwrap().contains("PAYMENT-REQUIRED"));
    assert!(seen.settlement().is_none() && seen.settlement_v1().is_none(), "there was no payment");
}

#[tokio::test]
async fn a_preflight_is_answered_and_costs_nothing() {
    let stand = Stand::new(ROUTES).await;
    let preflight = |target: &str, method: &'static str| {
        Ask::get(target)
            .method(Method::OPTIONS)
            .with("origin", "https://app.test")
            .with("access-control-request-method", method)
            .with("access-control-request-headers", "x-mine")
    };
    for (target, method) in [("/paid/a", "GET"), ("/got", "GET"), ("/got", "HEAD")] {
        let seen = stand.visit(&preflight(target, method), Upstream::Answers(200)).await;
        assert_eq!((seen.status, seen.outcome, seen.forwarded), (204, Outcome::Preflight, false), "{target} {method}");
        assert_eq!(seen.text("access-control-allow-methods"), Some(method));
        let allowed = seen.text("access-control-allow-headers").unwrap();
        assert!(allowed.contains("PAYMENT-SIGNATURE") && allowed.ends_with("x-mine"), "{allowed}");
    }
    // The upstream answers for what is free, and nobody for what is not served.
    assert_eq!(stand.visit(&preflight("/free", "GET"), Upstream::Answers(200)).await.outcome, Outcome::Free);
    assert_eq!(stand.visit(&preflight("/got", "POST"), Upstream::Answers(200)).await.outcome, Outcome::Unmatched);
    // A payment does not make it more than a preflight.
    let paying = preflight("/paid/a", "GET").paying(&Wallet::new().pay(&stand.offer("paid")));
    assert_eq!(stand.visit(&paying, Upstream::Answers(200)).await.outcome, Outcome::Preflight);
    assert!(stand.ledger.all().await.is_empty());
}

#[tokio::test]
async fn unmatched_requests_go_where_the_file_says() {
    let house = format!("[server]\nunmatched = \"free\"\n{HOUSE}");
    let stand = Stand::over(&house, ROUTES).await;
    assert_eq!(stand.visit(&Ask::get("/other"), Upstream::Answers(200)).await.outcome, Outcome::Free);
    assert_eq!(stand.visit(&Ask::get("/paid/a"), Upstream::Answers(200)).await.outcome, Outcome::Challenge);
}

#[tokio::test]
async fn a_head_request_is_charged_as_a_get() {
    let stand = Stand::new(ROUTES).await;
    let signed = Wallet::new().pay(&stand.offer("got"));
    let seen = stand.visit(&Ask::get("/got").method(Method::HEAD).paying(&signed), Upstream::Answers(200)).await;
    assert_eq!((seen.outcome, stand.transfers()), (Outcome::Paid, 1));
    assert_eq!(stand.state(&signed).await, Some(State::Settled));
}

#[tokio::test]
async fn a_client_that_sends_both_headers_is_judged_once() {
    let stand = Stand::new(ROUTES).await;
    let (one, other) = (Wallet::new().pay(&stand.offer("paid")), Wallet::new().pay(&stand.offer("paid")));
    let both = Ask::get("/paid/a").with("x-payment", other.v1()).with("payment-signature", one.v2());
    let seen = stand.visit(&both, Upstream::Answers(200)).await;
    assert_eq!((seen.outcome, stand.transfers()), (Outcome::Paid, 1));
    assert!(seen.settlement().unwrap().success && seen.settlement_v1().is_none(), "answered in v2");
    assert_eq!(stand.state(&other).await, None);
}

#[tokio::test]
async fn what_cannot_be_read_is_400_and_says_what_is_wrong() {
    let stand = Stand::new(ROUTES).await;
    let signed = Wallet::new().pay(&stand.offer("paid"));
    let twice = Ask::get("/paid/a").paying(&signed).paying(&signed);
    let too_long = "A".repeat(stand.generation.config.server.payment_header_bytes + 1);
    let cases = [
        (Ask::get("/paid/a").with("payment-signature", ""), "empty"),
        (Ask::get("/paid/a").with("payment-signature", "%%%"), "not base64"),
        (Ask::get("/paid/a").with("x-payment", "e30"), "x402Version"),
        (Ask::get("/paid/a").with("x-payment", too_long), "at most"),
        (twice, "more than once"),
        (
            Ask::get("/paid/a").with(
                "payment-signature",
                signed.v2_with(|json| json["payload"]["authorization"]["nonce"] = "0x12".into()),
            ),
            "payload.authorization.nonce",
        ),
        // v2's is judged, also when v1's could be read.
        (Ask::get("/paid/a").with("payment-signature", "e30").with("x-payment", signed.v1()), "x402Version"),
    ];
    for (ask, what) in cases {
        let seen = stand.visit(&ask, Upstream::Answers(200)).await;
        assert_eq!((seen.status, seen.outcome, seen.error()), (400, Outcome::Malformed, "invalid_payload"), "{what}");
        assert!(seen.body["message"].as_str().unwrap().contains(what), "{what}: {}", seen.body);
    }
    assert!(stand.ledger.all().await.is_empty());
}
