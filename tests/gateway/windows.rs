//! Access windows: what a settled payment opens again, and what it does not.

use farebox::access::keys::PassKeys;
use farebox::access::pass::{Claims, Pass};
use farebox::x402::PaymentId;

use crate::support::payer::now;
use crate::support::{House, Payment, Request, Response};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn pass_of(response: &Response) -> String {
    response.header("farebox-pass").unwrap_or_else(|| panic!("no pass in {response:?}")).to_owned()
}

/// Name and value of the cookie that carries the pass.
fn cookie_of(response: &Response) -> (String, String) {
    let cookie = response.header("set-cookie").unwrap_or_else(|| panic!("no cookie in {response:?}"));
    let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
    (name.to_owned(), value.to_owned())
}

fn with_pass(path: &str, pass: &str) -> Request {
    Request::get(path).header("farebox-pass", pass)
}

async fn paid(house: &House, path: &str) -> (Payment, Response) {
    let payment = house.payment(path).await;
    let response = house.redeem(path, &payment).await;
    assert_eq!(response.status, 200, "{response:?}");
    (payment, response)
}

#[tokio::test]
async fn inside_a_window_payment_pass_and_cookie_each_open_the_route_without_a_facilitator() {
    for settle in ["on-success", "before", "overlap"] {
        let house = House::with_route(&format!("settle = \"{settle}\"\nwindow = \"60s\"")).await;
        let (payment, first) = paid(&house, "/paid/ok").await;
        let calls = house.facilitator.calls();
        let (name, value) = cookie_of(&first);

        let requests = [
            ("payment", Request::get("/paid/ok").paid(&payment)),
            ("pass", with_pass("/paid/ok", &pass_of(&first))),
            ("cookie", Request::get("/paid/ok").header("Cookie", format!("a=1; {name}={value}; b=2"))),
            ("pass elsewhere on the route", with_pass("/paid/status/201", &pass_of(&first))),
        ];
        for (what, request) in requests {
            let response = house.gateway.send(request).await;
            assert_eq!(response.status / 100, 2, "{settle}: {what}: {response:?}");
            let policy = response.header("cache-control").expect("a policy");
            assert_eq!(policy, "private", "{settle}: {what}");
        }
        assert_eq!(house.facilitator.calls(), calls, "{settle}: nobody is asked inside the window");
        assert_eq!(house.facilitator.charged(), 1);
    }
}

#[tokio::test]
async fn a_pass_is_for_the_gateway_and_not_for_the_upstream() {
    let house = House::with_route("window = \"60s\"").await;
    let (payment, first) = paid(&house, "/paid/ok").await;
    let pass = pass_of(&first);
    let (name, value) = cookie_of(&first);
    let cookie = format!("a=1; {name}={value}; farebox-pass-00000000=other; b=2");
    house.gateway.send(Request::get("/paid/ok").header("Cookie", cookie)).await;
    house.gateway.send(with_pass("/paid/ok", &pass)).await;
    house
        .gateway
        .send(Request::get("/free/ok").header("farebox-pass", &pass).header("Cookie", format!("{name}={value}")))
        .await;

    let requests = house.upstream.reached(4).await;
    assert_eq!(requests[1].header("cookie"), Some("a=1; b=2"));
    assert_eq!(requests[3].headers.all("cookie"), Vec::<&str>::new());
    let seen = format!("{requests:?}");
    assert!(!seen.contains(&pass) && !seen.contains(payment.signature()), "{seen}");
    // Whoever opened it, the upstream knows who paid, and which payment it was.
    let id = house.gateway.only_entry().id().to_owned();
    for request in &requests[..3] {
        assert_eq!(request.header("farebox-payment-id"), Some(id.as_str()));
        let payer = request.header("farebox-payer").expect("a payer");
        assert!(payer.eq_ignore_ascii_case(&house.payer.address().to_string()));
        assert_eq!(request.header("farebox-route"), Some("paid"));
    }
}

