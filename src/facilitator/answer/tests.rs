use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::facilitator::testing::{PAYER, order, order_of};
use crate::x402::Dialect;

const TRANSACTION: &str = "0x5b464b43c053fea31769aadab502b2c27c9ee9bc2c177560b52084add1d11fc8";
const SOMEBODY_ELSE: &str = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720";

/// Recorded from a facilitator, with what each answer must be taken for.
#[derive(Deserialize)]
struct Recording {
    supported: Value,
    answers: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    case: String,
    dialect: u8,
    operation: String,
    status: u16,
    /// JSON, or the text of a body that was none.
    body: Value,
    /// As [`verdict_of_verify`] and [`verdict_of_settle`] write it.
    expect: String,
}

/// @x402/core and @x402/evm 2.27.0.
const OFFICIAL: &str = include_str!("../testdata/official.json");
/// x402-rs 2.0.2.
const X402_RS: &str = include_str!("../testdata/x402-rs.json");

fn recording(text: &str) -> Recording {
    serde_json::from_str(text).unwrap()
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer { status, body: body.to_string().into_bytes() }
}

fn verdict_of_verify(result: &Result<Verification, Failure>) -> String {
    match result {
        Ok(Verification::Valid { .. }) => "valid".to_owned(),
        Ok(Verification::Invalid { reason, .. }) => format!("invalid {reason}"),
        Err(failure) => format!("fault {}", failure.kind.label()),
    }
}

fn verdict_of_settle(settlement: &Settlement) -> String {
    match settlement {
        Settlement::Settled { transaction, .. } => format!("settled {transaction}"),
        Settlement::Refused { reason, .. } => format!("refused {reason}"),
        Settlement::NotSent { fault } => format!("not sent {}", fault.kind.label()),
        Settlement::Unknown { transaction: Some(transaction), .. } => format!("unknown {transaction}"),
        Settlement::Unknown { transaction: None, .. } => "unknown".to_owned(),
    }
}

fn settle(order: &Order, answer: Result<Answer, Failure>) -> Settlement {
    settlement(order, &Arc::from("main"), answer)
}

fn detail_of(settlement: &Settlement) -> &str {
    match settlement {
        Settlement::Settled { .. } => "",
        Settlement::Refused { detail, .. } | Settlement::Unknown { detail, .. } => detail,
        Settlement::NotSent { fault } => &fault.detail,
    }
}

#[test]
fn recorded_answers_are_taken_for_what_they_mean() {
    for (facilitator, text) in [("official", OFFICIAL), ("x402-rs", X402_RS)] {
        for recorded in recording(text).answers {
            let dialect = if recorded.dialect == 1 { Dialect::V1 } else { Dialect::V2 };
            let named = recorded.body.get("payer").and_then(Value::as_str).unwrap_or_default();
            let order = order_of(named.parse().unwrap_or(PAYER), dialect);
            let body = match &recorded.body {
                Value::String(text) => text.clone().into_bytes(),
                json => json.to_string().into_bytes(),
            };
            let answer = Answer { status: recorded.status, body };
            let got = match recorded.operation.as_str() {
                "verify" => verdict_of_verify(&verification(&order, &answer)),
                _ => verdict_of_settle(&settle(&order, Ok(answer))),
            };
            assert_eq!(got, recorded.expect, "{facilitator}: {} at {}", recorded.case, recorded.operation);
        }
    }
}

#[test]
fn recorded_kinds_are_understood() {
    for (text, expected) in [
        (OFFICIAL, [(2, "exact", "eip155:84532"), (2, "upto", "eip155:84532"), (1, "exact", "base-sepolia")]),
        (X402_RS, [(1, "exact", "base-sepolia"), (2, "exact", "eip155:84532"), (2, "upto", "eip155:84532")]),
    ] {
        let supported = supported(&answer(200, &recording(text).supported)).unwrap();
        let kinds: Vec<_> =
            supported.kinds.iter().map(|kind| (kind.x402_version, &*kind.scheme, &*kind.network)).collect();
        assert_eq!(kinds, expected);
    }
}

