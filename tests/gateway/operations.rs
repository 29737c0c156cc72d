//! What the operator sees: metrics, logs, health and status.

use serde_json::Value;

use crate::support::{Answer, House, Request, Settle, eventually};

#[tokio::test]
async fn metrics_count_what_happened() {
    let house = House::with_route("window = \"60s\"").await;
    let challenge = house.challenge("/paid/ok").await;
    let payment = house.payer.pay_v2(&challenge);
    let paid = house.redeem("/paid/ok", &payment).await;
    let pass = paid.header("farebox-pass").expect("a pass").to_owned();
    house.redeem("/paid/ok", &payment).await;
    house.gateway.send(Request::get("/paid/ok").header("farebox-pass", pass)).await;
    let tampered = house.payer.pay_v2(&challenge).with("/payload/authorization/value", "1".into());
    house.redeem("/paid/ok", &tampered).await;
    house.gateway.send(Request::get("/paid/ok").header("X-PAYMENT", "!")).await;
    house.gateway.send(Request::get("/free/ok")).await;
    house.gateway.send(Request::get("/none")).await;
    house.gateway.send(Request::get("/paid/..%2f..%2fetc")).await;
    house.facilitator.on_settle(Settle::MovedBut(Answer::Cut));
    house.redeem("/paid/ok", &house.payer.pay_v2(&challenge)).await;

    // A request is counted when it has ended, which its client may know a moment before the counter does.
    let requests = |outcome: &'static str| ("farebox_requests_total", vec![("route", "paid"), ("outcome", outcome)]);
    let expected = [
        (requests("challenge"), 1.0),
        (requests("paid"), 1.0),
        (requests("window"), 2.0),
        (requests("refused"), 1.0),
        (requests("malformed"), 1.0),
        (requests("pending"), 1.0),
        (("farebox_requests_total", vec![("route", "free"), ("outcome", "free")]), 1.0),
        (("farebox_requests_total", vec![("outcome", "unmatched")]), 1.0),
        (("farebox_requests_total", vec![("outcome", "bad_target")]), 1.0),
        (("farebox_challenges_total", vec![("route", "paid")]), 2.0),
        (
            (
                "farebox_payments_refused_total",
                vec![("route", "paid"), ("reason", "invalid_exact_evm_payload_authorization_value_mismatch")],
            ),
            1.0,
        ),
        (("farebox_settlements_total", vec![("route", "paid"), ("outcome", "settled")]), 1.0),
        (("farebox_settlements_total", vec![("route", "paid"), ("outcome", "unknown")]), 1.0),
        (("farebox_revenue_atomic_total", vec![("route", "paid"), ("network", "eip155:84532")]), 10_000.0),
        (("farebox_window_hits_total", vec![("route", "paid"), ("by", "payment")]), 1.0),
        (("farebox_window_hits_total", vec![("route", "paid"), ("by", "pass")]), 1.0),
        (("farebox_unsettled_payments", vec![("state", "unknown")]), 1.0),
        (("farebox_in_flight_requests", vec![]), 0.0),
        (("farebox_facilitator_duration_seconds_count", vec![("operation", "verify")]), 2.0),
        (("farebox_facilitator_duration_seconds_count", vec![("operation", "settle")]), 2.0),
    ];
    for ((name, labels), value) in expected {
        eventually(&format!("{name}{labels:?} {value}"), async || {
            (house.gateway.metrics().await.sum(name, &labels) == value).then_some(())
        })
        .await;
    }
    let metrics = house.gateway.metrics().await;
    for name in [
        "farebox_upstream_duration_seconds_count",
        "farebox_gateway_duration_seconds_count",
        "farebox_ledger_operation_duration_seconds_count",
        "farebox_unsettled_oldest_age_seconds",
        "farebox_config_info",
        "farebox_config_last_reload_success_timestamp_seconds",
        "farebox_build_info",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.has(name), "{name} is exported");
    }
}

#[tokio::test]
async fn nothing_that_a_client_chooses_becomes_a_label() {
    let house = House::with_route("").await;
    let before: std::collections::BTreeSet<String> =
        house.gateway.metrics().await.label_values().map(str::to_owned).collect();
    for number in 0..5 {
        let odd = format!("zebra{number}");
        house.gateway.send(Request::new(&odd.to_uppercase(), &format!("/{odd}?{odd}")).header("Host", &odd)).await;
        house.gateway.send(Request::get(&format!("/paid/{odd}")).header("X-PAYMENT", &odd)).await;
        house.gateway.send(Request::get(&format!("/free/{odd}")).header("User-Agent", &odd)).await;
        let payment = house.payment("/paid/ok").await.with("/accepted/network", odd.as_str().into());
        house.redeem("/paid/ok", &payment).await;
    }
    let after = house.gateway.metrics().await;
    let new: Vec<&str> = after.label_values().filter(|value| !before.contains(*value)).collect();
    assert!(!new.iter().any(|value| value.to_lowercase().contains("zebra")), "{new:?}");
}