#[tokio::test]
async fn the_cookie_is_out_of_scripts_reach_and_secure_where_the_public_url_is() {
    let house = House::with_route("window = \"60s\"").await;
    let (_, response) = paid(&house, "/paid/ok").await;
    let cookie = response.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.starts_with("farebox-pass-"), "{cookie}");
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax") && cookie.contains("; Path=/"),
        "{cookie}"
    );
    assert!(!cookie.contains("Secure"), "{cookie}");
    let max_age = cookie.split("; ").find_map(|part| part.strip_prefix("Max-Age=")).expect("a lifetime");
    assert!((1..=60).contains(&max_age.parse::<u32>().expect("seconds")), "{cookie}");

    let house =
        House::build("window = \"60s\"", |setup| setup.server("public_url = \"https://api.example.com\"")).await;
    let (_, response) = paid(&house, "/paid/ok").await;
    let cookie = response.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; Secure"), "{cookie}");
}

#[tokio::test]
async fn without_a_window_one_payment_opens_one_request() {
    let house = House::with_route("").await;
    let (payment, response) = paid(&house, "/paid/ok").await;
    assert_eq!(response.headers.all("farebox-pass"), Vec::<&str>::new());
    assert_eq!(response.headers.all("set-cookie"), Vec::<&str>::new());
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    for path in ["/paid/ok", "/paid/other"] {
        let again = house.redeem(path, &payment).await;
        assert_eq!((again.status, again.error().as_str()), (402, "invalid_exact_evm_nonce_already_used"));
        assert_eq!(again.settlement().expect("PAYMENT-RESPONSE")["success"], false);
    }
    assert_eq!((house.upstream.count(), house.facilitator.charged()), (1, 1));
}

#[tokio::test]
async fn a_pass_opens_no_other_route_and_no_other_host() {
    let house = House::build("window = \"60s\"", |setup| {
        setup.route("other", "/other/*", "price = \"$0.01\"\nwindow = \"60s\"")
    })
    .await;
    let (payment, response) = paid(&house, "/paid/ok").await;
    let pass = pass_of(&response);
    let (name, value) = cookie_of(&response);
    let elsewhere: [(&str, Request); 5] = [
        ("another route", with_pass("/other/ok", &pass)),
        ("another route, by cookie", Request::get("/other/ok").header("Cookie", format!("{name}={value}"))),
        ("another route, by payment", Request::get("/other/ok").paid(&payment)),
        ("another host", with_pass("/paid/ok", &pass).header("Host", "other.example")),
        ("another host, by payment", Request::get("/paid/ok").paid(&payment).header("Host", "other.example")),
    ];
    for (what, request) in elsewhere {
        let response = house.gateway.send(request).await;
        assert_eq!(response.status, 402, "{what}: {response:?}");
    }
    assert_eq!((house.upstream.count(), house.facilitator.charged()), (1, 1));
}

#[tokio::test]
async fn a_changed_pass_opens_nothing() {
    let house = House::with_route("window = \"60s\"").await;
    let (_, response) = paid(&house, "/paid/ok").await;
    let pass = pass_of(&response);
    let mut connection = house.gateway.connect().await;
    let mut forged: Vec<String> = (0..pass.len())
        .map(|place| {
            let mut bytes = pass.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).expect("ASCII")
        })
        .collect();
    forged.extend([String::new(), ".".into(), "...".into(), pass[..pass.len() - 1].into(), format!("{pass}A")]);
    forged.extend([format!("{pass}="), "A".repeat(8000), format!("{pass},{pass}")]);
    for token in forged {
        let response = connection.exchange(&with_pass("/paid/ok", &token)).await;
        assert_eq!(response.status, 402, "{token:?}");
    }
    assert_eq!(house.upstream.count(), 1);
    assert_eq!(connection.exchange(&with_pass("/paid/ok", &pass)).await.status, 200, "the honest one");
}

#[tokio::test]
async fn passes_of_the_configs_keys_are_good_until_they_expire() {
    let keys = format!(
        "[[pass_key]]\nid = \"new\"\nsecret = \"{SECRET}\"\n[[pass_key]]\nid = \"old\"\nsecret = \"old-{SECRET}\""
    );
    let house = House::build("window = \"60s\"", |setup| setup.sections(&keys)).await;
    let (_, response) = paid(&house, "/paid/ok").await;
    assert!(pass_of(&response).starts_with("fb1.new."), "the first key signs");

    let old = format!("old-{SECRET}");
    let issue = |id: &str, secret: &str, expires_at: u64| {
        let keys = PassKeys::new([(id, secret.as_bytes())]).expect("keys");
        let claims = Claims {
            payer: "0x90F79bf6EB2c4f870365E785982E1f101E93b906".into(),
            payment_id: PaymentId::parse(&"ab".repeat(32)).expect("an id"),
            expires_at,
            uses: None,
        };
        // The host is bound as it is matched: in lower case, without a port.
        keys.issue(&Pass { route: "paid", host: "127.0.0.1", claims })
    };
    for (what, pass, status) in [
        ("good", issue("new", SECRET, now() + 60), 200),
        ("of the retiring key", issue("old", &old, now() + 60), 200),
        ("expired", issue("new", SECRET, now() - 1), 402),
        ("of another secret", issue("new", &old, now() + 60), 402),
        ("of no key", issue("none", SECRET, now() + 60), 402),
    ] {
        let response = house.gateway.send(with_pass("/paid/ok", &pass)).await;
        assert_eq!(response.status, status, "{what}: {response:?}");
    }
}

