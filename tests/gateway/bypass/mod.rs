//! The paywall that is walked around: several hundred spellings of a target, each written raw, before backends that
//! read paths differently. None may ever serve what is sold.

mod backends;
mod corpus;

use std::collections::BTreeMap;

use crate::support::h2::Http2;
use crate::support::{Connection, Gateway, Payer, Request, Setup, Upstream};
use backends::{Express, MARKER, Nginx};
use corpus::Target;

/// Three backends behind one gateway, each by its own host: `/premium/*`, `/exact` and `/items/{id}/full` are sold,
/// also `GET /orders`, and everything else is free.
struct Street {
    gateway: Gateway,
    nginx: Nginx,
    express: Express,
    echo: Upstream,
}

const HOSTS: [&str; 3] = ["nginx.test", "express.test", "echo.test"];

impl Street {
    async fn open() -> Street {
        let (nginx, express, echo) = (Nginx::start().await, Express::start().await, Upstream::start().await);
        let servers = [nginx.address(), express.address(), echo.address()];
        let mut text = String::new();
        for (host, server) in HOSTS.iter().zip(servers) {
            let name = host.trim_end_matches(".test");
            // Express routes `/Premium` as `/premium`, unless it is told otherwise.
            let folds = name == "express";
            text += &format!("[upstreams.{name}]\nservers = [\"{server}\"]\ncase_insensitive = {folds}\n");
            for (path, keys) in [
                ("/premium/*", "price = \"$0.01\""),
                ("/exact", "price = \"$0.01\""),
                ("/items/{id}/full", "price = \"$0.01\""),
                ("/orders", "price = \"$0.01\"\nmethods = [\"GET\"]"),
                ("/*", "price = \"free\""),
            ] {
                text += &format!("[[route]]\nhost = \"{host}\"\npath = \"{path}\"\nupstream = \"{name}\"\n{keys}\n");
            }
        }
        let setup = Setup::at(echo.address(), "url = \"sandbox:\"").sections(&text);
        let setup = setup.route("api", "/api", "price = \"free\"");
        Street { gateway: Gateway::start(setup).await, nginx, express, echo }
    }

    /// No backend has served anything that is sold.
    async fn assert_nothing_was_served(&self) {
        assert_eq!(self.express.served().await, Vec::<String>::new());
        assert_eq!(self.nginx.served(), Vec::<String>::new());
        let priced: Vec<String> = self.echo.requests().into_iter().map(|request| request.target).collect();
        let priced: Vec<&String> = priced.iter().filter(|target| corpus::may_be_priced(target)).collect();
        assert_eq!(priced, Vec::<&String>::new(), "some backend would read these as priced");
    }
}

#[tokio::test]
async fn no_spelling_of_a_target_serves_what_is_sold() {
    let street = Street::open().await;
    let targets = corpus::targets();
    assert!(targets.len() >= 300, "{} targets", targets.len());
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut connection = street.gateway.connect().await;
    for host in HOSTS {
        for target in &targets {
            let mut bytes = b"GET ".to_vec();
            bytes.extend(target.on(host));
            bytes.extend(format!(" HTTP/1.1\r\nHost: {host}\r\n\r\n").bytes());
            connection.send_bytes(&bytes).await;
            let head = connection.head("GET").await;
            let closes = head.headers.lists("connection", "close");
            let response = connection.finish(head).await;
            assert!(!response.text().contains(MARKER), "{target} on {host}: {response:?}");
            *statuses.entry(response.status).or_default() += 1;
            if closes {
                connection = street.gateway.connect().await;
            }
        }
    }
    street.assert_nothing_was_served().await;
    // All kinds of answers, or the corpus would show nothing.
    for (status, least) in [(402, 300), (400, 400), (200, 50)] {
        assert!(statuses.get(&status).is_some_and(|count| *count >= least), "{least} times {status}: {statuses:?}");
    }
    assert!(!statuses.contains_key(&500), "{statuses:?}");
    assert!(!street.gateway.stderr().contains("panicked"));
}

