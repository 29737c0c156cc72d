//! The other commands, against a running gateway.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::gateway::BINARY;
use crate::support::{House, Request};

fn farebox(arguments: &[&str]) -> Output {
    let output = Command::new(BINARY).args(arguments).env_remove("FAREBOX_KEY").output();
    output.expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// In a thread of its own: the test's servers answer meanwhile.
async fn beside(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || farebox(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.expect("the command's thread")
}

#[tokio::test]
async fn pay_pays_in_both_versions_and_prints_what_it_got() {
    let house = House::with_route("").await;
    let url = format!("http://{}/paid/ok", house.gateway.address());
    for version in [None, Some("--v1")] {
        let mut arguments = vec!["pay", &url, "--yes", "--throwaway", "--json"];
        arguments.extend(version);
        let output = beside(&arguments).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let shown: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert_eq!(shown["status"], 200, "{shown}");
        assert_eq!(shown["body"], "ok", "{shown}");
    }
    assert_eq!(house.facilitator.charged(), 2);
}

#[tokio::test]
async fn pay_never_pays_more_than_it_may() {
    let house = House::build("", |setup| setup.route("dear", "/dear/*", "price = \"$2\"")).await;
    let url = format!("http://{}/dear/ok", house.gateway.address());
    for (limit, code, charged) in [(None, 1, 0), (Some("1.999999"), 1, 0), (Some("2"), 0, 1)] {
        let mut arguments = vec!["pay", &url, "--yes", "--throwaway"];
        arguments.extend(limit.iter().flat_map(|limit| ["--max", limit]));
        let output = beside(&arguments).await;
        assert_eq!(output.status.code(), Some(code), "{limit:?}: {}", text(&output.stderr));
        assert_eq!(house.facilitator.charged(), charged, "{limit:?}");
    }
}

#[tokio::test]
async fn the_demo_shows_one_payment_from_end_to_end() {
    let output = beside(&["demo", "--once", "--port", "0"]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    for part in ["402", "200", "PAYMENT-REQUIRED", "PAYMENT-RESPONSE"] {
        assert!(shown.to_uppercase().contains(part), "{part} in {shown}");
    }
}

#[tokio::test]
async fn check_and_explain_read_the_file_that_runs() {
    let house = House::with_route("").await;
    let config = house.gateway.config();
    let config = config.to_str().expect("a path in UTF-8");
    let check = farebox(&["check", config]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let explain = farebox(&["explain", "GET", "/free/../paid/ok", "--config", config]);
    assert_eq!(explain.status.code(), Some(0), "{}", text(&explain.stderr));
    let shown = text(&explain.stdout);
    assert!(shown.contains("paid") && shown.contains("10000"), "{shown}");
    assert_eq!(house.gateway.send(Request::get("/free/../paid/ok")).await.status, 402, "as it was explained");
}

#[tokio::test]
async fn the_ledger_is_summed_while_the_gateway_runs() {
    let house = House::with_route("").await;
    for _ in 0..3 {
        let payment = house.payment("/paid/ok").await;
        assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    }
    let config = house.gateway.config();
    let output = farebox(&["ledger", config.to_str().expect("a path"), "--sum", "route", "--json"]);
    let totals: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(totals[0]["group"], "paid", "{totals}");
    assert_eq!((&totals[0]["payments"], &totals[0]["amount"]), (&3.into(), &"30000".into()), "{totals}");
}
