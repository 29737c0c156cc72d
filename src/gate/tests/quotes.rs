//! Which offer a payment takes: now, after a reload, in either version, and where only a facilitator can tell.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::MODES;
use super::ask::{Ask, Upstream};
use super::stand::{HOUSE, Stand, route};
use super::wallet::{Signed, Wallet};
use crate::facilitator::{Settlement, Verification};
use crate::gate::quoted::Quoted;
use crate::telemetry::Outcome;
use crate::x402::header::encode_json;

const OK: Upstream = Upstream::Answers(200);

#[tokio::test]
async fn a_quote_is_honoured_until_its_time_has_passed() {
    let before = Stand::paid("").await;
    let dearer = route("").replace("0.10", "0.20");
    for (ago, honoured) in [(0, true), (59, true), (61, false)] {
        let stand = before.reloaded(HOUSE, &dearer, Duration::from_secs(ago));
        for v1 in [false, true] {
            let signed = Wallet::new().pay(&before.offer("paid"));
            let ask =
                if v1 { Ask::get("/paid").with("x-payment", signed.v1()) } else { Ask::get("/paid").paying(&signed) };
            let seen = stand.visit(&ask, OK).await;
            let (outcome, code) = match (honoured, v1) {
                (true, _) => (Outcome::Paid, ""),
                (false, false) => (Outcome::Refused, "invalid_payment_requirements"),
                (false, true) => (Outcome::Refused, "invalid_exact_evm_payload_authorization_value_mismatch"),
            };
            assert_eq!(seen.outcome, outcome, "{ago} s ago, v1 {v1}");
            if !honoured {
                assert_eq!(seen.terms().accepts[0].amount.to_string(), "200000", "the new price is shown");
                let reason = crate::x402::Reason::from_code(seen.error()).unwrap();
                assert_eq!(Some(reason), crate::x402::Reason::from_code(code), "v1 {v1}");
            }
        }
        let new = Wallet::new().pay(&stand.offer("paid"));
        assert_eq!(stand.visit(&Ask::get("/paid").paying(&new), OK).await.outcome, Outcome::Paid, "{ago} s ago");
    }
}

#[tokio::test]
async fn routes_share_what_only_their_way_to_pay_says() {
    let routes = route("") + "[[route]]\nname = \"dearer\"\npath = \"/dearer\"\nprice = \"0.20\"\n";
    let stand = Stand::new(&routes).await;
    let (paid, dearer) = (stand.offer("paid"), stand.offer("dearer"));
    assert_ne!(paid.offer.amount, dearer.offer.amount);
    assert!(Arc::ptr_eq(&paid.offer.extra, &dearer.offer.extra));
    assert!(!paid.offer.extra.is_empty() && paid.token.is_some());
    assert_eq!(paid.token, dearer.token);
}

#[tokio::test]
async fn a_quote_survives_more_than_one_reload() {
    let first = Stand::paid("").await;
    let second = first.reloaded(HOUSE, &route("").replace("0.10", "0.20"), Duration::from_secs(30));
    let third = second.reloaded(HOUSE, &route("").replace("0.10", "0.30"), Duration::from_secs(10));
    for (stand, amount) in [(&first, "100000"), (&second, "200000"), (&third, "300000")] {
        let signed = Wallet::new().pay(&stand.offer("paid"));
        let seen = third.visit(&Ask::get("/paid").paying(&signed), OK).await;
        assert_eq!(seen.settlement().unwrap().amount.unwrap().to_string(), amount);
    }
}

fn price(cents: usize) -> String {
    route("").replace("0.10", &format!("{}.{:02}", cents / 100, cents % 100))
}