#[tokio::test]
async fn uses_are_counted_exactly_under_concurrency() {
    let house = House::with_route("window = { for = \"60s\", uses = 5 }").await;
    let (payment, response) = paid(&house, "/paid/ok").await;
    let pass = pass_of(&response);
    let requests = (0..20).map(|number| {
        let request = match number % 2 {
            0 => with_pass("/paid/ok", &pass),
            _ => Request::get("/paid/ok").paid(&payment),
        };
        house.gateway.send(request)
    });
    let responses = futures::future::join_all(requests).await;
    let opened = responses.iter().filter(|response| response.status == 200).count();
    assert_eq!(opened, 4, "five, the paid one included");
    for response in responses.iter().filter(|response| response.status != 200) {
        assert_eq!(response.status, 402, "{response:?}");
    }
    assert_eq!((house.upstream.count(), house.facilitator.charged()), (5, 1));
}

#[tokio::test]
async fn a_window_and_its_passes_survive_a_restart() {
    for how in ["kill", "term"] {
        let mut house = House::with_route("window = \"60s\"").await;
        let (payment, response) = paid(&house, "/paid/ok").await;
        house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
        match how {
            "kill" => house.gateway.kill().await,
            _ => {
                house.gateway.sigterm();
                house.gateway.wait_exit().await;
            }
        }
        house.gateway.start_again().await;
        for request in [with_pass("/paid/ok", &pass_of(&response)), Request::get("/paid/ok").paid(&payment)] {
            let response = house.gateway.send(request).await;
            assert_eq!(response.status, 200, "{how}: {response:?}");
        }
        assert_eq!(house.facilitator.charged(), 1, "{how}");
    }
}

#[tokio::test]
async fn uses_survive_a_restart() {
    let mut house = House::with_route("window = { for = \"60s\", uses = 2 }").await;
    let (_, response) = paid(&house, "/paid/ok").await;
    let pass = pass_of(&response);
    assert_eq!(house.gateway.send(with_pass("/paid/ok", &pass)).await.status, 200);
    house.gateway.kill().await;
    house.gateway.start_again().await;
    assert_eq!(house.gateway.send(with_pass("/paid/ok", &pass)).await.status, 402);
}

