//! Two gateways that share a ledger behave as one; and what becomes of both when the database does not answer.

use futures::future::{join, join_all};

use crate::support::fleet::Fleet;
use crate::support::gateway::Process;
use crate::support::postgres::Postgres;
use crate::support::{Answer, Challenge, House, Payer, Request, Settle, eventually};

const AT_ONCE: usize = 20;
const MODES: [&str; 3] = ["on-success", "before", "overlap"];

#[tokio::test]
async fn the_same_payment_many_times_at_once_is_settled_once_and_opens_one_request() {
    for settle in MODES {
        let fleet = Fleet::with_route(Postgres::shared(), &format!("settle = \"{settle}\"")).await;
        let payment = fleet.payment("/paid/ok").await;
        let responses = join_all((0..AT_ONCE).map(|_| fleet.redeem("/paid/ok", &payment))).await;
        let served = responses.iter().filter(|response| response.status == 200).count();
        assert_eq!(served, 1, "{settle}");
        for response in responses.iter().filter(|response| response.status != 200) {
            match response.status {
                402 => assert_eq!(response.error(), "invalid_exact_evm_nonce_already_used"),
                409 => assert_eq!(response.error(), "payment_in_use"),
                other => panic!("{settle}: {other}: {response:?}"),
            }
        }
        assert_eq!((fleet.facilitator.calls().1, fleet.upstream.count()), (1, 1), "{settle}");
        for gateway in &fleet.gateways {
            assert_eq!(gateway.only_entry().state(), "settled");
        }
    }
}

#[tokio::test]
async fn the_same_payment_many_times_at_once_inside_a_window_is_settled_once_and_opens_all() {
    for settle in MODES {
        let keys = format!("settle = \"{settle}\"\nwindow = \"60s\"");
        let fleet = Fleet::with_route(Postgres::shared(), &keys).await;
        let payment = fleet.payment("/paid/ok").await;
        let responses = join_all((0..2 * AT_ONCE).map(|_| fleet.redeem("/paid/ok", &payment))).await;
        for response in &responses {
            assert_eq!(response.status, 200, "{settle}: {}", response.text());
        }
        assert_eq!(fleet.facilitator.calls().1, 1, "{settle}: asked to settle once");
    }
}

#[tokio::test]
async fn the_uses_of_a_window_are_counted_together() {
    let fleet = Fleet::with_route(Postgres::shared(), "window = { for = \"60s\", uses = 7 }").await;
    let payment = fleet.payment("/paid/ok").await;
    let first = fleet.redeem_at(0, "/paid/ok", &payment).await;
    let pass = first.header("farebox-pass").expect("a pass").to_owned();
    let by_payment = join_all((0..AT_ONCE).map(|_| fleet.redeem("/paid/ok", &payment)));
    let by_pass = join_all((0..AT_ONCE).map(|_| fleet.send(Request::get("/paid/ok").header("farebox-pass", &pass))));
    let (by_payment, by_pass) = join(by_payment, by_pass).await;
    let served = by_payment.iter().chain(&by_pass).filter(|response| response.status == 200).count();
    assert_eq!((served + 1, fleet.upstream.count(), fleet.facilitator.charged()), (7, 7, 1));
}

#[tokio::test]
async fn what_one_gateway_has_opened_is_open_at_the_other() {
    let fleet = Fleet::with_route(Postgres::shared(), "window = \"60s\"").await;
    for (one, other) in [(0, 1), (1, 0)] {
        let payment = fleet.payment("/paid/ok").await;
        let first = fleet.redeem_at(one, "/paid/ok", &payment).await;
        let pass = first.header("farebox-pass").expect("a pass").to_owned();
        let mut connection = fleet.connect(other, Request::get("/paid/ok").header("farebox-pass", pass)).await;
        assert_eq!(connection.head("GET").await.status, 200, "by its pass");
        assert_eq!(fleet.redeem_at(other, "/paid/ok", &payment).await.status, 200, "by the payment");
    }
    assert_eq!(fleet.facilitator.charged(), 2);
}

