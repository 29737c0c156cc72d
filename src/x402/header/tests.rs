//! Payments spelled in every way that clients spell them, and what is said of those that are wrong.

use super::*;
use crate::money::Amount;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

fn v2_payment() -> Value {
    json!({
        "x402Version": 2,
        "accepted": {
            "scheme": "exact", "network": "eip155:84532", "amount": "1000", "maxTimeoutSeconds": 300,
            "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
            "payTo": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
            "extra": {"name": "USDC", "version": "2"},
        },
        "payload": {
            "signature": format!("0x{}1b", "ab".repeat(64)),
            "authorization": {
                "from": "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
                "to": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
                "value": "1000", "validAfter": "0", "validBefore": "1795197972",
                "nonce": format!("0x{}", "d1".repeat(32)),
            },
        },
    })
}

fn v1_payment() -> Value {
    json!({
        "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": v2_payment()["payload"],
    })
}

fn decoded(dialect: Dialect, json: &Value) -> Result<Payment, DecodeError> {
    decode_payment(dialect, encode_json(json).as_bytes())
}

/// The message for a v2 payment in which the value at `pointer` is replaced (or removed).
fn complaint(pointer: &str, replacement: Option<Value>) -> String {
    let mut payment = v2_payment();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = payment.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match replacement {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
    match decoded(Dialect::V2, &payment) {
        Err(DecodeError::Malformed(message)) => message,
        other => panic!("{pointer}: {other:?}"),
    }
}

#[test]
fn what_is_malformed_is_named() {
    let cases = [
        ("/x402Version", None, "x402Version: missing, expected a whole number that is not negative"),
        (
            "/x402Version",
            Some(json!("2")),
            "x402Version: expected a whole number that is not negative, found the string \"2\"",
        ),
        ("/accepted", None, "accepted: missing, expected an object"),
        (
            "/accepted/amount",
            Some(json!(1000)),
            "accepted.amount: expected a string of decimal digits, at most 2^256 - 1, found a number",
        ),
        (
            "/accepted/amount",
            Some(json!("0x10")),
            "accepted.amount: expected a string of decimal digits, at most 2^256 - 1, found the string \"0x10\"",
        ),
        (
            "/accepted/maxTimeoutSeconds",
            Some(json!(1.5)),
            "accepted.maxTimeoutSeconds: expected a whole number that is not negative, found a number",
        ),
        ("/accepted/extra", Some(json!([])), "accepted.extra: expected an object, found an array"),
        ("/payload", None, "payload: missing, expected an object"),
        ("/payload", Some(json!({})), "payload: empty, expected what was signed"),
        ("/payload", Some(json!(null)), "payload: expected an object, found null"),
        (
            "/payload/permit2Authorization",
            Some(json!({})),
            "payload: both authorization and permit2Authorization, expected one",
        ),
        ("/payload/transaction", Some(json!("AQ==")), "payload: both authorization and transaction, expected one"),
        ("/payload/authorization", Some(json!([])), "payload.authorization: expected an object, found an array"),
        (
            "/payload/authorization/from",
            Some(json!("0x90F7")),
            "payload.authorization.from: expected 0x and 40 hex digits, found the string \"0x90F7\"",
        ),
        (
            "/payload/authorization/to",
            Some(json!(true)),
            "payload.authorization.to: expected 0x and 40 hex digits, found a boolean",
        ),
        (
            "/payload/authorization/value",
            Some(json!(1000)),
            "payload.authorization.value: expected a string of decimal digits, at most 2^256 - 1, found a number",
        ),
        (
            "/payload/authorization/value",
            None,
            "payload.authorization.value: missing, expected a string of decimal digits, at most 2^256 - 1",
        ),
        (
            "/payload/authorization/validAfter",
            Some(json!("-1")),
            "payload.authorization.validAfter: expected Unix seconds as a string of decimal digits, at most 2^64 - 1, found the string \"-1\"",
        ),
        (
            "/payload/authorization/validBefore",
            Some(json!("18446744073709551616")),
            "payload.authorization.validBefore: expected Unix seconds as a string of decimal digits, at most 2^64 - 1, found the string \"18446744073709551616\"",
        ),
        (
            "/payload/authorization/validBefore",
            Some(json!(1.5)),
            "payload.authorization.validBefore: expected Unix seconds as a string of decimal digits, at most 2^64 - 1, found a number",
        ),
        (
            "/payload/authorization/nonce",
            Some(json!(format!("0x{}", "0".repeat(63)))),
            "payload.authorization.nonce: expected 0x and 64 hex digits, found a string of 65 bytes",
        ),
        (
            "/payload/authorization/nonce",
            Some(json!(format!("0x0x{}", "0".repeat(62)))),
            "payload.authorization.nonce: expected 0x and 64 hex digits, found a string of 66 bytes",
        ),
        (
            "/payload/signature",
            None,
            "payload.signature: missing, expected 0x and an even number of hex digits, 1 to 8192 bytes",
        ),
        (
            "/payload/signature",
            Some(json!("0x")),
            "payload.signature: expected 0x and an even number of hex digits, 1 to 8192 bytes, found the string \"0x\"",
        ),
        (
            "/payload/signature",
            Some(json!("0x123")),
            "payload.signature: expected 0x and an even number of hex digits, 1 to 8192 bytes, found the string \"0x123\"",
        ),
    ];
    for (pointer, replacement, expected) in cases {
        assert_eq!(complaint(pointer, replacement), expected, "{pointer}");
    }
}

#[test]
fn signatures_are_bounded() {
    let mut payment = v2_payment();
    for (bytes, fits) in [(1, true), (65, true), (8192, true), (8193, false)] {
        payment["payload"]["signature"] = json!(format!("0x{}", "ab".repeat(bytes)));
        assert_eq!(decoded(Dialect::V2, &payment).is_ok(), fits, "{bytes} bytes");
    }
}

#[test]
fn values_that_are_no_json_object_are_malformed() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "empty, expected base64 of a JSON object"),
        (b" \t ", "empty, expected base64 of a JSON object"),
        (b"!!!not base64!!!", "not base64: "),
        (b"\xff\xfe", "not base64: "),
        (b"aGVsbG8=", "base64, but not of the JSON expected: "),
        (b"bnVsbA==", "expected a JSON object, found null"),
        (b"W10=", "expected a JSON object, found an array"),
        (b"e30=", "x402Version: missing"),
    ];
    for (value, expected) in cases {
        match decode_payment(Dialect::V2, value) {
            Err(DecodeError::Malformed(message)) => assert!(message.starts_with(expected), "{message}"),
            other => panic!("{value:?}: {other:?}"),
        }
    }
    // As deep as serde_json goes, and one past it.
    for (depth, fits) in [(127, true), (128, false)] {
        let json = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let value = STANDARD.encode(json);
        assert_eq!(decode_json::<Value>(value.as_bytes()).is_ok(), fits, "{depth} deep");
    }
}