/// An operator who changes the price every second, for longer than a quote is good.
#[tokio::test]
async fn a_quote_is_honoured_for_its_time_however_often_the_file_is_read() {
    let house = HOUSE.replace("60s", "300s");
    let first = Stand::over(&house, &price(10)).await;
    let mut stands = vec![first.clone()];
    for ago in (0..400).rev() {
        let cents = 10 + stands.len();
        stands.push(stands[stands.len() - 1].reloaded(&house, &price(cents), Duration::from_secs(ago)));
    }
    let last = &stands[400];
    // Each was shown for a second, the first until 399 seconds ago; between them is time for the test itself.
    for (shown, honoured) in [(0, false), (90, false), (150, true), (250, true), (399, true), (400, true)] {
        for v1 in [false, true] {
            let signed = Wallet::new().pay(&stands[shown].offer("paid"));
            let ask =
                if v1 { Ask::get("/paid").with("x-payment", signed.v1()) } else { Ask::get("/paid").paying(&signed) };
            let seen = last.visit(&ask, OK).await;
            let expected = if honoured { Outcome::Paid } else { Outcome::Refused };
            assert_eq!(seen.outcome, expected, "reload {shown}, v1 {v1}: {}", seen.error());
        }
    }
}

#[tokio::test]
async fn a_reload_that_changes_no_terms_costs_no_memory_and_keeps_them_good() {
    let mut stand = Stand::paid("").await;
    for second in 0..200 {
        stand = stand.reloaded(HOUSE, &price(10 + second % 2 * 10), Duration::ZERO);
    }
    assert_eq!(stand.generation.remembered_offers("paid").count(), 2);
    let amounts: Vec<String> =
        stand.generation.remembered_offers("paid").map(|quoted| quoted.offer.amount.to_string()).collect();
    assert_eq!(amounts, ["100000", "200000"], "newest first");
}

/// Or a file of many routes would push out the one price that changed.
#[tokio::test]
async fn a_route_that_asks_for_the_same_as_before_is_not_remembered() {
    let same = price(10).replace("paid", "other");
    let before = Stand::new(&format!("{}{same}", price(10))).await;
    let after = before.reloaded(HOUSE, &format!("{}{same}", price(20)), Duration::ZERO);
    let remembered = |route| after.generation.remembered_offers(route).count();
    assert_eq!((remembered("paid"), remembered("other")), (1, 0));
    let gone = after.reloaded(HOUSE, &price(20), Duration::ZERO);
    assert_eq!(gone.generation.remembered_offers("other").count(), 1, "shown until now");
}

#[tokio::test]
async fn what_can_neither_be_paid_nor_owed_any_more_is_forgotten() {
    let before = Stand::paid("redeliver = \"2m\"").await;
    // Honoured for one minute, and owed for two more.
    for (ago, remembered) in [(179, 2), (181, 1)] {
        let between = before.reloaded(HOUSE, &price(20), Duration::from_secs(ago));
        let after = between.reloaded(HOUSE, &price(30), Duration::ZERO);
        assert_eq!(after.generation.remembered_offers("paid").count(), remembered, "{ago} s ago");
    }
}

#[tokio::test]
async fn a_quote_of_a_route_that_was_away_is_honoured_when_it_is_back() {
    let first = Stand::paid("").await;
    let other = price(10).replace("paid", "other");
    let away = first.reloaded(HOUSE, &other, Duration::from_secs(30));
    let back = away.reloaded(HOUSE, &format!("{}{other}", price(20)), Duration::from_secs(10));
    let signed = Wallet::new().pay(&first.offer("paid"));
    assert_eq!(back.visit(&Ask::get("/paid").paying(&signed), OK).await.outcome, Outcome::Paid);
}

