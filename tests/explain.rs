//! `farebox explain`: what it says of requests of every kind.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use farebox::cli::explain::{Outcome, explain};
use farebox::config::{
    Admin, Allowance, Charge, ClientHeader, Config, Connections, LedgerConfig, LedgerUrl, LimitBy, Log, LogFormat,
    Rate, Route, RouteLimit, Server, ServerAddress, SettleMode, Terms, Unmatched, Upstream, UpstreamHost, Verify,
    Window,
};
use farebox::route::matcher::Matcher;
use farebox::route::pattern::{HostPattern, Methods, PathPattern, Pattern};
use farebox::x402::offer::Scheme;
use farebox::x402::{Asset, Network, Offer};

fn offer(way: &str, network: &str, amount: u64) -> Offer {
    let network = Network::parse(network).unwrap();
    let asset = Asset::known(&network, "USDC").unwrap();
    Offer {
        way: way.into(),
        scheme: Scheme::Exact,
        asset,
        network,
        amount: amount.into(),
        pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".into(),
        max_timeout_seconds: 300,
        extra: Arc::default(),
    }
}

fn priced(offers: Vec<Offer>, settle: SettleMode, verify: Verify, window: Option<Window>) -> Charge {
    Charge::Priced(Arc::new(Terms {
        offers,
        settle,
        verify,
        window,
        redeliver: Duration::from_secs(600),
        free: None,
        description: String::new(),
        mime_type: String::new(),
    }))
}

fn route(name: &str, methods: &[&str], host: Option<&str>, path: &str, charge: Charge) -> Arc<Route> {
    let pattern = Pattern {
        host: host.map(|host| HostPattern::parse(host).unwrap()),
        path: PathPattern::parse(path).unwrap(),
        methods: if methods.is_empty() { Methods::Any } else { Methods::parse(methods).unwrap() },
    };
    Arc::new(Route {
        name: name.into(),
        shown: pattern.to_string(),
        pattern,
        upstream: "api".into(),
        charge,
        limit: None,
    })
}

fn config(unmatched: Unmatched) -> Config {
    let minute = Some(Window { duration: Duration::from_secs(60), uses: Some(100) });
    let open = Some(Window { duration: Duration::from_millis(1500), uses: None });
    let usdc = || vec![offer("usdc", "base-sepolia", 10_000)];
    let both = vec![offer("usdc", "base-sepolia", 10_000), offer("mainnet", "base", 1_500_000)];
    let routes = vec![
        route(
            "premium",
            &["GET"],
            Some("api.example.com"),
            "/v1/premium/*",
            priced(both, SettleMode::OnSuccess, Verify::Facilitator, minute),
        ),
        route("wild", &[], Some("*.example.com"), "/v1/{kind}/*", Charge::Free),
        route("items", &["GET"], None, "/items/{id}", priced(usdc(), SettleMode::Before, Verify::Local, open)),
        route("special", &["GET"], None, "/items/special", priced(usdc(), SettleMode::OnSuccess, Verify::Local, None)),
        route("/items/*", &[], None, "/items/*", Charge::Free),
    ];
    let server = ServerAddress { host: "127.0.0.1".into(), port: 3000, tls: false };
    let upstream = Upstream {
        name: "api".into(),
        servers: vec![server, ServerAddress { host: "backend".into(), port: 443, tls: true }],
        host: UpstreamHost::Keep,
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        case_insensitive: false,
    };
    Config {
        server: Server {
            tls: None,
            connections: Connections::default(),
            listen: Vec::new(),
            public_url: None,
            unmatched,
            trusted_proxies: Vec::new(),
            client_header: ClientHeader::Either,
            threads: None,
            drain_timeout: Duration::from_secs(30),
            payment_header_bytes: 16 * 1024,
            header_bytes: 64 * 1024,
            receipts_in_memory: 100_000,
            upstream_secrets: Vec::new(),
            request_body_bytes: 16 * 1024 * 1024,
            requests_in_flight: 10_000,
            payment_limit: Rate { count: 100, per: Duration::from_secs(1) },
        },
        admin: Admin { listen: None },
        log: Log { format: LogFormat::Text, level: "info".into(), access: true },
        ledger: LedgerConfig { url: LedgerUrl::Memory, keep: None },
        pass_keys: Vec::new(),
        facilitators: Default::default(),
        networks: Default::default(),
        ways: Default::default(),
        upstreams: [("api".into(), upstream)].into(),
        matcher: Matcher::new(routes.iter().map(|route| route.pattern.clone()).collect()).unwrap(),
        routes,
        hash: "0123456789abcdef".into(),
        files: Vec::new(),
    }
}

#[track_caller]
fn assert_explained(config: &Config, method: &str, url: &str, expected: &str) {
    let explained = explain(config, method, url).to_string();
    assert_eq!(explained.trim_end(), expected.trim(), "{method} {url}");
}