#[test]
fn odd_kinds_are_left_out_and_odd_answers_are_faults() {
    let body = json!({ "kinds": [
        null, 7, {}, { "x402Version": 2 }, { "x402Version": 300, "scheme": "exact", "network": "base" },
        { "x402Version": "2", "scheme": "exact", "network": "base" }, { "x402Version": 2, "scheme": "exact", "network": 1 },
        { "x402Version": 2, "scheme": "exact", "network": "eip155:1", "extra": null },
    ] });
    let kinds = supported(&answer(200, &body)).unwrap().kinds;
    assert_eq!(kinds.len(), 1, "{kinds:?}");
    assert!(kinds[0].extra.is_empty());
    for (status, body, kind) in [
        (200, json!({}), FaultKind::Garbage),
        (200, json!({ "kinds": {} }), FaultKind::Garbage),
        (200, json!([]), FaultKind::Garbage),
        (302, json!({ "kinds": [] }), FaultKind::Status(302)),
        (401, json!({ "kinds": [] }), FaultKind::Unauthorized),
        (429, json!("slow down"), FaultKind::RateLimited),
        (503, json!(null), FaultKind::Status(503)),
    ] {
        assert_eq!(supported(&answer(status, &body)).unwrap_err().kind, kind, "{status} {body}");
    }
}

#[test]
fn a_settlement_is_believed_only_when_nothing_contradicts_it() {
    let payer = PAYER.to_string();
    let settled = format!("settled {TRANSACTION}");
    let unknown = format!("unknown {TRANSACTION}");
    let cases: &[(u16, Value, &str)] = &[
        (
            200,
            json!({ "success": true, "transaction": TRANSACTION, "network": "eip155:84532", "payer": payer }),
            &settled,
        ),
        (200, json!({ "success": true, "transaction": TRANSACTION, "network": "base-sepolia" }), &settled),
        (200, json!({ "success": true, "transaction": TRANSACTION, "network": "", "payer": "" }), &settled),
        (201, json!({ "success": true, "transaction": TRANSACTION, "network": null, "payer": null }), &settled),
        (
            200,
            json!({ "success": true, "transaction": TRANSACTION, "payer": payer.to_lowercase(), "new": {} }),
            &settled,
        ),
        // Contradictions.
        (200, json!({ "success": true, "transaction": "" }), "unknown"),
        (200, json!({ "success": true }), "unknown"),
        (200, json!({ "success": true, "transaction": TRANSACTION, "payer": SOMEBODY_ELSE }), &unknown),
        (200, json!({ "success": true, "transaction": TRANSACTION, "payer": "nobody" }), &unknown),
        (200, json!({ "success": true, "transaction": TRANSACTION, "network": "eip155:8453" }), &unknown),
        (200, json!({ "success": true, "transaction": TRANSACTION, "network": "narnia" }), &unknown),
        (500, json!({ "success": true, "transaction": TRANSACTION }), &unknown),
        (401, json!({ "success": true, "transaction": TRANSACTION }), &unknown),
        (302, json!({ "success": true, "transaction": TRANSACTION }), &unknown),
        (200, json!({ "success": true, "transaction": "0x1\r\nset-cookie: a=b" }), "unknown"),
        (200, json!({ "success": true, "transaction": "x".repeat(129) }), "unknown"),
        // A decision that cannot be read is still one: not even a 401 makes it "never processed".
        (401, json!({ "success": true, "transaction": 7 }), "unknown"),
        (429, json!({ "success": "yes" }), "unknown"),
        (403, json!({ "success": null }), "unknown"),
        // Failures.
        (
            200,
            json!({ "success": false, "errorReason": "invalid_exact_evm_signature" }),
            "refused invalid_exact_evm_signature",
        ),
        (403, json!({ "success": false, "errorReason": "insufficient_funds" }), "refused insufficient_funds"),
        (200, json!({ "success": false, "errorReason": "insufficient_funds", "transaction": TRANSACTION }), &unknown),
        (200, json!({ "success": false, "errorReason": "settlement_pending", "transaction": TRANSACTION }), &unknown),
        (200, json!({ "success": false, "errorReason": "settlement_pending" }), "unknown"),
        (200, json!({ "success": false, "errorReason": "unexpected_settle_error" }), "unknown"),
        (200, json!({ "success": false, "errorReason": "invalid_exact_evm_transaction_failed" }), "unknown"),
        (200, json!({ "success": false, "errorReason": "insufficient_funds: or so" }), "unknown"),
        (401, json!({ "success": false }), "unknown"),
        (200, json!({ "success": false, "errorReason": null }), "unknown"),
        // No decision at all.
        (200, json!({}), "unknown"),
        (200, json!([{ "success": true }]), "unknown"),
        (400, json!({ "error": "bad" }), "unknown"),
        (404, json!("not found"), "unknown"),
        (500, json!({ "error": "trouble" }), "unknown"),
        (401, json!({ "error": "who are you" }), "not sent unauthorized"),
        (403, json!("no"), "not sent unauthorized"),
        (429, json!({ "error": "later" }), "not sent rate_limited"),
    ];
    for (status, body, expected) in cases {
        let got = settle(&order(Dialect::V2), Ok(answer(*status, body)));
        assert_eq!(verdict_of_settle(&got), *expected, "{status} {body}");
    }
}