#[test]
fn another_version_is_told_from_a_malformed_payment() {
    let version = |dialect, json: &Value| decoded(dialect, json).map(|payment| payment.dialect);
    assert_eq!(version(Dialect::V1, &v1_payment()), Ok(Dialect::V1));
    assert_eq!(version(Dialect::V2, &v2_payment()), Ok(Dialect::V2));
    assert_eq!(version(Dialect::V2, &v1_payment()), Err(DecodeError::Version { found: 1, expected: 2 }));
    assert_eq!(version(Dialect::V1, &v2_payment()), Err(DecodeError::Version { found: 2, expected: 1 }));
    let third = json!({"x402Version": 3, "payload": null});
    assert_eq!(version(Dialect::V2, &third), Err(DecodeError::Version { found: 3, expected: 2 }));
}

#[test]
fn each_version_says_scheme_and_network_in_its_place() {
    let v1 = decoded(Dialect::V1, &v1_payment()).unwrap();
    assert_eq!((v1.scheme.as_str(), v1.network.as_str()), ("exact", "base-sepolia"));
    assert_eq!(v1.accepted, None);
    let v2 = decoded(Dialect::V2, &v2_payment()).unwrap();
    assert_eq!((v2.scheme.as_str(), v2.network.as_str()), ("exact", "eip155:84532"));
    assert_eq!(v2.accepted.unwrap().amount, Amount::from(1000));
    assert_eq!(v1.digest, v2.digest, "the same signed content");
}

/// A Solana transaction with one signature slot, in base64.
fn transaction(message: &str) -> String {
    STANDARD.encode([&[1][..], &[0; 64], message.as_bytes()].concat())
}

#[test]
fn one_transaction_is_one_payment_whatever_stands_beside_it() {
    let digest = |payload: Value| {
        let mut payment = v2_payment();
        payment["payload"] = payload;
        decoded(Dialect::V2, &payment).map(|payment| payment.digest)
    };
    let plain = digest(json!({"transaction": transaction("pay")})).unwrap();
    assert_eq!(digest(json!({"transaction": transaction("pay"), "junk": 1})), Ok(plain));
    assert_ne!(digest(json!({"transaction": transaction("pax")})), Ok(plain));
    assert!(matches!(digest(json!({"transaction": "AQ=="})), Err(DecodeError::Malformed(_))));
    assert!(matches!(digest(json!({"transaction": 1})), Err(DecodeError::Malformed(_))));
}

