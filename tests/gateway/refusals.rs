//! Payments that are well-formed but wrong: 402, the terms again, x402's code, and nobody asked.

use alloy::primitives::{Address, Bytes, U256};
use farebox::money::Amount;
use farebox::x402::Dialect;
use serde_json::{Value, json};

use crate::support::payer::{Draft, now};
use crate::support::{Challenge, House, Payer, Payment, Response};

const VALUE: &str = "invalid_exact_evm_payload_authorization_value_mismatch";
const RECIPIENT: &str = "invalid_exact_evm_recipient_mismatch";
const AFTER: &str = "invalid_exact_evm_payload_authorization_valid_after";
const BEFORE: &str = "invalid_exact_evm_payload_authorization_valid_before";
const SIGNATURE: &str = "invalid_exact_evm_signature";
const TERMS: &str = "invalid_payment_requirements";
const NETWORK: &str = "invalid_network";
const SCHEME: &str = "unsupported_scheme";
const VERSION: &str = "invalid_x402_version";

type Change = fn(&mut Draft);

/// Changed before signing, so that the signature holds.
const SIGNED: [(&str, Change, &str); 11] = [
    ("one unit too little", |draft| draft.authorization.value = Amount::from(9_999_u64), VALUE),
    ("one unit too much", |draft| draft.authorization.value = Amount::from(10_001_u64), VALUE),
    ("nothing", |draft| draft.authorization.value = Amount::ZERO, VALUE),
    ("2^256 - 1 units", |draft| draft.authorization.value = Amount::from(U256::MAX), VALUE),
    ("to somebody else", |draft| draft.authorization.to = Address::repeat_byte(7), RECIPIENT),
    ("expired", |draft| draft.authorization.valid_before = now() - 10, BEFORE),
    ("too near its end to be settled", |draft| draft.authorization.valid_before = now() + 1, BEFORE),
    ("not yet valid", |draft| draft.authorization.valid_after = now() + 3600, AFTER),
    ("signed for another chain", |draft| draft.chain_id = 1, SIGNATURE),
    ("signed for another token", |draft| draft.asset = Address::repeat_byte(7), SIGNATURE),
    ("signed under the name that Base has", |draft| draft.domain.name = "USD Coin".into(), SIGNATURE),
];

/// Changed after signing, in either version.
const TAMPERED: [(&str, &str, &str, &str); 5] = [
    ("value", "/payload/authorization/value", "1", VALUE),
    ("recipient", "/payload/authorization/to", "0x0707070707070707070707070707070707070707", RECIPIENT),
    ("payer", "/payload/authorization/from", "0x0707070707070707070707070707070707070707", SIGNATURE),
    (
        "nonce",
        "/payload/authorization/nonce",
        "0x0707070707070707070707070707070707070707070707070707070707070707",
        SIGNATURE,
    ),
    ("validAfter", "/payload/authorization/validAfter", "1", SIGNATURE),
];

#[tokio::test]
async fn a_payment_that_does_not_pay_the_price_is_refused_with_its_code() {
    let court = Court::open().await;
    for dialect in [Dialect::V2, Dialect::V1] {
        for (what, change, code) in SIGNED {
            let mut draft = court.draft(dialect);
            change(&mut draft);
            court.refuses(what, draft.sign(&court.house.payer), code).await;
        }
    }
    court.has_asked_nobody();
}

#[tokio::test]
async fn a_payment_that_was_changed_after_signing_is_refused() {
    let court = Court::open().await;
    for dialect in [Dialect::V2, Dialect::V1] {
        for (what, pointer, value, code) in TAMPERED {
            let payment = court.draft(dialect).sign(&court.house.payer).with(pointer, value.into());
            court.refuses(what, payment, code).await;
        }
    }
    court.has_asked_nobody();
}

#[tokio::test]
async fn terms_that_were_never_offered_are_refused() {
    let court = Court::open().await;
    let v2: [(&str, &str, Value, &str); 7] = [
        ("a lower amount", "/accepted/amount", "1".into(), TERMS),
        ("another recipient", "/accepted/payTo", "0x0707070707070707070707070707070707070707".into(), TERMS),
        ("another asset", "/accepted/asset", "0x0707070707070707070707070707070707070707".into(), TERMS),
        ("more time", "/accepted/maxTimeoutSeconds", 86_400.into(), TERMS),
        ("another token name", "/accepted/extra/name", "USD Coin".into(), TERMS),
        ("another network", "/accepted/network", "eip155:8453".into(), NETWORK),
        ("another scheme", "/accepted/scheme", "upto".into(), SCHEME),
    ];
    for (what, pointer, value, code) in v2 {
        let payment = court.draft(Dialect::V2).sign(&court.house.payer).with(pointer, value);
        court.refuses(what, payment, code).await;
    }
    let v1: [(&str, &str, Value, &str); 2] = [
        ("another network in v1", "/network", "base".into(), NETWORK),
        ("another scheme in v1", "/scheme", "upto".into(), SCHEME),
    ];
    for (what, pointer, value, code) in v1 {
        let payment = court.draft(Dialect::V1).sign(&court.house.payer).with(pointer, value);
        court.refuses(what, payment, code).await;
    }
    court.has_asked_nobody();
}

