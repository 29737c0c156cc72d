//! What upstreams are told, what they are not, and what is never forwarded.

use crate::support::ports::Port;
use crate::support::{Gateway, House, Request, Setup};

#[tokio::test]
async fn the_upstream_is_told_who_paid_what() {
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        house.redeem("/paid/ok?q=1&q=%20", &payment).await;
        let request = house.upstream.only_request();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/paid/ok?q=1&q=%20"));
        let payer = request.header("farebox-payer").expect("a payer");
        assert!(payer.eq_ignore_ascii_case(&house.payer.address().to_string()));
        assert_eq!(request.header("farebox-payment-id"), Some(house.gateway.only_entry().id()));
        assert_eq!(request.header("farebox-network"), Some("eip155:84532"));
        assert_eq!(request.header("farebox-asset"), Some("0x036CbD53842c5426634e7929541eC2318f3dCF7e"));
        assert_eq!(request.header("farebox-amount"), Some("10000"));
        assert_eq!(request.header("farebox-route"), Some("paid"));
    }
}

#[tokio::test]
async fn what_a_client_says_in_the_gateways_name_is_not_passed_on() {
    let house = House::with_route("").await;
    let forged = [
        "farebox-payer",
        "Farebox-Payment-Id",
        "farebox-network",
        "farebox-asset",
        "farebox-amount",
        "farebox-transaction",
        "FAREBOX-ROUTE",
        "farebox-anything",
        "PAYMENT-REQUIRED",
        "PAYMENT-RESPONSE",
        "X-PAYMENT-RESPONSE",
    ];
    let forge = |request: Request| forged.iter().fold(request, |request, name| request.header(name, "forged"));
    house.gateway.send(forge(Request::get("/free/ok"))).await;
    let payment = house.payment("/paid/ok").await;
    let paid = house.gateway.send(forge(Request::get("/paid/ok").paid(&payment)).header("X-Other", "kept")).await;
    assert_eq!(paid.status, 200);

    let requests = house.upstream.reached(2).await;
    for request in &requests {
        assert!(!format!("{request:?}").contains("forged"), "{request:?}");
        for name in ["payment-signature", "x-payment", "farebox-transaction"] {
            assert_eq!(request.headers.all(name), Vec::<&str>::new(), "{name}: {request:?}");
        }
    }
    assert_eq!(requests[0].headers.all("farebox-payer"), Vec::<&str>::new(), "nobody paid on the free route");
    assert_eq!(requests[1].header("x-other"), Some("kept"));
}

#[tokio::test]
async fn what_a_client_says_with_underscores_is_not_passed_on_either() {
    // Backends that speak CGI or WSGI read `farebox_payer` and `farebox-payer` alike.
    let house = House::with_route("").await;
    for name in ["farebox_payer", "Farebox_Payment_Id", "farebox-payment_id"] {
        assert_eq!(house.gateway.send(Request::get("/free/ok").header(name, "forged")).await.status, 200);
    }
    let seen = format!("{:?}", house.upstream.requests());
    assert!(!seen.contains("forged"), "{seen}");
}

#[tokio::test]
async fn a_payment_for_a_free_route_is_not_passed_on_nor_settled() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    let response = house.redeem("/free/ok", &payment).await;
    assert_eq!(response.status, 200);
    assert!(!format!("{:?}", house.upstream.requests()).contains(&payment.header().1));
    assert_eq!(house.facilitator.calls(), (0, 0));
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200, "it is still good");
}