#[test]
fn a_priced_route_shows_price_terms_and_what_it_comes_before() {
    let config = config(Unmatched::Deny);
    assert_explained(
        &config,
        "HEAD",
        "https://API.example.com.:8443/x/%2e%2E//v1/%70remium/a?q=%2f#part",
        r#"
request    HEAD /x/%2e%2E//v1/%70remium/a?q=%2f on api.example.com
canonical  /v1/premium/a?q=%2f
           escapes: /x/..//v1/premium/a
           slashes: /x/../v1/premium/a
           dot segments: /v1/premium/a
route      premium (GET api.example.com/v1/premium/*)
price      0.01 USDC on base-sepolia (10000 atomic units) to 0x209693Bc6afc0C5328bA36FaF03C514EF312287C, by usdc
or         1.5 USDC on base (1500000 atomic units) to 0x209693Bc6afc0C5328bA36FaF03C514EF312287C, by mainnet
settle     on-success, verified by the facilitator
window     60s, 100 requests
upstream   api (http://127.0.0.1:3000, https://backend:443)
before     wild (*.example.com/v1/{kind}/*), by host: api.example.com before *.example.com
"#,
    );
}

#[test]
fn what_a_route_limits_and_gives_away_is_shown() {
    let mut config = config(Unmatched::Deny);
    let limit = |count, by| Some(RouteLimit { rate: Rate { count, per: Duration::from_secs(60) }, by });
    let day = Duration::from_secs(24 * 60 * 60);
    for (name, limit, free) in [
        ("special", limit(100, LimitBy::Payer), Some(Allowance { uses: 10, per: day })),
        ("items", None, Some(Allowance { uses: 1, per: Duration::from_millis(1500) })),
        ("/items/*", limit(7, LimitBy::Client), None),
    ] {
        let route = config.routes.iter_mut().find(|route| &*route.name == name).and_then(Arc::get_mut).unwrap();
        route.limit = limit;
        if let Charge::Priced(terms) = &mut route.charge {
            Arc::make_mut(terms).free = free;
        }
    }
    assert_explained(
        &config,
        "GET",
        "/items/special",
        r#"
request    GET /items/special on any host
canonical  /items/special
route      special (GET /items/special)
limit      100/min for each payer; for each client address until it is known who pays
price      0.01 USDC on base-sepolia (10000 atomic units) to 0x209693Bc6afc0C5328bA36FaF03C514EF312287C, by usdc
settle     on-success, verified locally
window     none: one payment, one request
free       10 requests in 1d for each client address
upstream   api (http://127.0.0.1:3000, https://backend:443)
before     items (GET /items/{id}), by segment 2: literal `special` before `{id}`
before     /items/*, by segment 2: literal `special` before `*`
"#,
    );
    assert_explained(
        &config,
        "POST",
        "/items/special",
        r#"
request    POST /items/special on any host
canonical  /items/special
route      /items/*
limit      7/min for each client address
price      free
upstream   api (http://127.0.0.1:3000, https://backend:443)
because    no other route matches
"#,
    );
    let one = explain(&config, "GET", "/items/7").to_string();
    assert!(one.contains("\nfree       1 request in 1500ms for each client address\n"), "{one}");
    let json = serde_json::to_value(explain(&config, "GET", "/items/special")).unwrap();
    assert_eq!(json["limit"], serde_json::json!({ "rate": "100/min", "by": "payer" }));
    assert_eq!(json["price"]["free"], serde_json::json!({ "uses": 10, "milliseconds": 86_400_000 }));
}

#[test]
fn each_runner_up_says_why_it_is_one() {
    assert_explained(
        &config(Unmatched::Deny),
        "GET",
        "/items/special/",
        r#"
request    GET /items/special/ on any host
canonical  /items/special/
route      special (GET /items/special)
price      0.01 USDC on base-sepolia (10000 atomic units) to 0x209693Bc6afc0C5328bA36FaF03C514EF312287C, by usdc
settle     on-success, verified locally
window     none: one payment, one request
upstream   api (http://127.0.0.1:3000, https://backend:443)
before     items (GET /items/{id}), by segment 2: literal `special` before `{id}`
before     /items/*, by segment 2: literal `special` before `*`
"#,
    );
}

#[test]
fn a_method_mismatch_falls_through_to_a_free_route() {
    let config = config(Unmatched::Deny);
    assert_explained(
        &config,
        "POST",
        "http://other.test/items/special",
        r#"
request    POST /items/special on other.test
canonical  /items/special
route      /items/*
price      free
upstream   api (http://127.0.0.1:3000, https://backend:443)
because    no other route matches
"#,
    );
    let items = explain(&config, "GET", "http://other.test/items/7").to_string();
    assert!(items.contains("\nsettle     before\nwindow     1.5s, any number of requests\n"), "{items}");
}

#[test]
fn a_path_alone_is_matched_on_any_host_and_names_the_others() {
    assert_explained(
        &config(Unmatched::Deny),
        "GET",
        "/v1/premium/a",
        r#"
request    GET /v1/premium/a on any host
canonical  /v1/premium/a
no route   404: unmatched = "deny"
elsewhere  premium (GET api.example.com/v1/premium/*) matches on its host
elsewhere  wild (*.example.com/v1/{kind}/*) matches on its host
"#,
    );
}

#[test]
fn an_unmatched_request_is_denied_or_free() {
    let free = config(Unmatched::Free { upstream: "api".into() });
    assert_explained(
        &free,
        "GET",
        "http://other.test?q",
        r#"
request    GET /?q on other.test
canonical  /?q
no route   forwarded free of charge: unmatched = "free"
upstream   api (http://127.0.0.1:3000, https://backend:443)
"#,
    );
}

#[test]
fn what_is_refused_says_why() {
    let config = config(Unmatched::Deny);
    for (url, expected) in [
        ("/a%2fb", "path_encoded_slash"),
        ("/a/../../b", "path_above_root"),
        ("/a#b", "target_fragment"),
        ("https://api.example.com/a;b", "path_parameter"),
        ("https://user@api.example.com/", "not_a_host"),
        ("https:///a", "not_a_host"),
        ("ftp://api.example.com/", "target_not_a_path"),
        ("api.example.com/", "target_not_a_path"),
        ("", "target_empty"),
    ] {
        let explanation = explain(&config, "GET", url);
        let Outcome::Refused { status: 400, reason, detail } = &explanation.outcome else {
            panic!("{url}: {explanation}")
        };
        assert_eq!(*reason, expected, "{url}");
        assert!(explanation.to_string().contains(&format!("400 {reason}: {detail}")), "{explanation}");
    }
}

#[test]
fn methods_that_are_never_forwarded_are_refused() {
    for (method, status, expected) in [("TRACE", 501, "trace"), ("trace", 501, "trace"), ("CONNECT", 400, "tunnel")] {
        let explanation = explain(&config(Unmatched::Deny), method, "/items/1");
        let Outcome::Refused { status: found, reason, .. } = &explanation.outcome else { panic!("{explanation}") };
        assert_eq!((*found, *reason), (status, expected), "{method}");
    }
}

#[test]
fn an_upstream_that_folds_case_is_explained() {
    let mut config = config(Unmatched::Deny);
    let mut route = route("any", &[], None, "/caf%C3%A9/{id}", Charge::Free);
    Arc::get_mut(&mut route).unwrap().pattern.path.any_case = true;
    config.matcher = Matcher::new(vec![route.pattern.clone()]).unwrap();
    config.routes = vec![route];
    assert_explained(
        &config,
        "GET",
        "//Caf%c3%89/A",
        r#"
request    GET //Caf%c3%89/A on any host
canonical  /Caf%C3%89/A
           escapes: //Caf%C3%89/A
           slashes: /Caf%C3%89/A
           compared in any case, not forwarded so: /café/a
route      any (/caf%C3%A9/{id})
price      free
upstream   api (http://127.0.0.1:3000, https://backend:443)
because    no other route matches
"#,
    );
}

#[test]
fn json_has_the_same_facts() {
    let explanation = explain(&config(Unmatched::Deny), "GET", "https://api.example.com//v1/premium/a");
    let json = serde_json::to_value(&explanation).unwrap();
    for (pointer, expected) in [
        ("/outcome", "answered"),
        ("/canonical", "/v1/premium/a"),
        ("/steps/0/step", "slashes"),
        ("/route/name", "premium"),
        ("/price/charge", "priced"),
        ("/price/offers/0/units", "0.01"),
        ("/price/offers/0/amount", "10000"),
        ("/price/offers/1/network", "eip155:8453"),
        ("/price/settle", "on-success"),
        ("/upstream/servers/0", "http://127.0.0.1:3000"),
        ("/runners_up/0/name", "wild"),
        ("/runners_up/0/because", "host: api.example.com before *.example.com"),
    ] {
        assert_eq!(json.pointer(pointer).and_then(|value| value.as_str()), Some(expected), "{pointer}: {json}");
    }
    assert_eq!(json.pointer("/price/window/milliseconds").and_then(|value| value.as_u64()), Some(60_000));
}

#[test]
fn a_config_that_cannot_be_read_and_a_method_that_is_none_exit_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    for method in ["GET", "no method"] {
        let output = Command::new(env!("CARGO_BIN_EXE_farebox"))
            .args(["explain", method, "/", "--config"])
            .arg(&missing)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
}