#[tokio::test]
async fn more_offers_than_are_remembered_push_out_those_whose_time_is_over_first() {
    let two = |cents| format!("{}{}", price(cents), price(cents + 1).replace("paid", "other"));
    let stands = [Stand::new(&two(10)).await, Stand::new(&two(20)).await, Stand::new(&two(30)).await];
    let remembered = |offers_max: usize| {
        let quoted = stands.iter().zip(1..).fold(Quoted::default(), |quoted, (stand, now)| {
            let shown = stand.generation.routes().iter();
            let shown = shown.map(|live| (&live.route.name, live.quote.as_deref().unwrap()));
            quoted.and(shown, now, offers_max)
        });
        let amounts =
            |route| quoted.remembered(route).map(|quoted| quoted.offer.amount.to_string()).collect::<Vec<_>>();
        [amounts("paid"), amounts("other")]
    };
    assert_eq!(remembered(6).map(|amounts| amounts.len()), [3, 3]);
    let [paid, other] = remembered(5);
    assert_eq!((paid.len() + other.len(), &paid[..2], &other[..2]), (5, &paid_of(30, 20)[..], &paid_of(31, 21)[..]));
    assert_eq!(remembered(4), [paid_of(30, 20), paid_of(31, 21)]);
    assert_eq!(remembered(0).map(|amounts| amounts.len()), [0, 0]);
}

fn paid_of(first: u64, second: u64) -> Vec<String> {
    [first, second].map(|cents| (cents * 10_000).to_string()).to_vec()
}

const TWO_COINS: &str = r#"
[pay.euro]
network = "base-sepolia"
asset = { address = "0x808456652fdb597867f38412077A9182bf77359F", decimals = 6, name = "EURC", version = "2" }
pay_to = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
facilitators = ["main"]
max_timeout = "60s"
"#;

/// A v1 payment names its network alone.
#[tokio::test]
async fn a_v1_payment_takes_the_offer_that_it_pays() {
    for price in ["price = \"0.10\"", "price = { usdc = \"0.10\", euro = \"0.09\" }"] {
        let routes = route("").replace("price = \"0.10\"", price);
        let stand = Stand::over(&format!("{HOUSE}{TWO_COINS}"), &routes).await;
        let offers = stand.offers("paid");
        assert_eq!(offers.len(), 2);
        for quoted in offers {
            let signed = Wallet::new().pay(&quoted);
            let ask = Ask::get("/paid").with("x-payment", signed.v1());
            assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Paid, "{}", quoted.offer.way);
            let record = stand.record(&signed).await;
            assert_eq!((&record.asset, record.amount), (&quoted.offer.asset.address, quoted.offer.amount));
            assert_eq!(stand.visit(&ask, OK).await.error(), "invalid_exact_evm_nonce_already_used");
        }
        assert_eq!(stand.transfers(), 2);
    }
}

const SOLANA: &str = r#"
[pay.sol]
network = "solana"
asset = "USDC"
pay_to = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"
facilitators = ["main"]
max_timeout = "60s"
"#;