#[test]
fn anything_but_an_authorization_is_left_to_the_facilitator() {
    for payload in [json!({"transaction": transaction("pay")}), json!({"signature": "0x", "permit2Authorization": {}})]
    {
        let mut payment = v2_payment();
        payment["payload"] = payload.clone();
        let payment = decoded(Dialect::V2, &payment).unwrap();
        assert_eq!(payment.payload, Payload::Opaque(payload));
        assert_eq!(payment.payer(), None);
    }
}

#[test]
fn a_signature_is_not_shown_by_debug() {
    let payment = decoded(Dialect::V2, &v2_payment()).unwrap();
    let shown = format!("{payment:?} {:?}", payment.payload);
    assert!(shown.contains("authorization") && !shown.contains("abab"), "{shown}");
}

/// The same JSON with the keys of every object in reverse order, and white space.
fn respelled(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields = map.iter().rev().map(|(key, value)| format!("{} :\n{}", json!(key), respelled(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(" ,\t"))
        }
        Value::Array(items) => {
            format!("[ {} ]", items.iter().map(respelled).collect::<Vec<_>>().join(" , "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn payload() -> impl Strategy<Value = Value> {
    let signed =
        (any::<[u8; 32]>(), any::<u64>(), any::<u64>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 1..100));
    let eip3009 = signed.prop_map(|(nonce, value, seconds, numbers, signature)| {
        let time = if numbers { json!(seconds) } else { json!(seconds.to_string()) };
        let hex = |bytes: &[u8]| format!("0x{}", alloy::hex::encode(bytes));
        json!({
            "signature": hex(&signature),
            "authorization": {
                "from": hex(&nonce[..20]), "to": hex(&nonce[12..]), "value": value.to_string(),
                "validAfter": time, "validBefore": time, "nonce": hex(&nonce), "unknown": {"b": 1, "a": 2},
            },
        })
    });
    let opaque = (".{0,9}", ".{0,9}").prop_map(
        |(a, b)| json!({"transaction": transaction(&format!("m{a}")), "z": {"y": b, "x": [a, {"w": 1, "v": 2}]}}),
    );
    prop_oneof![eip3009, opaque]
}

proptest! {
    #[test]
    fn a_payment_reads_the_same_however_it_is_spelled(payload in payload()) {
        let mut payment = v2_payment();
        payment["payload"] = payload;
        let plain = decoded(Dialect::V2, &payment).unwrap();
        let json = respelled(&payment);
        for value in [
            STANDARD.encode(&json), STANDARD_NO_PAD.encode(&json), URL_SAFE.encode(&json),
            URL_SAFE_NO_PAD.encode(&json), format!(" \t{} ", STANDARD.encode(&json)),
        ] {
            let other = decode_payment(Dialect::V2, value.as_bytes()).unwrap();
            prop_assert_eq!(&other.payload, &plain.payload);
            prop_assert_eq!(&other.accepted, &plain.accepted);
            prop_assert_eq!(other.digest, plain.digest);
            prop_assert_eq!(&other.json, &payment);
        }
    }

    #[test]
    fn different_payments_have_different_digests(a in payload(), b in payload()) {
        // Of a Solana payload only the transaction is the payment.
        prop_assume!(a != b && (a["transaction"].is_null() || a["transaction"] != b["transaction"]));
        let digest = |payload: &Value| {
            let mut payment = v1_payment();
            payment["payload"] = payload.clone();
            decoded(Dialect::V1, &payment).unwrap().digest
        };
        prop_assert_ne!(digest(&a), digest(&b));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in ".{0,200}") {
        for dialect in [Dialect::V1, Dialect::V2] {
            let _ = decode_payment(dialect, &bytes);
            let _ = decode_payment(dialect, STANDARD.encode(&json).as_bytes());
        }
        let _ = decode_payment_required(&bytes);
        let _ = decode_settlement(&bytes);
    }
}

/// The ledger keeps a payment in what its facilitator was asked, one level deeper, and asks again from there.
#[test]
fn a_payment_that_could_not_be_read_back_is_malformed() {
    let with = |extra: String| {
        let mut json = v2_payment().to_string();
        json.truncate(json.len() - 1);
        decode_payment(Dialect::V2, STANDARD.encode(format!("{json},\"extra\":{extra}}}")).as_bytes())
    };
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    // The payment itself is a level.
    assert!(with(nested(125)).is_ok());
    assert_eq!(with(nested(126)).unwrap_err(), DecodeError::Malformed(NOT_KEPT.to_owned()));
    assert!(with("[0.1, 1e5, -0.0, 18446744073709551615]".to_owned()).is_ok());
}
