//! What is said of a request without a look at anything but the config.

use http::{HeaderName, Method};
use proptest::prelude::*;

use super::ask::{Ask, Upstream};
use super::stand::{Stand, route};
use crate::gate::Verdict;
use crate::gate::answer::Answer;
use crate::gate::unpaid::Priced;
use crate::telemetry::Outcome;

const OK: Upstream = Upstream::Answers(200);

fn find<'a>(stand: &'a Stand, ask: &'a Ask) -> Option<Priced<'a>> {
    let names = ask.facts().headers.keys().map(HeaderName::as_str);
    Priced::find(&stand.generation, &ask.method, ask.host, ask.target.as_bytes(), names)
}

/// What is said at once.
fn at_once(stand: &Stand, ask: &Ask) -> Option<Answer> {
    find(stand, ask)?.challenge(&ask.facts())
}

#[tokio::test]
async fn who_shows_anything_is_looked_at() {
    let stand = Stand::paid("").await;
    assert!(at_once(&stand, &Ask::get("/paid?q")).is_some());
    for (field, value) in [
        ("payment-signature", "e30="),
        ("x-payment", ""),
        ("farebox-pass", "none"),
        ("cookie", "a=b"),
        ("content-length", "0"),
    ] {
        assert!(at_once(&stand, &Ask::get("/paid").with(field, value)).is_none(), "{field}");
    }
    for target in ["/free", "/paid/more", "/%2fpaid", "paid"] {
        assert!(at_once(&stand, &Ask::get(target)).is_none(), "{target}");
    }
}

#[tokio::test]
async fn what_is_counted_is_left_to_who_counts() {
    for (keys, then) in
        [("limit = \"1/min\"", Outcome::Challenge), ("free = { uses = 1, per = \"1d\" }", Outcome::Allowance)]
    {
        let stand = Stand::paid(keys).await;
        for _ in 0..3 {
            assert!(at_once(&stand, &Ask::get("/paid")).is_none(), "{keys}");
        }
        assert_eq!(stand.visit(&Ask::get("/paid"), OK).await.outcome, then, "{keys}: nothing was counted");
    }
    // Who has not paid has no payer.
    let stand = Stand::paid("limit = { rate = \"1/min\", by = \"payer\" }").await;
    assert!(at_once(&stand, &Ask::get("/paid")).is_some());
}

fn asks() -> impl Strategy<Value = Ask> {
    let method = prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST]);
    let target = prop_oneof![
        4 => "/(paid|free|case|Case|%70aid|paid/|//paid|./paid|none)(\\?[a-z&=\"<]{0,8})?",
        1 => "[!-~]{0,12}",
    ];
    let host = prop::sample::select(vec!["shop.test", "other.test", ""]);
    let fields = prop::collection::vec(
        (
            prop::sample::select(vec![
                "accept",
                "x-forwarded-proto",
                "x-forwarded-host",
                "origin",
                "cookie",
                "payment-signature",
                "content-length",
            ]),
            prop::sample::select(vec!["https", "0", "a.test", "*/*"]),
        ),
        0..3,
    );
    (method, target, host, fields).prop_map(|(method, target, host, fields)| {
        let ask = Ask::get(&target).method(method).host(host);
        fields.into_iter().fold(ask, |ask, (name, value)| ask.with(name, value))
    })
}

proptest! {
    #[test]
    fn it_is_what_the_gate_decides(asks in prop::collection::vec(asks(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let routes = format!(
                "[server]\ntrusted_proxies = [\"192.0.2.0/24\"]\n{}{}{}",
                "[upstreams.folded]\nservers = [\"127.0.0.1:3000\"]\ncase_insensitive = true\n",
                route("host = \"shop.test\"\nupstream = \"api\""),
                "[[route]]\npath = \"/free\"\nprice = \"free\"\nupstream = \"api\"\n\
                 [[route]]\npath = \"/case\"\nprice = \"1\"\nupstream = \"folded\"\n",
            );
            let stand = Stand::new(&routes).await;
            for ask in asks {
                let Some(answer) = at_once(&stand, &ask) else { continue };
                let Verdict::Answer { answer: decided, outcome, route, payment } = stand.decide(&ask).await else {
                    panic!("forwarded: {} {}", ask.method, ask.target);
                };
                assert_eq!(route, find(&stand, &ask).map(|priced| priced.index()));
                assert_eq!((outcome, payment), (Outcome::Challenge, None));
                assert_eq!(answer, decided);
            }
        });
    }
}