#[tokio::test]
async fn a_payment_that_one_gateway_is_settling_is_waited_for_at_the_other() {
    for settle in MODES {
        let fleet = Fleet::with_route(Postgres::shared(), &format!("settle = \"{settle}\"\nwindow = \"60s\"")).await;
        let payment = fleet.payment("/paid/ok").await;
        let held = fleet.facilitator.hold_settle(Settle::Settled);
        let first = fleet.redeem_at(0, "/paid/ok", &payment);
        let second = async {
            fleet.facilitator.settle_reached(1).await;
            let mut connection = fleet.connect(1, Request::get("/paid/ok").paid(&payment)).await;
            held.release();
            connection.head("GET").await
        };
        let (first, second) = join(first, second).await;
        assert_eq!((first.status, second.status, fleet.facilitator.charged()), (200, 200, 1), "{settle}");
    }
}

#[tokio::test]
async fn a_payment_whose_response_is_under_way_at_one_gateway_is_in_use_at_the_other() {
    let fleet = Fleet::with_route(Postgres::shared(), "").await;
    let payment = fleet.payment("/paid/sse").await;
    let events = fleet.upstream.stream();
    let mut connection = fleet.connect(0, Request::get("/paid/sse").paid(&payment)).await;
    let head = connection.head("GET").await;
    let second = fleet.redeem_at(1, "/paid/ok", &payment).await;
    assert_eq!((second.status, second.error().as_str()), (409, "payment_in_use"));
    drop(events);
    assert!(connection.finish(head).await.complete, "the first is none the worse");
    assert_eq!(fleet.redeem_at(1, "/paid/ok", &payment).await.status, 402, "and has spent it");
    assert_eq!(fleet.upstream.count(), 1);
}

#[tokio::test]
async fn what_one_gateway_did_not_deliver_the_other_delivers() {
    for settle in ["before", "overlap"] {
        let fleet = Fleet::with_route(Postgres::shared(), &format!("settle = \"{settle}\"")).await;
        let payment = fleet.payment("/paid/ok").await;
        fleet.upstream.queue(Answer::text(500, "broken"));
        assert_eq!(fleet.redeem_at(0, "/paid/ok", &payment).await.status, 500, "{settle}");
        let responses = join_all((0..AT_ONCE).map(|_| fleet.redeem("/paid/ok", &payment))).await;
        let served = responses.iter().filter(|response| response.status == 200).count();
        assert_eq!((served, fleet.upstream.count(), fleet.facilitator.calls().1), (1, 2, 1), "{settle}");
    }
}

/// Each at another point of its payment when its gateway is killed.
#[tokio::test]
async fn what_a_killed_gateway_held_is_taken_over_when_its_lease_has_ended() {
    let mut fleet = Fleet::with_route(Postgres::shared(), "").await;
    let challenge = Challenge::of(&fleet.send(Request::get("/paid/ok")).await);
    let [reserved, settling, streaming] = [(); 3].map(|()| Payer::new().pay_v2(&challenge));

    let events = fleet.upstream.stream();
    let mut stream = fleet.connect(0, Request::get("/paid/sse").paid(&streaming)).await;
    assert_eq!(stream.head("GET").await.status, 200);
    let held = fleet.facilitator.hold_settle(Settle::Settled);
    let _settling = fleet.connect(0, Request::get("/paid/ok").paid(&settling)).await;
    fleet.facilitator.settle_reached(2).await;
    let _upstream = fleet.upstream.hold(Answer::text(200, "never seen"));
    let _reserved = fleet.connect(0, Request::get("/paid/ok").paid(&reserved)).await;
    fleet.upstream.reached(3).await;
    fleet.gateways[0].kill().await;
    // The facilitator carries it out all the same.
    held.release();
    drop(events);

    let one = async {
        let response = fleet.redeem_at(1, "/paid/ok", &reserved).await;
        assert_eq!(response.status, 200, "nothing was asked of anybody: {response:?}");
    };
    let two = eventually("what was being settled", async || {
        let response = fleet.redeem_at(1, "/paid/ok", &settling).await;
        assert!([200, 503].contains(&response.status), "it may have been charged: {response:?}");
        (response.status == 200).then_some(())
    });
    let three = eventually("the delivery of what was cut off", async || {
        let response = fleet.redeem_at(1, "/paid/ok", &streaming).await;
        assert!([200, 409].contains(&response.status), "{response:?}");
        (response.status == 200).then_some(())
    });
    let _: ((), ((), ())) = join(one, join(two, three)).await;
    assert_eq!(fleet.facilitator.charged(), 3);
    let mut states: Vec<_> = fleet.gateways[1].ledger().iter().map(|entry| entry.state().to_owned()).collect();
    states.sort_unstable();
    assert_eq!(states, ["settled"; 3]);
}

