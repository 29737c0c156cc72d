//! What reference sellers were asked and answered, and what Farebox answers to the same.

mod differences;
mod recording;

use std::path::Path;
use std::sync::Arc;

use farebox::x402::Dialect;
use futures::future::join_all;
use serde_json::{Value, json};

use self::differences::{Findings, declared};
use self::recording::{Answer, Payers, Recording, recordings};
use crate::support::server::{self, Handler, Incoming, Server};
use crate::support::setup::PAY_TO;
use crate::support::{FakeFacilitator, Gateway, Setup, Verify};

const TABLE: &str = include_str!("../../golden/reference/differences.toml");

/// Read by the page on interoperability.
const PAGE: &str = "tests/interop/golden/differences.md";

/// Rewrites the page instead of comparing it.
const BLESS: &str = "FAREBOX_BLESS";

/// A gateway that sells what a reference seller sold.
struct Shop {
    gateway: Gateway,
    facilitator: FakeFacilitator,
    _backend: Server,
    payers: Payers,
}

impl Shop {
    async fn open(dialect: Dialect) -> Shop {
        let backend = Server::start(backend(dialect)).await;
        let facilitator = FakeFacilitator::start().await;
        let seconds = match dialect {
            Dialect::V1 => 60,
            Dialect::V2 => 300,
        };
        let way = format!(
            "[pay.recorded]\nnetwork = \"base-sepolia\"\nasset = \"USDC\"\npay_to = \"{PAY_TO}\"\n\
             facilitators = [\"main\"]\nmax_timeout = \"{seconds}s\"\n"
        );
        let setup = Setup::at(backend.address, &format!("url = \"http://{}\"", facilitator.address()));
        let mut setup = setup.sections(&way).route("free", "/free", "price = \"free\"");
        for (name, method, price, keys) in [
            ("weather", "GET", "0.001", "description = \"Weather report\"\nmime_type = \"application/json\""),
            ("echo", "POST", "0.002", "description = \"Echo\"\nmime_type = \"application/json\""),
            ("broken", "GET", "0.001", "description = \"Handler answers 500 after payment was verified\""),
            ("bazaar", "GET", "0.001", "description = \"with bazaar metadata\""),
            ("paid-id", "GET", "0.001", ""),
        ] {
            let keys = format!("methods = [\"{method}\"]\nprice = {{ recorded = \"{price}\" }}\n{keys}");
            setup = setup.route(name, &format!("/{name}"), &keys);
        }
        Shop { gateway: Gateway::start(setup).await, facilitator, _backend: backend, payers: Payers::default() }
    }

    /// Sends every request in the order of the recording. What was sent at once is sent at once, and the winner's
    /// answer stands beside the winner's.
    async fn ask(&mut self, recordings: &[Recording]) -> Vec<(Recording, Answer)> {
        let mut asked = Vec::new();
        for group in recordings.chunk_by(|a, b| a.is_race() && b.is_race()) {
            if let Some(code) = facilitators_word(&group[0]) {
                self.facilitator.on_verify(Verify::Invalid(code));
            }
            let requests: Vec<_> = group.iter().map(|recording| recording.request(&mut self.payers)).collect();
            let responses = join_all(requests.into_iter().map(|request| self.gateway.send(request))).await;
            let mut answers: Vec<_> = responses.iter().map(|response| Answer::of(response, &self.payers)).collect();
            let mut group = group.to_vec();
            answers.sort_by_key(|answer| answer.status);
            group.sort_by_key(|recording| recording.answer.status);
            asked.extend(group.into_iter().zip(answers));
        }
        asked
    }
}

/// What the recorded facilitator said of a payment that only a facilitator can judge.
fn facilitators_word(recording: &Recording) -> Option<&'static str> {
    match recording.name.split_once('-')?.1 {
        "malformed-signature" => Some("invalid_exact_evm_signature"),
        "insufficient-funds" => Some("invalid_exact_evm_insufficient_balance"),
        _ => None,
    }
}

/// The handlers behind the reference sellers' paywalls.
fn backend(dialect: Dialect) -> Handler {
    Arc::new(move |incoming: Incoming| {
        Box::pin(async move {
            let path = incoming.target.split('?').next().unwrap_or_default();
            match (dialect, path) {
                (_, "/weather" | "/bazaar" | "/paid-id") => {
                    answer(200, &json!({"report": {"weather": "sunny", "temperature": 70}}))
                }
                (_, "/echo") => {
                    let body: Value = serde_json::from_slice(&incoming.body).expect("JSON");
                    answer(200, &json!({ "echo": body }))
                }
                (_, "/broken") => answer(500, &json!({"error": "boom"})),
                (Dialect::V2, "/free") => answer(200, &json!({"free": true})),
                // The v1 seller had none.
                _ => full(404, "text/html; charset=utf-8", "<!DOCTYPE html>".into()),
            }
        })
    })
}

fn answer(status: u16, json: &Value) -> server::Answer {
    full(status, "application/json; charset=utf-8", json.to_string())
}