#[tokio::test]
async fn no_spelling_of_a_target_serves_what_is_sold_over_http_2() {
    let street = Street::open().await;
    let mut http2 = Http2::open(street.gateway.address()).await;
    let mut challenged = 0;
    for host in HOSTS {
        for target in corpus::targets() {
            // The test client takes text; what is left out is refused as one byte outside ASCII is.
            let Ok(path) = String::from_utf8(target.on(host)) else { continue };
            let request = Request::get(&path).header(":authority", host);
            match http2.try_exchange(&request).await {
                Ok(response) => {
                    assert!(!response.text().contains(MARKER), "{target} on {host}: {response:?}");
                    assert_ne!(response.status, 500, "{target} on {host}: {response:?}");
                    challenged += usize::from(response.status == 402);
                }
                // What is no `:path` ends the stream, or all of them.
                Err(_) => http2 = Http2::open(street.gateway.address()).await,
            }
        }
    }
    street.assert_nothing_was_served().await;
    assert!(challenged >= 300, "{challenged} challenges");
    assert!(!street.gateway.stderr().contains("panicked"));
}

#[tokio::test]
async fn no_header_leads_a_backend_to_what_is_sold() {
    let street = Street::open().await;
    let urls = ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X_Original_URL", "x-original-url"];
    let methods = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override"];
    let unpaid: Vec<Request> = urls
        .iter()
        .map(|name| Request::get("/free/page").header(name, "/premium/report"))
        .chain(methods.iter().map(|name| Request::post("/orders", "x").header(name, "GET")))
        .chain(methods.iter().map(|name| Request::post("/orders", "x").header(name, "get")))
        .collect();
    let mut direct = Connection::open(street.express.address()).await;
    for request in &unpaid {
        let response = direct.exchange(request).await;
        assert!(response.text().contains(MARKER), "this backend believes it: {request:?}");
    }
    street.express.forget().await;
    for host in HOSTS {
        for request in &unpaid {
            let response = street.gateway.send(request.clone().header("Host", host)).await;
            assert_eq!(response.status / 100, if host == "nginx.test" && response.status == 404 { 4 } else { 2 });
            assert!(!response.text().contains(MARKER), "{request:?} on {host}: {response:?}");
        }
    }
    street.assert_nothing_was_served().await;
    for request in street.echo.requests() {
        for name in urls.iter().chain(&methods) {
            assert_eq!(request.headers.all(name), Vec::<&str>::new(), "{request:?}");
        }
    }
}

#[tokio::test]
async fn no_method_serves_what_is_sold() {
    let street = Street::open().await;
    for host in HOSTS {
        for method in ["HEAD", "get", "Get", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FOO", "TRACK"] {
            let response = street.gateway.send(Request::new(method, "/premium/report").header("Host", host)).await;
            assert_eq!(response.status, 402, "{method} on {host}");
        }
        for (method, status) in [("TRACE", 501), ("trace", 501), ("CONNECT", 400)] {
            let response = street.gateway.send(Request::new(method, "/premium/report").header("Host", host)).await;
            assert_eq!((response.status, response.error().as_str()), (status, "bad_request"), "{method} on {host}");
        }
        for method in ["GET", "HEAD", "get", "head"] {
            let response = street.gateway.send(Request::new(method, "/orders").header("Host", host)).await;
            assert_eq!(response.status, 402, "{method} on {host}");
        }
    }
    street.assert_nothing_was_served().await;
    assert_eq!(street.echo.count(), 0);
}

#[tokio::test]
async fn these_backends_serve_what_is_sold_in_many_spellings() {
    // Else the tests above would show nothing.
    let street = Street::open().await;
    for host in HOSTS {
        let response = street.gateway.send(Request::get("/premium/report").header("Host", host)).await;
        let payment = Payer::new().pay_v2(&crate::support::Challenge::of(&response));
        let paid = street.gateway.send(Request::get("/premium/report").header("Host", host).paid(&payment)).await;
        assert_eq!(paid.status, 200, "{host}: {paid:?}");
        assert!(host == "echo.test" || paid.text().contains(MARKER), "{host}: {paid:?}");
    }
    assert_eq!((street.nginx.served().len(), street.express.served().await.len()), (1, 1));
    for (address, least) in [(street.nginx.address(), 60), (street.express.address(), 60)] {
        let mut served = 0;
        for target in corpus::targets() {
            let mut connection = Connection::open(address).await;
            let mut bytes = b"GET ".to_vec();
            bytes.extend(target.on("localhost"));
            bytes.extend(b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            connection.send_bytes(&bytes).await;
            if let Some(head) = connection.try_head("GET").await {
                served += usize::from(connection.finish(head).await.text().contains(MARKER));
            }
        }
        assert!(served >= least, "{served} spellings");
    }
    let may = corpus::targets().iter().filter(|target| corpus::may_be_priced(&target.to_string())).count();
    assert!(may >= 200, "{may} of them might be read as priced");
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.on("echo.test")))
    }
}