#[test]
fn a_failed_call_is_not_sent_only_when_no_connection_was_made() {
    for (kind, expected) in [
        (FaultKind::Unreached, "not sent unreached"),
        (FaultKind::Timeout, "unknown"),
        (FaultKind::Cut, "unknown"),
        (FaultKind::Garbage, "unknown"),
    ] {
        let got = settle(&order(Dialect::V1), Err(Failure { kind, detail: String::new() }));
        assert_eq!(verdict_of_settle(&got), expected, "{kind:?}");
    }
}

#[test]
fn a_verification_is_believed_before_its_status_but_not_about_somebody_else() {
    let cases: &[(u16, Value, &str)] = &[
        (200, json!({ "isValid": true, "payer": PAYER.to_string().to_lowercase() }), "valid"),
        (200, json!({ "isValid": true }), "valid"),
        (200, json!({ "isValid": true, "payer": "" }), "valid"),
        (500, json!({ "isValid": true }), "fault garbage"),
        (200, json!({ "isValid": true, "payer": SOMEBODY_ELSE }), "fault garbage"),
        (
            200,
            json!({ "isValid": false, "invalidReason": "insufficient_funds", "payer": SOMEBODY_ELSE }),
            "fault garbage",
        ),
        (
            412,
            json!({ "isValid": false, "invalidReason": "permit2_allowance_required" }),
            "invalid unexpected_verify_error",
        ),
        (401, json!({ "isValid": false, "invalidReason": "insufficient_funds" }), "invalid insufficient_funds"),
        (503, json!({ "isValid": false }), "invalid unexpected_verify_error"),
        // x402-rs without its chain.
        (
            500,
            json!({
                "isValid": false,
                "invalidReason": "unexpected_error",
                "invalidReasonDetails": "error sending request for url (http://127.0.0.1:8545/)",
                "payer": "",
            }),
            "fault status_5xx",
        ),
        (200, json!({ "isValid": "true" }), "fault garbage"),
        (200, json!({ "valid": true }), "fault garbage"),
        (400, json!({ "error": "bad" }), "fault status_4xx"),
        (308, json!(null), "fault status_3xx"),
        (401, json!({}), "fault unauthorized"),
        (403, json!({}), "fault unauthorized"),
        (429, json!({}), "fault rate_limited"),
        (502, json!({}), "fault status_5xx"),
    ];
    for (status, body, expected) in cases {
        let got = verification(&order(Dialect::V2), &answer(*status, body));
        assert_eq!(verdict_of_verify(&got), *expected, "{status} {body}");
    }
}