/// What cannot be judged here is judged by the facilitator before anything is forwarded, in every mode.
#[tokio::test]
async fn a_payment_that_only_a_facilitator_can_judge_goes_there_first() {
    let house = format!("{HOUSE}{SOLANA}");
    for mode in MODES {
        for verify in ["facilitator", "local"] {
            let (settle, verify) = (format!("settle = \"{mode}\""), format!("verify = \"{verify}\""));
            let keys = if mode == "on-success" { format!("{settle}\n{verify}") } else { settle };
            let keys = format!("{keys}\npay = [\"sol\"]");
            for good in [true, false] {
                let stand = Stand::over(&house, &route(&keys)).await;
                let ask = solana(&stand);
                let payer = "4Nd1mYbqhHR4RJv1hBmrQK7wyWbkQbS9iSPxkVZ7sQ1v";
                let reason = crate::x402::Reason::InvalidSignature;
                let refusal = String::new();
                if good {
                    stand.facilitator.verify_next(Ok(Verification::Valid { payer: Some(payer.to_owned()) }));
                    let (facilitator, transaction) = ("main".into(), "5sig".to_owned());
                    let payer = Some(payer.to_owned());
                    stand.facilitator.settle_next(Settlement::Settled { facilitator, transaction, payer });
                } else {
                    stand.facilitator.verify_next(Ok(Verification::Invalid { reason, detail: refusal.clone() }));
                    stand.facilitator.settle_next(Settlement::Refused { reason, detail: refusal });
                }
                let seen = stand.visit(&ask, OK).await;
                assert_eq!(seen.forwarded, good, "{keys}: {seen:?}");
                if good {
                    assert_eq!(seen.identity.unwrap().payer.to_string(), payer, "{keys}");
                } else {
                    assert_eq!(seen.outcome, Outcome::Refused, "{keys}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_opaque_payment_is_spent_once() {
    let house = format!("{HOUSE}{SOLANA}");
    let stand = Stand::over(&house, &route("settle = \"before\"\npay = [\"sol\"]")).await;
    let ask = solana(&stand);
    let (facilitator, transaction) = ("main".into(), "5sig".to_owned());
    stand.facilitator.settle_next(Settlement::Settled { facilitator, transaction, payer: None });
    assert_eq!(stand.visit(&ask, OK).await.outcome, Outcome::Paid);
    let again = stand.visit(&ask, OK).await;
    let told = again.settlement().and_then(|settlement| settlement.error_reason);
    assert_eq!((again.outcome, told.as_deref()), (Outcome::Refused, Some("duplicate_settlement")));
    assert_eq!(again.terms().error.as_deref(), Some("duplicate_settlement"), "in Solana's words everywhere");
    assert_eq!(stand.facilitator.settles(), 1);
}

/// No facilitator has said what the offer needs: nobody is asked to pay what cannot be paid.
#[tokio::test]
async fn a_route_that_nobody_can_settle_right_now_is_unavailable() {
    let house = format!("{HOUSE}{SOLANA}");
    let routes = route("settle = \"before\"\npay = [\"sol\"]");
    let before = Stand::over(&house, &routes).await;
    for (ago, outcome) in [(0, Outcome::Paid), (61, Outcome::Unavailable)] {
        let stand = before.reloaded(&house, &routes, Duration::from_secs(ago));
        assert!(stand.offers("paid").is_empty(), "its facilitators have not been asked yet");
        let unpaid = stand.visit(&Ask::get("/paid"), OK).await;
        assert_eq!((unpaid.status, unpaid.outcome), (503, Outcome::Unavailable));
        let (facilitator, transaction) = ("main".into(), "5sig".to_owned());
        stand.facilitator.settle_next(Settlement::Settled { facilitator, transaction, payer: None });
        let json = json!({
            "x402Version": 2,
            "accepted": before.offer("paid").offer.to_v2(),
            "payload": { "transaction": signed_transaction(&format!("{ago}")) },
        });
        let paying = Ask::get("/paid").with("payment-signature", encode_json(&json));
        assert_eq!(stand.visit(&paying, OK).await.outcome, outcome, "quoted {ago} s ago");
    }
}

/// A Solana transaction with one signature slot, in base64.
fn signed_transaction(message: &str) -> String {
    STANDARD.encode([&[1][..], &[0; 64], message.as_bytes()].concat())
}

fn solana(stand: &Stand) -> Ask {
    let accepted = stand.offer("paid").offer.to_v2();
    assert!(accepted.extra.contains_key("feePayer"), "the facilitator supplied it");
    let json =
        json!({ "x402Version": 2, "accepted": accepted, "payload": { "transaction": signed_transaction("pay") } });
    Ask::get("/paid").with("payment-signature", encode_json(&json))
}

#[tokio::test]
async fn a_smart_accounts_signature_goes_to_the_facilitator_first() {
    for mode in MODES {
        let stand = Stand::paid(&format!("settle = \"{mode}\"")).await;
        let signed = Signed { signature: vec![1; 130].into(), ..Wallet::new().pay(&stand.offer("paid")) };
        // The sandbox has no chain to ask.
        let seen = stand.visit(&Ask::get("/paid").paying(&signed), OK).await;
        assert_eq!((seen.outcome, seen.forwarded), (Outcome::Refused, false), "{mode}");
        let asked = (stand.facilitator.verifies(), stand.facilitator.settles());
        assert_eq!(asked, if mode == "on-success" { (1, 0) } else { (0, 1) }, "{mode}");
    }
}
