//! A new file while requests go on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::http::Connection;
use crate::support::ports::Port;
use crate::support::tls::{self, Certificate, Certificates};
use crate::support::{Challenge, House, Request, eventually};

async fn price(house: &House) -> String {
    house.challenge("/paid/ok").await.amount().to_owned()
}

fn priced(house: &House, price: &str) -> crate::support::Setup {
    house.gateway.setup().clone().route("paid", "/paid/*", &format!("price = \"{price}\""))
}

async fn reloads(house: &House, result: &str) -> f64 {
    house.gateway.metrics().await.sum("farebox_reloads_total", &[("result", result)])
}

#[tokio::test]
async fn a_file_that_is_replaced_is_in_force_by_itself() {
    let mut house = House::with_route("").await;
    assert_eq!(price(&house).await, "10000");
    let changed = priced(&house, "$0.02");
    house.gateway.rewrite(changed);
    eventually("the new price", async || (price(&house).await == "20000").then_some(())).await;
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_in_force_by_itself() {
    let house = House::with_route("").await;
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    std::fs::write(house.gateway.config(), text.replace("$0.01", "$0.03")).expect("written");
    eventually("the new price", async || (price(&house).await == "30000").then_some(())).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_by_itself() {
    let (mut certificate, port) = (Certificate::make(), Port::claim());
    let files = Certificates::with(&certificate);
    let house = House::build("", |setup| setup.server(&files.server_key(port.number))).await;
    let address = ([127, 0, 0, 1], port.number).into();
    for renewal in ["the first", "the next"] {
        let renewed = Certificate::make();
        // One after the other, as they are written: in between they do not fit, and nothing changes.
        files.put(&renewed.pem, &certificate.key_pem);
        files.put(&renewed.pem, &renewed.key_pem);
        eventually(renewal, async || tls::connect(address, b"", &renewed, &["h2"]).await.ok()).await;
        assert!(tls::connect(address, b"", &certificate, &["h2"]).await.is_err(), "the old one is shown no more");
        certificate = renewed;
    }
    assert!(reloads(&house, "applied").await >= 2.0, "the config's own text is as it was, and what it comes to is not");
    // Files that the config names only since it was changed.
    let (elsewhere, moved) = (Certificates::with(&certificate), Certificate::make());
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    house.gateway.rewrite_text(&text.replace(&files.server_key(port.number), &elsewhere.server_key(port.number)));
    assert_eq!(house.gateway.reload().await.status, 200);
    elsewhere.put(&moved.pem, &moved.key_pem);
    eventually("a file of another name", async || tls::connect(address, b"", &moved, &["h2"]).await.ok()).await;
}

#[tokio::test]
async fn sighup_loads_the_file_again() {
    let house = House::with_route("").await;
    house.gateway.sighup();
    eventually("the signal to be counted", async || (reloads(&house, "unchanged").await == 1.0).then_some(())).await;
    assert_eq!(price(&house).await, "10000");
}

#[tokio::test]
async fn post_reload_answers_what_came_of_it() {
    let mut house = House::with_route("").await;
    let unchanged = house.gateway.reload().await;
    assert_eq!((unchanged.status, &unchanged.json()["ok"]), (200, &true.into()));
    let hash = unchanged.json()["config_hash"].clone();

    let changed = priced(&house, "$0.02");
    house.gateway.rewrite(changed);
    let applied = house.gateway.reload().await;
    assert_eq!((applied.status, &applied.json()["ok"]), (200, &true.into()));
    assert_ne!(applied.json()["config_hash"], hash);
    assert_eq!(applied.json()["needs_restart"], serde_json::json!([]));
    assert_eq!(price(&house).await, "20000", "in force when the answer comes");
    let shown = applied.json()["config_hash"].as_str().expect("a hash").to_owned();
    assert_eq!(house.gateway.metrics().await.sum("farebox_config_info", &[("hash", &shown)]), 1.0);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_told() {
    let house = House::with_route("").await;
    let good = std::fs::read_to_string(house.gateway.config()).expect("the file");
    let bad = [
        ("no TOML", "this is [ not".to_owned()),
        ("an unknown key", good.replace("price = \"$0.01\"", "prise = \"$0.01\"")),
        ("a price that does not fit", good.replace("$0.01", "$0.0000001")),
        ("an upstream that is not there", good.replace("upstream = \"api\"", "upstream = \"apo\"")),
        ("empty", String::new()),
    ];
    for (what, text) in &bad {
        house.gateway.rewrite_text(text);
        let answer = house.gateway.reload().await;
        assert_eq!(answer.status, 422, "{what}: {answer:?}");
        assert_eq!(answer.json()["ok"], false, "{what}");
        assert!(answer.json()["errors"].as_str().is_some_and(|errors| errors.contains("gateway.toml")), "{what}");
        assert_eq!(price(&house).await, "10000", "{what}");
        assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200, "{what}");
    }
    assert!(reloads(&house, "refused").await >= bad.len() as f64);
    assert_eq!(house.gateway.metrics().await.sum("farebox_config_last_reload_successful", &[]), 0.0);

    house.gateway.rewrite_text(&good.replace("$0.01", "$0.04"));
    assert_eq!(house.gateway.reload().await.status, 200);
    assert_eq!(price(&house).await, "40000");
    assert_eq!(house.gateway.metrics().await.sum("farebox_config_last_reload_successful", &[]), 1.0);
}

#[tokio::test]
async fn a_file_that_goes_away_and_comes_back_changes_nothing_meanwhile() {
    let house = House::with_route("").await;
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    std::fs::remove_file(house.gateway.config()).expect("removed");
    let answer = house.gateway.reload().await;
    assert_eq!(answer.json()["ok"], false, "{answer:?}");
    assert_eq!(price(&house).await, "10000");
    house.gateway.rewrite_text(&text.replace("$0.01", "$0.05"));
    eventually("the new price", async || (price(&house).await == "50000").then_some(())).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let house = House::with_route("").await;
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    let changed = text
        .replace("$0.01", "$0.06")
        .replace("sqlite:farebox.db", "sqlite:other.db")
        .replace(&format!("listen = [\"{}\"]", house.gateway.address()), "listen = [\"127.0.0.1:1\"]");
    house.gateway.rewrite_text(&changed);
    let answer = house.gateway.reload().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let named = answer.json()["needs_restart"].to_string();
    assert!(named.contains("server.listen") && named.contains("ledger"), "{named}");
    assert_eq!(price(&house).await, "60000");

    // Until the restart, and not only when it is first read.
    let again = house.gateway.reload().await.json();
    assert_eq!(again["needs_restart"].to_string(), named);
}

#[tokio::test]
async fn a_quote_is_honoured_after_the_price_has_changed() {
    let mut house = House::with_route("").await;
    let challenge = house.challenge("/paid/ok").await;
    let changed = priced(&house, "$0.02");
    house.gateway.rewrite(changed);
    assert_eq!(house.gateway.reload().await.status, 200);
    assert_eq!(price(&house).await, "20000");

    for payment in [house.payer.pay_v2(&challenge), house.payer.pay_v1(&challenge)] {
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    let entries = house.gateway.ledger();
    assert_eq!(entries.iter().map(|entry| entry.text("amount")).collect::<Vec<_>>(), ["10000", "10000"]);

    // Honoured is what was quoted, not whatever is less than the price.
    let never = house.payer.pay_v2(&challenge).with("/accepted/amount", "15000".into());
    assert_eq!(house.redeem("/paid/ok", &never).await.status, 402);
    let dearer = house.payment("/paid/ok").await;
    assert_eq!(house.redeem("/paid/ok", &dearer).await.status, 200, "and the new price");
}

#[tokio::test]
async fn a_window_goes_on_over_a_reload() {
    let mut house = House::with_route("window = \"60s\"").await;
    let payment = house.payment("/paid/ok").await;
    let response = house.redeem("/paid/ok", &payment).await;
    let pass = response.header("farebox-pass").expect("a pass").to_owned();
    let changed = house.gateway.setup().clone().route("paid", "/paid/*", "price = \"$1\"\nwindow = \"60s\"");
    house.gateway.rewrite(changed);
    assert_eq!(house.gateway.reload().await.status, 200);
    for request in [Request::get("/paid/ok").header("farebox-pass", pass), Request::get("/paid/ok").paid(&payment)] {
        assert_eq!(house.gateway.send(request).await.status, 200);
    }
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn a_request_that_is_under_way_ends_on_the_file_it_began_on() {
    let mut house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    let upstream = house.upstream.hold(crate::support::Answer::text(200, "old"));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    house.upstream.reached(1).await;
    // The route is gone from the new file.
    let changed = house.gateway.setup().clone().route("paid", "/elsewhere/*", "price = \"$9\"");
    house.gateway.rewrite(changed);
    assert_eq!(house.gateway.reload().await.status, 200);
    assert_eq!(house.gateway.send(Request::get("/paid/ok")).await.status, 404);
    upstream.release();
    let head = connection.head("GET").await;
    let response = connection.finish(head).await;
    assert_eq!((response.status, response.text().as_str()), (200, "old"));
    assert_eq!(house.gateway.only_entry().text("amount"), "10000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloading_under_load_loses_no_request() {
    let house = House::with_route("").await;
    let text = std::fs::read_to_string(house.gateway.config()).expect("the file");
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async |number: usize| {
        let mut kept: Connection = house.gateway.connect().await;
        while !stop.load(Ordering::Relaxed) {
            let free = kept.exchange(&Request::get("/free/ok")).await;
            assert_eq!((free.status, free.text().as_str()), (200, "ok"));
            let challenge = Challenge::of(&kept.exchange(&Request::get("/paid/ok")).await);
            assert!(["10000", "20000"].contains(&challenge.amount()), "{}", challenge.amount());
            if number == 0 {
                let paid = house.redeem("/paid/ok", &house.payer.pay_v2(&challenge)).await;
                assert_eq!(paid.status, 200, "{paid:?}");
            }
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let reloading = async {
        for number in 0..20 {
            let price = if number % 2 == 0 { "$0.02" } else { "$0.01" };
            house.gateway.rewrite_text(&text.replace("$0.01", price));
            assert_eq!(house.gateway.reload().await.status, 200);
            let so_far = served.load(Ordering::Relaxed);
            eventually("more requests", async || (served.load(Ordering::Relaxed) >= so_far + 4).then_some(())).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(load(0), load(1), load(2), load(3), reloading);
    assert!(served.load(Ordering::Relaxed) >= 80);
}