#[test]
fn the_payer_is_the_payments_own_word() {
    let told = json!({ "success": true, "transaction": TRANSACTION, "payer": PAYER.to_string().to_lowercase() });
    let Settlement::Settled { payer, .. } = settle(&order(Dialect::V2), Ok(answer(200, &told))) else { panic!() };
    assert_eq!(payer, Some(PAYER.to_string()));

    let mut opaque = order(Dialect::V2);
    opaque.payment.payload = Payload::Opaque(json!({}));
    for (named, expected) in
        [("CktRuQ2mttgRGkXJtyksdKHjUdc2C4TgDzyB98oEzy8", true), ("a b", false), (&*"x".repeat(129), false)]
    {
        let told =
            json!({ "success": true, "transaction": "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnb", "payer": named });
        match settle(&opaque, Ok(answer(200, &told))) {
            Settlement::Settled { payer, .. } => assert!(expected && payer.as_deref() == Some(named), "{named}"),
            other => assert!(!expected, "{named}: {other:?}"),
        }
    }
}

#[test]
fn details_are_one_bounded_line_without_the_signature() {
    let mut order = order(Dialect::V2);
    let (r, s) = ("a1".repeat(32), "B2".repeat(32));
    let whole = format!("{r}{s}1b");
    if let Payload::Eip3009 { signature, .. } = &mut order.payment.payload {
        *signature = alloy::hex::decode(&whole).unwrap().into();
    }
    let text = format!("reverted\n\x1b[31m (0x{r}, 0x{s}) 0x{whole} {TRANSACTION} {}", "é".repeat(DETAIL_BYTES_MAX));
    let refusal = json!({ "success": false, "errorReason": "insufficient_funds", "errorMessage": text });
    let odd = json!({ "success": false, "errorReason": text });
    for (body, status) in [(refusal, 200), (odd, 500), (json!(text), 200), (json!(text), 401)] {
        let got = settle(&order, Ok(answer(status, &body)));
        let detail = detail_of(&got);
        assert!(detail.len() <= DETAIL_BYTES_MAX + 64, "the text is bounded: {}", detail.len());
        assert!(!detail.chars().any(char::is_control), "{detail}");
        for secret in [&r, &s, &s.to_lowercase(), &whole] {
            assert!(!detail.contains(secret.as_str()), "{detail}");
        }
        assert!(detail.contains(TRANSACTION), "hashes stay: {detail}");
    }
}

proptest! {
    /// Money is called moved only by an answer that says so in so many words.
    #[test]
    fn no_noise_is_taken_for_a_decision(status in 100u16..600, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let got = settle(&order(Dialect::V2), Ok(Answer { status, body: body.clone() }));
        let door = matches!(status, 401 | 403 | 429);
        prop_assert_eq!(matches!(got, Settlement::NotSent { .. }), door);
        prop_assert_eq!(matches!(got, Settlement::Unknown { .. }), !door);
        let verified = verification(&order(Dialect::V1), &Answer { status, body });
        prop_assert!(verified.is_err());
    }

    #[test]
    fn no_reason_and_status_make_a_hash_a_failure(status in 100u16..600, code in "[a-z_]{0,40}", success in any::<bool>()) {
        let body = json!({ "success": success, "errorReason": code, "transaction": TRANSACTION });
        let got = verdict_of_settle(&settle(&order(Dialect::V2), Ok(answer(status, &body))));
        let expected = if success && is_success(status) { "settled" } else { "unknown" };
        prop_assert_eq!(got, format!("{expected} {TRANSACTION}"));
    }

    #[test]
    fn any_text_becomes_a_bounded_line(text in ".{0,700}", signature in proptest::collection::vec(any::<u8>(), 0..70)) {
        let line = without_secrets(&text, &signature);
        prop_assert!(line.len() <= DETAIL_BYTES_MAX);
        prop_assert!(!line.chars().any(char::is_control));
    }
}
