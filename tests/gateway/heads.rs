//! Heads of requests and responses: what is refused, what is passed on, and what is not.

use crate::support::h2::Http2;
use crate::support::{Answer, House, Request, Response};

/// Sends a head as it stands, and reads the answer; whether the connection was closed behind it.
async fn raw(house: &House, text: &str) -> (Response, bool) {
    let mut connection = house.gateway.connect().await;
    connection.send_bytes(text.as_bytes()).await;
    let head = connection.head(text.split(' ').next().expect("a method")).await;
    let says_so = head.headers.lists("connection", "close");
    let response = connection.finish(head).await;
    (response, says_so && connection.is_closed().await)
}

#[tokio::test]
async fn a_head_with_two_readings_is_refused_with_its_reason_and_the_connection_closed() {
    let house = House::with_route("").await;
    for (head, status, reason) in [
        ("GET /free/ok HTTP/1.1\r\n\r\n", 400, "no_host"),
        ("GET http://a.example/free/ok HTTP/1.1\r\n\r\n", 400, "no_host"),
        ("GET /free/ok HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "not_a_host"),
        ("GET /free/ok HTTP/1.1\r\nHost:\r\n\r\n", 400, "not_a_host"),
        ("GET /free/ok HTTP/1.1\r\nHost: a.example:99999\r\n\r\n", 400, "not_a_host"),
        ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", 400, "tunnel"),
        ("TRACE /free/ok HTTP/1.1\r\nHost: a.example\r\n\r\n", 501, "trace"),
        ("GET /free/ok HTTP/1.1\r\nHost: a.example\n\r\n", 400, "bare_line_feed"),
        ("GET /free/ok HTTP/1.1\nHost: a.example\n\n", 400, "bare_line_feed"),
        (
            "POST /free/ok HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "two_framings",
        ),
        (
            "POST /free/ok HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            400,
            "content_length",
        ),
        (
            "POST /free/ok HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
            "transfer_encoding",
        ),
        ("GET /free/ok HTTP/1.1\r\nHost: a.example\r\nConnection: Host\r\n\r\n", 400, "connection"),
    ] {
        let (response, closed) = raw(&house, head).await;
        assert_eq!((response.status, response.error().as_str()), (status, "bad_request"), "{head:?}");
        assert_eq!(response.json()["reason"], reason, "{head:?}");
        assert!(!response.json()["message"].as_str().expect("a message").is_empty(), "{head:?}");
        assert!(closed, "{head:?}");
    }
    assert_eq!(house.upstream.count(), 0);
    assert!(!house.gateway.stderr().contains("panicked"));
}

#[tokio::test]
async fn what_the_engine_refuses_closes_the_connection_too() {
    let house = House::with_route("").await;
    for head in [
        "GET /free/ok HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
        "GET http://b.example/free/ok HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET http://a.example:81/free/ok HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET http://user@a.example/free/ok HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET /free/ok HTTP/1.1\r\nHost: user@a.example\r\n\r\n",
        "GET /free/ok HTTP/1.1\r\nHost : a.example\r\n\r\n",
        "GET /free/ok HTTP/1.1\r\nHost: a.example\r\nX: a\r\n folded\r\n\r\n",
        "POST /free/ok HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "POST /free/ok HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let (response, closed) = raw(&house, head).await;
        assert_eq!(response.status, 400, "{head:?}");
        assert!(closed, "{head:?}");
    }
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn a_head_has_a_size_limit_and_a_limit_of_fields() {
    const BYTES: usize = 12_000;
    let keys = format!("header_bytes = {BYTES}\npayment_header_bytes = 4096");
    let house = House::build("", |setup| setup.server(&keys)).await;
    let padded = |bytes: usize| {
        let head = "GET /free/ok HTTP/1.1\r\nHost: a.example\r\nX: \r\n\r\n";
        head.replace("X: ", &format!("X: {}", "x".repeat(bytes - head.len())))
    };
    let fields = |count: usize| {
        let fields: String = (1..count).map(|at| format!("X-{at}: y\r\n")).collect();
        format!("GET /free/ok HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")
    };
    for (head, status) in [(padded(BYTES), 200), (padded(BYTES + 1), 431), (fields(128), 200), (fields(129), 431)] {
        let (response, closed) = match status {
            200 => (house.gateway.connect().await.exchange_bytes(head.as_bytes()).await, false),
            _ => raw(&house, &head).await,
        };
        assert_eq!((response.status, closed), (status, status == 431), "{} bytes", head.len());
        if status == 431 {
            assert_eq!(response.json()["reason"], "head_too_large");
        }
    }
    // HTTP/2 counts 32 bytes for each field, and its own names are none.
    let overhead = "/free/ok".len() + "x".len() + 32;
    let mut http2 = Http2::open(house.gateway.address()).await;
    for (bytes, status) in [(BYTES, 200), (BYTES + 1, 431)] {
        let request = Request::get("/free/ok").header("x", "x".repeat(bytes - overhead));
        assert_eq!(http2.exchange(&request).await.status, status, "{bytes} bytes");
    }
    let metrics = house.gateway.metrics().await;
    let refused = metrics.sum("farebox_requests_total", &[("outcome", "head_too_large")]);
    assert_eq!(refused, 3.0);
}

#[tokio::test]
async fn an_absolute_target_is_forwarded_as_its_path() {
    let house = House::with_route("").await;
    for (sent, forwarded) in [
        ("http://a.example/free/ok?a=%2f&b=//../", "/free/ok?a=%2f&b=//../"),
        ("HTTP://a.example//free/./ok", "/free/ok"),
        ("https://a.example/free/ok", "/free/ok"),
    ] {
        let count = house.upstream.count();
        let response = house.gateway.send(Request::get(sent).header("Host", "a.example")).await;
        assert_eq!(response.status, 200, "{sent}");
        assert_eq!(house.upstream.requests()[count].target, forwarded, "{sent}");
        assert_eq!(house.upstream.requests()[count].header("host"), Some("a.example"), "{sent}");
    }
    let paid = house.gateway.send(Request::get("http://a.example/x/../paid/ok").header("Host", "a.example")).await;
    assert_eq!(paid.status, 402);
    for sent in ["*", "a.example:80", "ftp://a.example/free/ok", "http:/free/ok", "free/ok"] {
        let response = house.gateway.send(Request::new("OPTIONS", sent).header("Host", "a.example")).await;
        assert_eq!(response.status, 400, "{sent}");
    }
}

#[tokio::test]
async fn a_query_is_forwarded_byte_for_byte() {
    let house = House::with_route("").await;
    for query in ["a=%zz&b=%2F%2f", "?", "a=/../..//;x", "a=\\&b=|{}^`[]'", "%", "a=%00", "=&&=", "a+b%20c"] {
        for path in ["/free/ok", "//free/x/../%6fk"] {
            let count = house.upstream.count();
            let response = house.gateway.send(Request::get(&format!("{path}?{query}"))).await;
            assert_eq!(response.status, 200, "{path}?{query}");
            assert_eq!(house.upstream.requests()[count].target, format!("/free/ok?{query}"));
        }
    }
}

#[tokio::test]
async fn http_1_0_may_name_its_host_in_the_target_alone() {
    let route = "[[route]]\nhost = \"shop.example\"\npath = \"/free/ok\"\nupstream = \"api\"\nprice = \"$0.01\"";
    let house = House::build("", |setup| setup.sections(route)).await;
    for (head, status) in [
        ("GET /free/ok HTTP/1.0\r\n\r\n", 200),
        ("GET http://shop.example/free/ok HTTP/1.0\r\n\r\n", 402),
        ("GET /free/ok HTTP/1.0\r\nHost: shop.example\r\n\r\n", 402),
    ] {
        let response = house.gateway.connect().await.exchange_bytes(head.as_bytes()).await;
        assert_eq!(response.status, status, "{head:?}");
    }
}

#[tokio::test]
async fn a_client_cannot_have_the_gateways_own_fields_dropped() {
    for settle in ["on-success", "before"] {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        for name in ["Host", "X-Forwarded-For", "x-forwarded-proto", ":path", "a b", "\"farebox-payer\""] {
            let request = Request::get("/paid/ok").header("Connection", name).paid(&payment);
            let response = house.gateway.send(request).await;
            assert_eq!((response.status, response.json()["reason"].as_str()), (400, Some("connection")), "{name}");
        }
        assert!(house.gateway.ledger().is_empty(), "refused before anything is charged");
        let names = "close, farebox-payment-id, farebox-payer, farebox-route, farebox-amount, X-Hop";
        let request = Request::get("/paid/ok").header("Connection", names).header("X-Hop", "1").paid(&payment);
        assert_eq!(house.gateway.send(request).await.status, 200);
        let seen = house.upstream.only_request();
        for name in ["farebox-payment-id", "farebox-payer", "farebox-route", "farebox-amount", "x-forwarded-for"] {
            assert!(seen.header(name).is_some(), "{name}: {seen:?}");
        }
        assert_eq!(seen.header("x-hop"), None);
    }
}

#[tokio::test]
async fn what_concerns_the_upstreams_connection_is_not_passed_on() {
    let house = House::with_route("").await;
    let fields = "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
                  Trailer: X-Sum\r\nUpgrade: h2c\r\nX-End: 1\r\n";
    for version in ["1.0", "1.1"] {
        for framing in ["Content-Length: 2\r\n", ""] {
            let answer = format!("HTTP/{version} 200 OK\r\n{fields}{framing}\r\nok");
            house.upstream.queue(Answer::Raw(answer.clone().into_bytes()));
            let mut connection = house.gateway.connect().await;
            connection.send(&Request::get("/free/ok")).await;
            let start = connection.start_line().await;
            assert_eq!(start, "HTTP/1.1 200 OK", "{answer:?}");
            let head = connection.head("GET").await;
            for name in ["x-hop", "keep-alive", "proxy-connection", "trailer", "upgrade"] {
                assert_eq!(head.headers.all(name), Vec::<&str>::new(), "{name} of {answer:?}");
            }
            assert_eq!(head.headers.get("connection"), Some("keep-alive"), "the gateway's own");
            assert_eq!(head.headers.get("x-end"), Some("1"));
            let response = connection.finish(head).await;
            assert_eq!((response.text().as_str(), response.complete), ("ok", true), "{answer:?}");
            assert_eq!(connection.exchange(&Request::get("/free/ok")).await.status, 200, "it is kept");
        }
    }
}

#[tokio::test]
async fn a_preflight_is_answered_here_unless_a_free_route_names_options() {
    let own = "[[route]]\npath = \"/paid/own\"\nmethods = [\"OPTIONS\"]\nupstream = \"api\"\nprice = \"free\"";
    let house = House::build("", |setup| setup.sections(own)).await;
    let preflight = |path: &str| {
        let request = Request::new("OPTIONS", path).header("Origin", "https://shop.example");
        request.header("Access-Control-Request-Method", "GET")
    };
    assert_eq!(house.gateway.send(preflight("/paid/ok")).await.status, 204);
    assert_eq!(house.upstream.count(), 0, "it reaches no upstream, and costs nothing");
    assert_eq!(house.gateway.send(Request::new("OPTIONS", "/paid/ok")).await.status, 402, "no preflight");
    assert_eq!(house.gateway.send(preflight("/paid/own")).await.status, 200);
    assert_eq!(house.upstream.only_request().method, "OPTIONS", "the file says so");
}

#[tokio::test]
async fn http_2_reads_a_head_as_large_as_the_file_says() {
    let house = House::build("", |setup| setup.server("header_bytes = 200000")).await;
    // More than HTTP/2 servers take where nobody says anything.
    let large =
        (0..12).fold(Request::get("/free/ok"), |request, at| request.header(&format!("x-{at}"), "x".repeat(12_000)));
    let mut before = Http2::open(house.gateway.address()).await;
    assert_eq!(before.exchange(&large).await.status, 200);
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    house.gateway.rewrite_text(&text.replace("header_bytes = 200000", "header_bytes = 100000"));
    assert_eq!(house.gateway.reload().await.status, 200);
    let mut after = Http2::open(house.gateway.address()).await;
    assert_eq!(before.exchange(&large).await.json()["reason"], "head_too_large", "also on a connection that is open");
    assert_eq!(after.exchange(&large).await.status, 431);
    // A little too much is told why, also by its fields' names alone.
    let little = Request::get("/free/ok").header("x", "x".repeat(100_000));
    assert_eq!(after.exchange(&little).await.json()["reason"], "head_too_large");
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn a_dot_at_the_end_of_a_host_is_no_way_around_its_routes() {
    let route = "[[route]]\nhost = \"shop.example\"\npath = \"/free/*\"\nupstream = \"api\"\nprice = \"$0.01\"";
    let house = House::build("", |setup| setup.sections(route)).await;
    let mut http2 = Http2::open(house.gateway.address()).await;
    for host in ["shop.example", "shop.example.", "SHOP.Example.", "shop.example.:80", "shop.example.:"] {
        assert_eq!(house.gateway.send(Request::get("/free/ok").header("Host", host)).await.status, 402, "{host}");
        let absolute = Request::get(&format!("http://{host}/free/ok")).header("Host", host);
        let status = house.gateway.send(absolute).await.status;
        assert!([400, 402].contains(&status), "{status} for {host} as a target");
        let response = http2.try_exchange(&Request::get("/free/ok").header(":authority", host)).await;
        assert!(response.is_ok_and(|response| [400, 402].contains(&response.status)), "{host} over HTTP/2");
    }
    for host in ["shop.example..", ".shop.example", "shop..example", "shop.example.:80:80", ".", "shop.example,"] {
        let response = house.gateway.send(Request::get("/free/ok").header("Host", host)).await;
        assert_eq!(response.status, 400, "{host}");
    }
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn forwarded_reaches_an_upstream_only_as_a_trusted_proxy_says_it() {
    let said = "for=203.0.113.9;host=evil.example";
    let seen = async |server: &str, headers: &[(&str, &str)]| {
        let house = House::build("", |setup| setup.server(server)).await;
        let request =
            headers.iter().fold(Request::get("/free/ok"), |request, (name, value)| request.header(name, *value));
        assert_eq!(house.gateway.send(request).await.status, 200);
        let request = house.upstream.only_request();
        let text = |name: &str| request.header(name).map(str::to_owned);
        (text("forwarded"), text("x-forwarded-for"))
    };
    let text = |text: &str| Some(text.to_owned());
    let trusted = "trusted_proxies = [\"127.0.0.1\"]";
    let only = |name: &str| format!("{trusted}\nclient_header = \"{name}\"");
    let chain = format!("{said}, for=127.0.0.1");
    let both = [("Forwarded", said), ("X-Forwarded-For", "203.0.113.9")];

    assert_eq!(seen("", &both).await, (None, text("127.0.0.1")), "anybody says it");
    assert_eq!(seen(trusted, &both[..1]).await, (Some(chain.clone()), text("127.0.0.1")));
    assert_eq!(seen(trusted, &both[1..]).await, (None, text("203.0.113.9, 127.0.0.1")));
    assert_eq!(seen(trusted, &both).await, (Some(chain.clone()), text("203.0.113.9, 127.0.0.1")));
    // A proxy that writes the one lets the other pass as its client sent it.
    assert_eq!(seen(&only("X-Forwarded-For"), &both).await, (None, text("203.0.113.9, 127.0.0.1")));
    assert_eq!(seen(&only("Forwarded"), &both).await, (Some(chain), text("127.0.0.1")));
    // One value may stand on several lines.
    let lines = [("Forwarded", "for=192.0.2.7"), ("Forwarded", "for=\"[2001:db8::7]\"")];
    let chain = text("for=192.0.2.7, for=\"[2001:db8::7]\", for=127.0.0.1");
    assert_eq!(seen(trusted, &lines).await, (chain, text("127.0.0.1")));
}

#[tokio::test]
async fn http_2_neither_tunnels_nor_traces_nor_leaves_a_preflight_to_a_priced_upstream() {
    let house = House::with_route("").await;
    let mut http2 = Http2::open(house.gateway.address()).await;
    for path in ["/free/ok", "/paid/ok"] {
        let response = http2.exchange(&Request::new("TRACE", path)).await;
        assert_eq!((response.status, response.json()["reason"].as_str()), (501, Some("trace")), "{path}");
    }
    let preflight = Request::new("OPTIONS", "/paid/ok").header("origin", "https://shop.example");
    let preflight = preflight.header("access-control-request-method", "GET");
    assert_eq!(http2.exchange(&preflight).await.status, 204);
    assert_eq!(http2.exchange(&Request::new("OPTIONS", "/paid/ok")).await.status, 402);
    // With a path it is malformed (RFC 9113 section 8.5), and ends the stream.
    let tunnel = http2.try_exchange(&Request::new("CONNECT", "/free/ok")).await;
    assert!(tunnel.is_err() || tunnel.is_ok_and(|response| response.status == 400));
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn http_2_names_one_host() {
    let route = "[[route]]\nhost = \"shop.example\"\npath = \"/free/*\"\nupstream = \"api\"\nprice = \"$0.01\"";
    let house = House::build("", |setup| setup.sections(route)).await;
    let mut http2 = Http2::open(house.gateway.address()).await;
    let named = |authority: &str, hosts: &[&str]| {
        let request = Request::get("/free/ok").header(":authority", authority);
        hosts.iter().fold(request, |request, host| request.header("host", *host))
    };
    for request in [
        named("a.example", &["shop.example"]),
        named("shop.example", &["a.example"]),
        named("shop.example", &["shop.example", "a.example"]),
        named("a.example", &["a.example", "shop.example"]),
        named("user@shop.example", &[]),
        named("a b", &[]),
        named("", &["a.example"]),
    ] {
        match http2.try_exchange(&request).await {
            Ok(response) => assert_eq!(response.status, 400, "{request:?}"),
            // What is no `:authority` ends the stream.
            Err(_) => http2 = Http2::open(house.gateway.address()).await,
        }
    }
    assert_eq!(house.upstream.count(), 0);
    let same = http2.exchange(&named("shop.example", &["shop.example"])).await;
    assert_eq!(same.status, 402, "said twice, and the same");
}
