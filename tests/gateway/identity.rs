//! What the upstream is told can be proved to come from the gateway: with the verifier that the documentation has.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::server::Incoming;
use crate::support::{House, Request};

const SECRET: &str = "the-secret-that-both-of-them-know-0";
const OLD: &str = "the-secret-that-is-on-its-way-out-0";

/// The one block of Python in docs/identity.md.
fn verifier() -> &'static str {
    let document = include_str!("../../docs/identity.md");
    let mut blocks = document.split("```python\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let (code, _) = blocks.next().expect("a verifier in docs/identity.md");
    assert!(blocks.next().is_none(), "one verifier");
    code
}

/// What the documentation's verifier says of each case.
fn verify(cases: &[Value]) -> Vec<bool> {
    let program = format!(
        "{}\nimport json, sys\nprint(json.dumps([came_through_farebox(case.pop('secret').encode(), **case) \
         for case in json.load(sys.stdin)]))",
        verifier()
    );
    let mut python = Command::new("python3")
        .args(["-I", "-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let input = serde_json::to_vec(cases).expect("JSON");
    python.stdin.take().expect("its input").write_all(&input).expect("the cases written");
    let output = python.wait_with_output().expect("its end");
    assert!(output.status.success(), "the verifier failed");
    serde_json::from_slice(&output.stdout).expect("a list")
}

/// A request as its upstream would hand it to the verifier.
fn case(secret: &str, request: &Incoming) -> Value {
    let headers: Vec<(&str, &str)> =
        request.headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    json!({ "secret": secret, "method": request.method, "target": request.target, "headers": headers })
}

fn with_secret(key: &str) -> impl FnOnce(crate::support::Setup) -> crate::support::Setup {
    let key = format!("upstream_secret = {key}");
    move |setup| setup.server(&key)
}

#[tokio::test]
async fn each_forwarded_request_proves_that_it_came_through_the_gateway() {
    let house = House::build("window = \"60s\"", with_secret(&format!("\"{SECRET}\""))).await;
    let payment = house.payment("/paid/ok").await;
    let paid = house.redeem("/paid/ok?q=1&q=%20", &payment).await;
    let pass = paid.header("farebox-pass").expect("a pass").to_owned();
    house.gateway.send(Request::get("/paid/b?x").header("farebox-pass", &pass)).await;
    house.redeem("/paid/../paid//%63", &payment).await;
    house.gateway.send(Request::post("/free/ok", "body").header("farebox-signature", "t=1,v1=00")).await;
    house.gateway.send(Request::get("/free/ok").header("farebox_signature", "forged")).await;

    let requests = house.upstream.reached(5).await;
    assert_eq!(requests[2].target, "/paid/c", "what is signed is what is forwarded");
    for request in &requests {
        assert_eq!(request.headers.all("farebox-signature").len(), 1, "{request:?}");
    }
    let cases: Vec<Value> = requests.iter().map(|request| case(SECRET, request)).collect();
    assert_eq!(verify(&cases), [true; 5]);
}

#[tokio::test]
async fn what_was_changed_on_the_way_or_is_old_proves_nothing() {
    let house = House::build("", with_secret(&format!("\"{SECRET}\""))).await;
    let payment = house.payment("/paid/ok").await;
    house.redeem("/paid/ok?q=1", &payment).await;
    let good = case(SECRET, &house.upstream.only_request());
    let changed = |change: fn(&mut Value)| {
        let mut case = good.clone();
        change(&mut case);
        assert_ne!(case, good);
        case
    };
    let headers = |case: &mut Value| case["headers"].as_array().expect("headers").clone();
    let edit = |name: &str, edit: &dyn Fn(&str) -> Option<String>| {
        let mut case = good.clone();
        let edited: Vec<Value> = headers(&mut case)
            .into_iter()
            .filter_map(|pair| match pair[0].as_str() {
                Some(found) if found.eq_ignore_ascii_case(name) => {
                    edit(pair[1].as_str().expect("a value")).map(|value| json!([found, value]))
                }
                _ => Some(pair),
            })
            .collect();
        assert_ne!(edited, headers(&mut case), "{name} is there");
        case["headers"] = edited.into();
        case
    };
    let cases = [
        changed(|case| case["secret"] = OLD.into()),
        changed(|case| case["method"] = "POST".into()),
        changed(|case| case["target"] = "/paid/ok?q=2".into()),
        changed(|case| case["target"] = "/paid/ok".into()),
        changed(|case| case["headers"].as_array_mut().unwrap().push(json!(["Farebox-Transaction", "0x1"]))),
        edit("farebox-payer", &|_| Some("0x0000000000000000000000000000000000000001".into())),
        edit("farebox-amount", &|amount| Some(format!("{amount}0"))),
        edit("farebox-payment-id", &|_| None),
        edit("farebox-signature", &|_| None),
        edit("farebox-signature", &|_| Some("forged".into())),
        edit("farebox-signature", &|value| value.split_once(",v1=").map(|(signed_at, _)| format!("{signed_at},v1="))),
        // Another time than the one that was signed, and one that was signed long ago.
        edit("farebox-signature", &|value| Some(value.replace("t=1", "t=2"))),
        edit("farebox-signature", &|value| Some(value.replace("t=", "t=-"))),
        edit("farebox-signature", &|value| {
            value.split_once(',').map(|(_, signatures)| format!("t=1000000000,{signatures}"))
        }),
    ];
    assert_eq!(verify(std::slice::from_ref(&good)), [true]);
    assert_eq!(verify(&cases), [false; 14]);
    // A part that a later version may add is passed over.
    assert_eq!(verify(&[edit("farebox-signature", &|value| Some(format!("{value},v9=00")))]), [true]);
}

#[tokio::test]
async fn an_old_signature_of_the_right_secret_proves_nothing() {
    // The documentation's example is of the right secret, and signed in November 2026.
    let document = include_str!("../../docs/identity.md");
    let mut values = document.lines().filter_map(|line| line.trim().strip_prefix("farebox-signature: "));
    let signature = values.find(|value| !value.contains('<')).expect("an example");
    let case = |max_age: u64| {
        json!({
            "secret": "an-example-secret-of-32-bytes-00",
            "method": "GET",
            "target": "/v1/premium?q=1",
            "headers": [
                ["Farebox-Signature", signature],
                ["Farebox-Route", "premium"],
                ["X-Other", "is not signed"],
                ["Farebox-Payer", "0x90F79bf6EB2c4f870365E785982E1f101E93b906"],
                ["Farebox-Amount", "10000"],
            ],
            "max_age": max_age,
        })
    };
    assert_eq!(verify(&[case(10_000_000_000), case(1)]), [true, false]);
}

#[tokio::test]
async fn a_secret_is_changed_without_a_request_that_nobody_believes() {
    let house = House::build("", with_secret(&format!("\"{OLD}\""))).await;
    house.gateway.send(Request::get("/free/ok")).await;
    for secrets in [format!("[\"{SECRET}\", \"{OLD}\"]"), format!("\"{SECRET}\"")] {
        let text = std::fs::read_to_string(house.gateway.config()).expect("the config");
        let line = text.lines().find(|line| line.starts_with("upstream_secret")).expect("the key").to_owned();
        house.gateway.rewrite_text(&text.replace(&line, &format!("upstream_secret = {secrets}")));
        assert_eq!(house.gateway.reload().await.status, 200);
        house.gateway.send(Request::get("/free/ok")).await;
    }
    let requests = house.upstream.reached(3).await;
    let cases = |secret: &str| requests.iter().map(|request| case(secret, request)).collect::<Vec<_>>();
    assert_eq!(verify(&cases(OLD)), [true, true, false]);
    assert_eq!(verify(&cases(SECRET)), [false, true, true]);
}

#[tokio::test]
async fn nothing_is_signed_without_a_secret() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    house.redeem("/paid/ok", &payment).await;
    house.gateway.send(Request::get("/free/ok").header("farebox-signature", "t=1,v1=00")).await;
    for request in house.upstream.reached(2).await {
        assert_eq!(request.header("farebox-signature"), None);
    }
}