#[tokio::test]
async fn what_the_chain_shows_of_a_payment_does_not_open_its_window() {
    // Payer, nonce, value and times are public once settled; the signature is in the transaction's input as well, but
    // another signature over the same nonce is somebody else's.
    let house = House::with_route("window = \"60s\"").await;
    let (payment, _) = paid(&house, "/paid/ok").await;
    let forged = [
        payment.clone().with("/payload/signature", format!("0x{}", "11".repeat(65)).into()),
        payment.clone().with("/payload/signature", format!("0x{}", "11".repeat(200)).into()),
        payment.clone().with("/payload/authorization/validAfter", "0".into()),
    ];
    for payment in forged {
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!(response.status, 402, "{response:?}");
    }
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn a_window_does_not_open_for_a_failed_payment() {
    let house = House::with_route("window = \"60s\"").await;
    let payment = house.payment("/paid/status/500").await;
    let response = house.redeem("/paid/status/500", &payment).await;
    assert_eq!(response.status, 500);
    assert_eq!(response.headers.all("farebox-pass"), Vec::<&str>::new());
    assert_eq!(response.headers.all("set-cookie"), Vec::<&str>::new());
    assert_eq!(house.facilitator.charged(), 0);
}

#[tokio::test]
async fn inside_a_window_an_upstream_failure_costs_nothing_and_closes_nothing() {
    let house = House::with_route("window = \"60s\"").await;
    let (_, response) = paid(&house, "/paid/ok").await;
    let pass = pass_of(&response);
    assert_eq!(house.gateway.send(with_pass("/paid/status/500", &pass)).await.status, 500);
    assert_eq!(house.gateway.send(with_pass("/paid/ok", &pass)).await.status, 200);
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn a_pass_that_is_good_keeps_a_payment_from_being_spent() {
    let house = House::with_route("window = \"60s\"").await;
    let (_, response) = paid(&house, "/paid/ok").await;
    let unspent = house.payment("/paid/ok").await;
    let both = with_pass("/paid/ok", &pass_of(&response)).paid(&unspent);
    assert_eq!(house.gateway.send(both).await.status, 200);
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn a_pass_that_is_no_good_does_not_stand_in_a_payments_way() {
    let house = House::with_route("window = { for = \"60s\", uses = 1 }").await;
    let (spent, response) = paid(&house, "/paid/ok").await;
    house.gateway.entry_becomes("delivered", |entry| entry.delivered()).await;
    for pass in [pass_of(&response), "fb1.forged".into()] {
        let fresh = house.payment("/paid/ok").await;
        let response = house.gateway.send(with_pass("/paid/ok", &pass).paid(&fresh)).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    let again = house.redeem("/paid/ok", &spent).await;
    assert_eq!((again.status, again.error().as_str()), (402, "invalid_exact_evm_nonce_already_used"));
    assert_eq!(house.facilitator.charged(), 3);
}

#[tokio::test]
async fn a_use_that_was_paid_for_and_not_delivered_is_not_lost() {
    let house = House::with_route("settle = \"before\"\nwindow = { for = \"60s\", uses = 1 }").await;
    let payment = house.payment("/paid/ok").await;
    house.upstream.queue(crate::support::Answer::text(500, "broken"));
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 500);
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, house.facilitator.charged()), (200, 1), "{response:?}");
}

#[tokio::test]
async fn a_stale_cookie_beside_a_good_one_is_passed_over() {
    let house = House::with_route("window = \"60s\"").await;
    let (_, response) = paid(&house, "/paid/ok").await;
    let (name, value) = cookie_of(&response);
    let cookies = format!("{name}=fb1.stale; {name}={value}");
    let response = house.gateway.send(Request::get("/paid/ok").header("Cookie", cookies)).await;
    assert_eq!(response.status, 200, "{response:?}");
}

#[tokio::test]
async fn keys_are_rotated_by_a_reload_without_closing_a_window() {
    let key = |id: &str| format!("[[pass_key]]\nid = \"{id}\"\nsecret = \"{id}-{SECRET}\"\n");
    let house = House::build("window = \"60s\"", |setup| setup.sections(&key("first"))).await;
    let (_, response) = paid(&house, "/paid/ok").await;
    let old = pass_of(&response);
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    house.gateway.rewrite_text(&text.replace(&key("first"), &format!("{}{}", key("second"), key("first"))));
    assert_eq!(house.gateway.reload().await.status, 200);
    assert_eq!(house.gateway.send(with_pass("/paid/ok", &old)).await.status, 200);
    let (_, response) = paid(&house, "/paid/ok").await;
    assert!(pass_of(&response).starts_with("fb1.second."), "{response:?}");

    house.gateway.rewrite_text(&text.replace(&key("first"), &key("second")));
    assert_eq!(house.gateway.reload().await.status, 200);
    assert_eq!(house.gateway.send(with_pass("/paid/ok", &old)).await.status, 402, "its key is gone");
}

#[tokio::test]
async fn a_host_is_the_same_in_every_spelling() {
    let house = House::with_route("window = \"60s\"").await;
    let at = |request: Request, host: &str| request.header("Host", host);
    let payment = house.payment("/paid/ok").await;
    let first = house.gateway.send(at(Request::get("/paid/ok").paid(&payment), "Api.Example.COM")).await;
    assert_eq!(first.status, 200);
    for host in ["api.example.com", "API.EXAMPLE.COM:8080", "api.example.com.", "api.example.com:80"] {
        let response = house.gateway.send(at(with_pass("/paid/ok", &pass_of(&first)), host)).await;
        assert_eq!(response.status, 200, "{host}");
    }
    let elsewhere = house.gateway.send(at(with_pass("/paid/ok", &pass_of(&first)), "api.example.org")).await;
    assert_eq!(elsewhere.status, 402);
}