#[tokio::test]
async fn each_request_writes_one_structured_line() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    house.gateway.send(Request::get("/paid/ok?token=s3cret").paid(&payment)).await;
    house.gateway.send(Request::get("/none")).await;
    let id = house.gateway.only_entry().id().to_owned();
    house.gateway.says("\"unmatched\"").await;
    house.gateway.says(&id).await;

    let stderr = house.gateway.stderr();
    let lines: Vec<Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: no JSON: {line}")))
        .collect();
    let access: Vec<&Value> = lines.iter().filter(|line| line["target"] == "farebox::access").collect();
    assert_eq!(access.len(), 3, "one a request: {stderr}");
    let field = |line: &Value, name: &str| -> Value {
        let nested = &line["fields"][name];
        if nested.is_null() { line[name].clone() } else { nested.clone() }
    };
    let paid = access.iter().find(|line| field(line, "outcome") == "paid").expect("the paid one");
    for (name, value) in [
        ("method", Value::from("GET")),
        ("path", "/paid/ok".into()),
        ("route", "paid".into()),
        ("status", 200.into()),
        ("payment_id", id.into()),
        ("network", "eip155:84532".into()),
    ] {
        assert_eq!(field(paid, name), value, "{name} in {paid}");
    }
    assert!(!stderr.contains("s3cret"), "queries can hold secrets");
}

#[tokio::test]
async fn neither_a_signature_nor_a_pass_is_ever_written() {
    let house = House::build("window = \"60s\"", |setup| setup.sections("[log]\nlevel = \"trace\"")).await;
    let challenge = house.challenge("/paid/ok").await;
    let good = house.payer.pay_v2(&challenge);
    let first = house.redeem("/paid/ok", &good).await;
    let pass = first.header("farebox-pass").expect("a pass").to_owned();
    house.gateway.send(Request::get("/paid/ok").header("farebox-pass", &pass)).await;
    house.gateway.send(Request::get("/paid/ok").header("farebox-pass", format!("{pass}A"))).await;
    let broken = house.payer.pay_v2(&challenge);
    house.facilitator.on_settle(Settle::MovedBut(Answer::text(500, &broken.json.to_string())));
    house.redeem("/paid/ok", &broken).await;
    let refused = house.payer.pay_v1(&challenge);
    house.upstream.queue(Answer::text(500, "broken"));
    house.redeem("/paid/ok", &refused).await;
    let malformed = house.payer.pay_v2(&challenge).with("/payload/authorization/nonce", "0x12".into());
    house.redeem("/paid/ok", &malformed).await;
    house.gateway.sigterm();
    house.gateway.wait_exit().await;

    let stderr = house.gateway.stderr();
    for (what, payment) in [("settled", &good), ("unknown", &broken), ("released", &refused), ("malformed", &malformed)]
    {
        let signature = payment.signature().trim_start_matches("0x");
        assert!(!stderr.contains(signature), "the signature of the {what} payment is in the log");
        assert!(!stderr.contains(&payment.header().1), "the header of the {what} payment is in the log");
    }
    let mac = pass.rsplit('.').next().expect("a mac");
    assert!(!stderr.contains(mac), "the pass is in the log");
    assert!(stderr.contains("farebox::access"), "the log is not empty");
}

#[tokio::test]
async fn health_readiness_and_status_are_told() {
    let house = House::with_route("").await;
    assert_eq!(house.gateway.ask(Request::get("/healthz")).await.status, 200);
    assert_eq!(house.gateway.ask(Request::get("/readyz")).await.status, 200);
    let payment = house.payment("/paid/ok").await;
    house.redeem("/paid/ok", &payment).await;
    let status = eventually("the payment in the counts", async || {
        let status = house.gateway.status().await;
        status.to_string().contains("\"settled\":1").then_some(status)
    })
    .await;
    let text = status.to_string();
    for part in ["main", "api", "paid"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(house.gateway.ask(Request::get("/nothing")).await.status, 404);
    assert_eq!(house.gateway.ask(Request::get("/reload")).await.status, 405);
}

#[tokio::test]
async fn the_operators_pages_are_not_on_the_clients_listener() {
    let house = House::with_route("").await;
    for path in ["/metrics", "/status", "/readyz", "/healthz"] {
        assert_eq!(house.gateway.send(Request::get(path)).await.status, 404, "{path}");
    }
    assert_eq!(house.gateway.send(Request::post("/reload", "")).await.status, 404);
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_reload() {
    let house = House::with_route("").await;
    let foreign = Request::post("/reload", "").header("Origin", "https://evil.example");
    assert_eq!(house.gateway.ask(foreign).await.status / 100, 4);
    let rebound = Request::post("/reload", "").header("Host", "evil.example");
    assert_eq!(house.gateway.ask(rebound).await.status / 100, 4);
}