/// Its last write is kept waiting, and ends with its connection.
#[tokio::test]
async fn killed_when_it_has_read_the_yes_and_not_written_it_the_payment_opens_when_the_lease_has_ended() {
    let server = Postgres::shared();
    let url = server.database().await;
    let mut house = House::build("", |setup| setup.ledger(&url)).await;
    let payment = house.payment("/paid/ok").await;
    let held = house.facilitator.hold_settle(Settle::Settled);
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    house.facilitator.settle_reached(1).await;
    let (mut holder, shell) = join(server.connect(&url), server.connect(&url)).await;
    let transaction = holder.transaction().await.expect("a transaction");
    transaction.query("SELECT FROM farebox_payment FOR UPDATE", &[]).await.expect("the payment held");
    held.release();
    let waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waits = async || !shell.query(waiting, &[]).await.expect("the activity").is_empty();
    eventually("the yes to be written down", async || waits().await.then_some(())).await;
    house.gateway.kill().await;
    let end = format!("SELECT pg_terminate_backend(pid) FROM ({waiting}) AS waiting");
    shell.query(&end, &[]).await.expect("its connection ended");
    eventually("the end of the write", async || (!waits().await).then_some(())).await;
    transaction.rollback().await.expect("let go of");
    let row = shell.query_one("SELECT state FROM farebox_payment", &[]).await.expect("the only payment");
    assert_eq!(row.get::<_, &str>(0), "settling");

    house.gateway.start_again().await;
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{response:?}");
    assert_eq!(house.facilitator.charged(), 1);
}

#[tokio::test]
async fn a_gateway_that_stood_still_past_its_lease_does_not_settle_what_the_other_took_over() {
    let fleet = Fleet::with_route(Postgres::shared(), "verify = \"local\"").await;
    let payment = fleet.payment("/paid/ok").await;
    let upstream = fleet.upstream.hold(Answer::text(200, "too late"));
    let mut first = fleet.connect(0, Request::get("/paid/ok").paid(&payment)).await;
    fleet.upstream.reached(1).await;
    fleet.gateways[0].sigstop();
    let second = fleet.redeem_at(1, "/paid/ok", &payment).await;
    assert_eq!((second.status, second.text().as_str()), (200, "ok"), "{second:?}");
    upstream.release();
    fleet.gateways[0].sigcont();
    let head = first.head("GET").await;
    let first = first.finish(head).await;
    assert_eq!(first.status, 503, "{first:?}");
    assert_eq!(first.header("payment-required"), None);
    assert_eq!(fleet.facilitator.calls(), (0, 1), "settled by one of them");
    let entry = fleet.gateways[0].entry_becomes("delivered", |entry| entry.delivered()).await;
    assert_eq!(entry.state(), "settled");
    assert_eq!(fleet.redeem_at(0, "/paid/ok", &payment).await.status, 402, "and spent");
}

#[tokio::test]
async fn while_the_database_does_not_answer_nothing_is_charged_and_afterwards_all_goes_on() {
    let server = Postgres::start();
    let fleet = Fleet::with_route(&server, "window = { for = \"60s\", uses = 9 }").await;
    let payment = fleet.payment("/paid/ok").await;
    let pass = fleet.redeem("/paid/ok", &payment).await.header("farebox-pass").expect("a pass").to_owned();
    server.pause();
    nothing_is_charged(&fleet, &pass).await;
    server.resume();
    all_goes_on(&fleet, &pass).await;
    server.stop();
    nothing_is_charged(&fleet, &pass).await;
    server.start_again();
    all_goes_on(&fleet, &pass).await;
}