fn full(status: u16, content_type: &str, body: String) -> server::Answer {
    server::Answer::Full { status, headers: vec![("Content-Type", content_type.into())], body: body.into_bytes() }
}

/// One 402 says the same to both versions' clients, and a refusal says it again in the settlement.
fn assert_consistent(name: &str, answer: &Answer) {
    let Some(v2) = answer.challenge.as_ref().filter(|_| answer.body != "") else { return };
    let v1 = &answer.body;
    assert_eq!((&v2["x402Version"], &v1["x402Version"]), (&json!(2), &json!(1)), "{name}");
    let entries = v2["accepts"].as_array().expect("v2 terms").iter().map(|offer| {
        json!({
            "scheme": offer["scheme"],
            "network": "base-sepolia",
            "maxAmountRequired": offer["amount"],
            "resource": v2["resource"]["url"],
            "description": v2["resource"]["description"],
            "mimeType": v2["resource"]["mimeType"],
            "payTo": offer["payTo"],
            "maxTimeoutSeconds": offer["maxTimeoutSeconds"],
            "asset": offer["asset"],
            "extra": offer["extra"],
        })
    });
    assert_eq!(v1["accepts"], entries.collect::<Value>(), "{name}");
    if v1["error"] != "X-PAYMENT header is required" {
        assert_eq!(v2["error"], v1["error"], "{name}");
        let settlement = answer.settlement.as_ref().expect("a settlement beside a refusal");
        assert_eq!((&settlement["success"], &settlement["errorReason"]), (&json!(false), &v1["error"]), "{name}");
        assert_eq!(settlement["transaction"], "", "{name}");
    }
}

#[tokio::test]
async fn every_recorded_request_is_answered_as_by_the_reference_seller_or_better_for_a_reason() {
    let mut findings = Findings::new(declared(TABLE));
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut shop = Shop::open(dialect).await;
        let asked = shop.ask(&recordings(dialect)).await;
        let mut settled = 0;
        for (recording, answer) in &asked {
            assert_consistent(&recording.name, answer);
            settled += usize::from(answer.settlement.as_ref().is_some_and(|settlement| settlement["success"] == true));
            findings.add(dialect, recording, answer);
        }
        assert_eq!(settled, shop.facilitator.charged(), "who was charged was told so");
    }
    let faults = findings.faults();
    assert!(faults.is_empty(), "tests/golden/reference/differences.toml:\n{}", faults.join("\n"));

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let made = findings.markdown();
    if std::env::var_os(BLESS).is_some() {
        std::fs::create_dir_all(page.parent().expect("a folder")).expect("a folder for the page");
        std::fs::write(&page, &made).expect("the page written");
    }
    let page = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(page == made, "{PAGE} is not what was found: set {BLESS}=1 to write it anew");
}

#[test]
fn what_the_table_lacks_and_what_it_has_in_vain_are_faults() {
    let recordings = recordings(Dialect::V2);
    let paid = recordings.iter().find(|recording| recording.name == "07-paid-ok").expect("a paid request");
    let refused = recordings.iter().find(|recording| recording.name == "10-bad-signature").expect("a refused request");
    type Change = fn(&mut Answer);
    let changes: [(&Recording, Change); 8] = [
        (paid, |answer| answer.status = 201),
        (paid, |answer| answer.content_type = None),
        (paid, |answer| answer.cache_control = Some("public".into())),
        (paid, |answer| answer.body["report"]["temperature"] = json!(71)),
        (paid, |answer| answer.settlement.as_mut().expect("a settlement")["payer"] = json!(PAY_TO)),
        (paid, |answer| answer.settlement.as_mut().expect("a settlement")["transaction"] = json!("")),
        (refused, |answer| answer.challenge.as_mut().expect("terms")["accepts"][0]["amount"] = json!("999")),
        (refused, |answer| answer.challenge.as_mut().expect("terms")["accepts"] = json!([])),
    ];
    for (index, (recording, change)) in changes.into_iter().enumerate() {
        let mut changed = recording.answer.clone();
        change(&mut changed);
        let mut findings = Findings::new(Vec::new());
        findings.add(Dialect::V2, recording, &changed);
        assert_eq!(findings.faults().len(), 1, "change {index}: {:?}", findings.faults());
    }

    let entry = |cases: &str| {
        let text = format!(
            "[[difference]]\nwhen = ''\nwhat = 'cache-control'\nreference = 'private'\nfarebox = 'pub…'\nwhy = ''\n{cases}"
        );
        declared(&text)
    };
    let mut public = paid.answer.clone();
    public.cache_control = Some("public".into());
    for (cases, answer, faults) in [
        ("", &public, 0),
        ("cases = ['v2/07-paid-ok']", &public, 0),
        ("cases = ['v2/07-paid-ok', 'v2/06-free']", &public, 1),
        ("cases = ['v2/06-free']", &public, 2),
        ("", &paid.answer, 1),
    ] {
        let mut findings = Findings::new(entry(cases));
        findings.add(Dialect::V2, paid, answer);
        assert_eq!(findings.faults().len(), faults, "{cases}: {:?}", findings.faults());
    }
}