#[tokio::test]
async fn the_upstream_is_told_where_the_request_came_from() {
    let house = House::with_route("").await;
    let forwarded = Request::get("/free/ok")
        .header("Host", "api.example.com")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.example");
    house.gateway.send(forwarded.clone()).await;
    let request = house.upstream.only_request();
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"), "nobody is trusted");
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("api.example.com"));
    assert_eq!(request.header("host"), Some("api.example.com"), "kept unless the file says otherwise");

    let house = House::build("", |setup| setup.server("trusted_proxies = [\"127.0.0.1\"]")).await;
    house.gateway.send(forwarded).await;
    let request = house.upstream.only_request();
    assert_eq!(request.header("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    assert_eq!(request.header("x-forwarded-host"), Some("evil.example"));
}

#[tokio::test]
async fn what_concerns_one_connection_is_not_passed_on() {
    let house = House::with_route("").await;
    let request = Request::get("/free/ok")
        .header("Connection", "close, X-Hop")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("TE", "trailers")
        .header("Proxy-Authorization", "Basic x");
    house.gateway.send(request).await;
    let request = house.upstream.only_request();
    for name in ["x-hop", "keep-alive", "proxy-authorization"] {
        assert_eq!(request.headers.all(name), Vec::<&str>::new(), "{name}");
    }
}

#[tokio::test]
async fn what_was_matched_is_what_is_forwarded() {
    let house = House::with_route("").await;
    for (sent, forwarded) in [
        ("/free/%6fk", "/free/ok"),
        ("//free///ok", "/free/ok"),
        ("/free/./a/../ok", "/free/ok"),
        ("/free/ok/", "/free/ok/"),
        ("/free/%c3%a9", "/free/%C3%A9"),
        ("/free/ok?a=/../b&c=%2F", "/free/ok?a=/../b&c=%2F"),
    ] {
        let count = house.upstream.count();
        assert_eq!(house.gateway.send(Request::get(sent)).await.status, 200, "{sent}");
        assert_eq!(house.upstream.requests()[count].target, forwarded, "{sent}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_priced_path_is_free() {
    let house =
        House::build("", |setup| setup.server("unmatched = \"free\"").route("one", "/premium", "price = \"$0.01\""))
            .await;
    for sent in [
        "/paid/ok",
        "//paid/ok",
        "/./paid/ok",
        "/free/../paid/ok",
        "/%70aid/ok",
        "/paid//ok",
        "/x/../paid/ok",
        "/free/%2e%2e/paid/ok",
        "/premium",
        "/premium/",
        "//premium",
        "/premium?x",
        "/%70%72emium",
        "/paid",
        "/paid/",
        "/./premium/.",
    ] {
        assert_eq!(house.gateway.send(Request::get(sent)).await.status, 402, "{sent}");
    }
    for sent in [
        "/free/..%2fpaid/ok",
        "/paid%2fok",
        "/free\\..\\paid",
        "/free/%5c..%5cpaid",
        "/paid;x=1/ok",
        "/free/..;/paid/ok",
        "/free/%00",
        "/free/%ff",
        "/free/%zz",
        "/free/%",
        "/../paid/ok",
        "/free/%252e%252e/paid",
        "/free/%252fpaid",
    ] {
        let response = house.gateway.send(Request::get(sent)).await;
        assert_eq!((response.status, response.error().as_str()), (400, "ambiguous_path"), "{sent}");
        assert!(!response.json()["reason"].as_str().expect("a reason").is_empty(), "{sent}");
    }
    assert_eq!(house.upstream.count(), 0);
    // Case is not folded: another path, and this file says that what it does not name is free.
    assert_eq!(house.gateway.send(Request::get("/PREMIUM")).await.status, 200);
}

#[tokio::test]
async fn a_target_that_names_a_whole_url_is_judged_by_its_path() {
    let house = House::with_route("").await;
    let absolute = format!("http://{}/paid/ok", house.gateway.address());
    let response = house.gateway.send(Request::get(&absolute)).await;
    assert!([400, 402].contains(&response.status), "{response:?}");
    let response = house.gateway.send(Request::new("OPTIONS", "*")).await;
    assert_eq!(response.status / 100, 4, "{response:?}");
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn what_no_route_matches_is_refused_or_free_as_the_file_says() {
    let house = House::build("methods = [\"GET\"]", |setup| setup).await;
    for request in [Request::get("/none"), Request::post("/paid/ok", "x"), Request::get("/")] {
        let response = house.gateway.send(request).await;
        assert_eq!((response.status, response.error().as_str()), (404, "no_route"));
    }
    assert_eq!(house.upstream.count(), 0);
    let house = House::build("", |setup| setup.server("unmatched = \"free\"")).await;
    assert_eq!(house.gateway.send(Request::get("/none")).await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_is_away_or_silent_is_told_apart() {
    let closed = Port::claim();
    let away = Setup::at(([127, 0, 0, 1], closed.number).into(), "url = \"sandbox:\"");
    let away = away.route("paid", "/paid/*", "price = \"$0.01\"").route("free", "/free/*", "price = \"free\"");
    let gateway = Gateway::start(away).await;
    let response = gateway.send(Request::get("/free/ok")).await;
    assert_eq!((response.status, response.error().as_str()), (502, "upstream_unreachable"));
    let challenge = crate::support::Challenge::of(&gateway.send(Request::get("/paid/ok")).await);
    let payment = crate::support::Payer::new().pay_v2(&challenge);
    let response = gateway.send(Request::get("/paid/ok").paid(&payment)).await;
    assert_eq!((response.status, response.error().as_str()), (502, "upstream_unreachable"));
    assert_eq!(gateway.only_entry().state(), "failed", "nothing is charged for what is not there");

    let house = House::build("", |setup| setup.upstream("read_timeout = \"300ms\"")).await;
    let response = house.gateway.send(Request::get("/free/never")).await;
    assert_eq!((response.status, response.error().as_str()), (504, "upstream_timeout"));
    let response = house.gateway.send(Request::get("/free/cut")).await;
    assert_eq!((response.status, response.error().as_str()), (502, "upstream_broken"));
}

#[tokio::test]
async fn a_paid_request_is_not_sent_to_the_upstream_twice() {
    // A kept-alive connection that breaks tempts a proxy to try again: not with what may have had an effect.
    let house = House::with_route("settle = \"before\"").await;
    let payment = house.payment("/paid/cut").await;
    assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200, "a connection to the upstream is kept");
    let response = house.gateway.send(Request::post("/paid/cut", "order").paid(&payment)).await;
    assert_eq!(response.status, 502);
    assert_eq!(house.upstream.count(), 2);
}

#[tokio::test]
async fn requests_that_smuggle_are_refused() {
    let house = House::with_route("").await;
    let raw = [
        "GET /free/ok HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "POST /free/ok HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "GET /free/ok HTTP/1.1\r\n\r\n",
        "GET /free/ok HTTP/1.1\r\nHost : a.example\r\n\r\n",
        "GET /free/ok HTTP/1.1\r\nHost: a.example\r\nX: a\r\n folded\r\n\r\n",
    ];
    for text in raw {
        let mut connection = house.gateway.connect().await;
        connection.send_bytes(text.as_bytes()).await;
        if let Some(head) = connection.try_head("GET").await {
            assert_eq!(head.status, 400, "{text:?}");
        }
    }
    assert_eq!(house.upstream.count(), 0);
}