/// It is the answer that is waited for: the database does not come back before it.
async fn nothing_is_charged(fleet: &Fleet, pass: &str) {
    let payment = fleet.payment("/paid/ok").await;
    let (calls, forwarded) = (fleet.facilitator.calls(), fleet.upstream.count());
    for (n, gateway) in fleet.gateways.iter().enumerate() {
        let paid = fleet.redeem_at(n, "/paid/ok", &payment);
        let (paid, free) = join(paid, gateway.send(Request::get("/free/ok"))).await;
        assert_eq!((paid.status, paid.error().as_str()), (503, "ledger_unavailable"));
        assert!(paid.header("retry-after").is_some());
        assert_eq!(free.status, 200, "free routes go on");
        assert_eq!(gateway.ask(Request::get("/readyz")).await.status, 503);
    }
    let by_pass = fleet.send(Request::get("/paid/ok").header("farebox-pass", pass)).await;
    assert_eq!(by_pass.status, 503, "a use that cannot be counted");
    assert_eq!(fleet.send(Request::get("/paid/ok")).await.status, 402, "challenges go on");
    assert_eq!(fleet.facilitator.calls(), calls, "nobody is asked");
    assert_eq!(fleet.upstream.count(), forwarded + fleet.gateways.len(), "the free ones");
}

/// Without a restart.
async fn all_goes_on(fleet: &Fleet, pass: &str) {
    for gateway in &fleet.gateways {
        eventually("readiness", async || (gateway.ask(Request::get("/readyz")).await.status == 200).then_some(()))
            .await;
    }
    let charged = fleet.facilitator.charged();
    let payment = fleet.payment("/paid/ok").await;
    for gateway in [0, 1] {
        assert_eq!(fleet.redeem_at(gateway, "/paid/ok", &payment).await.status, 200);
    }
    assert_eq!(fleet.facilitator.charged(), charged + 1);
    assert_eq!(fleet.send(Request::get("/paid/ok").header("farebox-pass", pass)).await.status, 200);
}

#[tokio::test]
async fn while_the_database_is_too_slow_nothing_is_charged_and_afterwards_all_goes_on() {
    let server = Postgres::shared();
    let url = server.database().await;
    let house = House::build("", |setup| setup.ledger(&url)).await;
    let payment = house.payment("/paid/ok").await;
    let mut shell = server.connect(&url).await;
    let transaction = shell.transaction().await.expect("a transaction");
    transaction.batch_execute("LOCK TABLE farebox_payment").await.expect("the table held");
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, response.error().as_str()), (503, "ledger_unavailable"), "{response:?}");
    assert!(response.header("retry-after").is_some(), "{response:?}");
    assert_eq!((house.facilitator.calls(), house.upstream.count()), ((0, 0), 0));
    assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200, "free routes go on");
    house.gateway.says("it is too slow: look at its load and its locks").await;
    transaction.rollback().await.expect("let go of");
    let response = house.redeem("/paid/ok", &payment).await;
    assert_eq!((response.status, house.facilitator.charged()), (200, 1), "{response:?}");
}

#[tokio::test]
async fn an_outcome_that_the_database_could_not_be_told_is_written_when_it_is_back() {
    let server = Postgres::start();
    let url = server.database().await;
    let house = House::build("settle = \"before\"", |setup| setup.ledger(&url)).await;
    let payment = house.payment("/paid/ok").await;
    let held = house.facilitator.hold_settle(Settle::Settled);
    let first = async {
        house.facilitator.settle_reached(1).await;
        server.stop();
        held.release();
    };
    let (response, ()) = join(house.redeem("/paid/ok", &payment), first).await;
    assert_eq!((response.status, response.error().as_str()), (503, "settlement_pending"), "{response:?}");
    server.start_again();
    let entry = house.gateway.entry_becomes("settled", |entry| entry.state() == "settled").await;
    assert!(!entry.delivered());
    assert_eq!(house.facilitator.calls().1, 1, "nobody was asked again");
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    assert_eq!((house.facilitator.calls().1, house.upstream.count()), (1, 1));
}

#[tokio::test]
async fn a_gateway_without_its_database_does_not_start_and_says_where_it_looked() {
    let house = House::with_route("").await;
    let text = house.gateway.setup().clone().ledger("postgres://farebox:hushhush@127.0.0.1:1/shop").render(0, 0);
    let config = house.gateway.folder().join("second.toml");
    std::fs::write(&config, text).expect("the config written");
    let process = Process::run(&config);
    let status = eventually("its end", async || process.exited()).await;
    let said = process.stderr();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("postgres://farebox@127.0.0.1:1/shop: it cannot be reached"), "{said}");
    assert!(!said.contains("hushhush"), "{said}");
}
