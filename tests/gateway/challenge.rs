//! What an unpaid request is told.

use crate::support::setup::PAY_TO;
use crate::support::{Challenge, House, Request};

#[tokio::test]
async fn an_unpaid_request_is_told_the_terms_in_both_versions() {
    let house = House::with_route("description = \"Weather\"\nmime_type = \"application/json\"").await;
    let response = house.gateway.send(Request::get("/paid/ok")).await;

    assert_eq!(response.status, 402);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    for name in ["PAYMENT-REQUIRED", "PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE", "farebox-pass"] {
        assert!(response.headers.lists("access-control-expose-headers", name), "{name} is exposed: {response:?}");
    }
    assert!(response.settlement().is_none() && response.settlement_v1().is_none(), "nothing was paid");

    let challenge = Challenge::of(&response);
    assert_eq!(challenge.url(), format!("http://{}/paid/ok", house.gateway.address()));
    assert_eq!(challenge.v2["x402Version"], 2);
    assert_eq!(challenge.v2["resource"]["description"], "Weather");
    assert_eq!(challenge.v1["x402Version"], 1);
    let (v2, v1) = (&challenge.v2["accepts"][0], &challenge.v1["accepts"][0]);
    assert_eq!((&v2["network"], &v1["network"]), (&"eip155:84532".into(), &"base-sepolia".into()));
    assert_eq!((&v2["amount"], &v1["maxAmountRequired"]), (&"10000".into(), &"10000".into()));
    assert_eq!((&v2["payTo"], &v1["payTo"]), (&PAY_TO.into(), &PAY_TO.into()));
    assert_eq!((&v1["description"], &v1["mimeType"]), (&"Weather".into(), &"application/json".into()));

    assert_eq!(house.facilitator.calls(), (0, 0), "a challenge asks nobody");
    assert_eq!(house.upstream.count(), 0, "a challenge reaches no upstream");
    assert!(house.gateway.ledger().is_empty(), "a challenge writes nothing");
}

#[tokio::test]
async fn every_method_is_priced_where_the_route_names_none() {
    let house = House::with_route("").await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        let response = house.gateway.send(Request::new(method, "/paid/ok")).await;
        assert_eq!(response.status, 402, "{method}");
    }
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn head_is_priced_as_get_and_told_the_same_without_a_body() {
    let house = House::with_route("methods = [\"GET\"]").await;
    let get = house.gateway.send(Request::get("/paid/ok")).await;
    let mut connection = house.gateway.connect().await;
    let head = connection.exchange(&Request::head("/paid/ok")).await;

    assert_eq!(head.status, 402);
    assert_eq!(head.header("payment-required"), get.header("payment-required"));
    assert_eq!(head.header("content-type"), get.header("content-type"));
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
    // Had a body followed, it would be read as the next head.
    assert_eq!(connection.exchange(&Request::head("/paid/ok")).await.status, 402);
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn a_browsers_preflight_is_answered_and_reaches_no_upstream() {
    let house = House::with_route("methods = [\"GET\"]").await;
    let preflight = Request::new("OPTIONS", "/paid/ok")
        .header("Origin", "https://shop.example")
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "payment-signature");
    let response = house.gateway.send(preflight).await;

    assert_eq!(response.status, 204, "{response:?}");
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert!(response.headers.lists("access-control-allow-methods", "GET"), "{response:?}");
    for name in ["PAYMENT-SIGNATURE", "X-PAYMENT", "farebox-pass"] {
        assert!(response.headers.lists("access-control-allow-headers", name), "{name}: {response:?}");
    }
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn every_way_to_pay_stands_in_the_terms_and_v1_clients_see_only_what_they_know() {
    // v1 clients know no Arbitrum: one unknown network makes them refuse the whole body.
    let more = format!(
        "[pay.base]\nnetwork = \"base\"\nasset = \"USDC\"\npay_to = \"{PAY_TO}\"\nfacilitators = [\"main\"]\n\
         [pay.arbitrum]\nnetwork = \"arbitrum-sepolia\"\nasset = \"USDC\"\npay_to = \"{PAY_TO}\"\nfacilitators = [\"main\"]"
    );
    let prices = "price = { usdc = \"0.01\", base = \"0.02\", arbitrum = \"0.03\" }";
    let house = House::build("", |setup| setup.sections(&more).route("paid", "/paid/*", prices)).await;
    let challenge = house.challenge("/paid/ok").await;

    let offers = |terms: &serde_json::Value, amount: &str| -> Vec<(String, String)> {
        let entries = terms["accepts"].as_array().expect("a list").iter();
        let mut offers: Vec<_> = entries
            .map(|entry| (entry["network"].as_str().expect("name").into(), entry[amount].as_str().expect("n").into()))
            .collect();
        offers.sort();
        offers
    };
    let pair = |network: &str, amount: &str| (network.to_owned(), amount.to_owned());
    assert_eq!(
        offers(&challenge.v2, "amount"),
        [pair("eip155:421614", "30000"), pair("eip155:8453", "20000"), pair("eip155:84532", "10000")]
    );
    assert_eq!(offers(&challenge.v1, "maxAmountRequired"), [pair("base", "20000"), pair("base-sepolia", "10000")]);
}

#[tokio::test]
async fn what_the_resource_is_called_comes_from_public_url_else_from_the_request() {
    let house = House::with_route("").await;
    let named = Request::get("/paid/ok").header("Host", "api.example.com");
    let challenge = Challenge::of(&house.gateway.send(named.clone()).await);
    assert_eq!(challenge.url(), "http://api.example.com/paid/ok");
    // Nobody has been declared a trusted proxy.
    let forwarded = named.header("X-Forwarded-Proto", "https").header("X-Forwarded-Host", "evil.example");
    let challenge = Challenge::of(&house.gateway.send(forwarded.clone()).await);
    assert_eq!(challenge.url(), "http://api.example.com/paid/ok");

    let house = House::build("", |setup| setup.server("trusted_proxies = [\"127.0.0.0/8\"]")).await;
    let forwarded = Request::get("/paid/ok")
        .header("Host", "10.0.0.1")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "api.example.com");
    let challenge = Challenge::of(&house.gateway.send(forwarded.clone()).await);
    assert_eq!(challenge.url(), "https://api.example.com/paid/ok");

    let house = House::build("", |setup| {
        setup.server("public_url = \"https://shop.example\"\ntrusted_proxies = [\"127.0.0.0/8\"]")
    })
    .await;
    let challenge = Challenge::of(&house.gateway.send(forwarded).await);
    assert_eq!(challenge.url(), "https://shop.example/paid/ok");
}

#[tokio::test]
async fn a_host_that_would_break_the_terms_cannot() {
    let house = House::with_route("").await;
    for host in ["a\"b.example", "a\\b.example", "<script>.example", "a b.example", "\u{e9}.example"] {
        let response = house.gateway.send(Request::get("/paid/ok").header("Host", host)).await;
        match response.status {
            400 => {}
            402 => {
                Challenge::of(&response).url();
            }
            other => panic!("{host:?}: {other}"),
        }
    }
    assert_eq!(house.upstream.count(), 0);
}