#[tokio::test]
async fn a_version_that_its_header_does_not_carry_is_refused() {
    let court = Court::open().await;
    for (dialect, version) in [(Dialect::V2, 3), (Dialect::V2, 1), (Dialect::V1, 2), (Dialect::V1, 0)] {
        let payment = court.draft(dialect).sign(&court.house.payer).with("/x402Version", version.into());
        court.refuses(&format!("version {version} as {dialect:?}"), payment, VERSION).await;
    }
    court.has_asked_nobody();
}

#[tokio::test]
async fn signatures_that_are_nobodys_or_somebody_elses_are_refused() {
    let court = Court::open().await;
    let draft = court.draft(Dialect::V2);
    let honest: Bytes = draft.sign(&court.house.payer).signature().parse().expect("hex");
    let mut wrong_parity = honest.to_vec();
    wrong_parity[64] = 55 - wrong_parity[64];
    let signatures: [(&str, Bytes); 5] = [
        ("somebody else's", draft.sign(&Payer::new()).signature().parse().expect("hex")),
        ("zeros", vec![0; 65].into()),
        ("ones", vec![0xff; 65].into()),
        ("the wrong parity", wrong_parity.into()),
        // The chain refuses it, and the same payment would have a second spelling.
        ("the mirrored s", mirrored(&honest)),
    ];
    for (what, signature) in signatures {
        court.refuses(what, draft.with_signature(&signature), SIGNATURE).await;
    }
    court.has_asked_nobody();
    assert_eq!(court.house.redeem("/paid/ok", &draft.with_signature(&honest)).await.status, 200, "the honest one");
}

#[tokio::test]
async fn a_refusal_costs_the_client_nothing() {
    let court = Court::open().await;
    let payment = court.draft(Dialect::V2).sign(&court.house.payer);
    court.refuses("tampered", payment.clone().with("/payload/authorization/value", "1".into()), VALUE).await;
    assert_eq!(court.house.redeem("/paid/ok", &payment).await.status, 200, "the same nonce, honestly");
}

#[tokio::test]
async fn a_payment_for_a_dearer_route_or_a_cheaper_one_opens_neither_other() {
    let house = House::build("", |setup| setup.route("dear", "/dear/*", "price = \"$5\"")).await;
    let (cheap, dear) = (house.payment("/paid/ok").await, house.payment("/dear/ok").await);
    for (path, payment) in [("/dear/ok", &cheap), ("/paid/ok", &dear)] {
        let response = house.redeem(path, payment).await;
        assert_eq!((response.status, response.error().as_str()), (402, TERMS), "{path}");
    }
    assert_eq!((house.upstream.count(), house.facilitator.charged()), (0, 0));
}

/// A gateway and the terms of its priced route.
struct Court {
    house: House,
    challenge: Challenge,
}

impl Court {
    async fn open() -> Court {
        let house = House::with_route("").await;
        let challenge = house.challenge("/paid/ok").await;
        Court { house, challenge }
    }

    fn draft(&self, dialect: Dialect) -> Draft {
        self.house.payer.draft(&self.challenge, dialect)
    }

    async fn refuses(&self, what: &str, payment: Payment, code: &str) {
        let response = self.house.redeem("/paid/ok", &payment).await;
        assert_refused(what, &response, payment.dialect, code);
        let again = Challenge::of(&response);
        assert_eq!(again.v2["accepts"], self.challenge.v2["accepts"], "{what}: the terms again");
        assert_eq!(again.v1["accepts"], self.challenge.v1["accepts"], "{what}: the terms again");
    }

    fn has_asked_nobody(&self) {
        assert_eq!(self.house.facilitator.calls(), (0, 0), "a local refusal asks no facilitator");
        assert_eq!(self.house.upstream.count(), 0);
        assert!(self.house.gateway.ledger().is_empty(), "a local refusal writes nothing");
    }
}

fn assert_refused(what: &str, response: &Response, dialect: Dialect, code: &str) {
    assert_eq!(response.status, 402, "{what}: {response:?}");
    let challenge = Challenge::of(response);
    assert_eq!(challenge.v1["error"], code, "{what}");
    assert_eq!(challenge.v2["error"], code, "{what}");
    let (own, other) = match dialect {
        Dialect::V1 => (response.settlement_v1(), response.settlement()),
        Dialect::V2 => (response.settlement(), response.settlement_v1()),
    };
    let own = own.unwrap_or_else(|| panic!("{what}: no settlement header"));
    assert_eq!((&own["success"], &own["errorReason"]), (&json!(false), &json!(code)), "{what}");
    assert_eq!(own["transaction"], "", "{what}");
    assert!(other.is_none(), "{what}: answered in the caller's version");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{what}");
}

/// The other signature over the same digest: `n - s` and the other parity.
fn mirrored(signature: &Bytes) -> Bytes {
    let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().expect("hex");
    let s = U256::from_be_slice(&signature[32..64]);
    let mut mirrored = signature.to_vec();
    mirrored[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    mirrored[64] = 55 - mirrored[64];
    mirrored.into()
}
