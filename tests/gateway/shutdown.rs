//! Ending well, and not starting badly.

use crate::support::ports::Port;
use crate::support::{Answer, House, Request, Settle};

#[tokio::test]
async fn sigterm_finishes_what_is_under_way_and_ends_with_0() {
    ends_well(|house| house.gateway.sigterm()).await;
}

#[tokio::test]
async fn sigint_finishes_what_is_under_way_and_ends_with_0() {
    ends_well(|house| house.gateway.sigint()).await;
}

async fn ends_well(signal: impl Fn(&House)) {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    let upstream = house.upstream.hold(Answer::text(200, "late"));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    house.upstream.reached(1).await;
    signal(&house);
    house.gateway.stops_listening().await;
    upstream.release();
    let head = connection.head("GET").await;
    let response = connection.finish(head).await;
    assert_eq!((response.status, response.text().as_str()), (200, "late"));
    assert!(response.settlement().is_some());
    assert_eq!(house.gateway.wait_exit().await.code(), Some(0), "{}", house.gateway.stderr());
    let entry = house.gateway.only_entry();
    assert_eq!((entry.state(), entry.delivered()), ("settled", true), "the ledger was flushed");
}

#[tokio::test]
async fn sigterm_waits_for_a_settlement_whose_client_has_gone() {
    let house = House::with_route("settle = \"before\"").await;
    let payment = house.payment("/paid/ok").await;
    let settle = house.facilitator.hold_settle(Settle::Settled);
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/paid/ok").paid(&payment)).await;
    house.facilitator.settle_reached(1).await;
    drop(connection);
    house.gateway.sigterm();
    house.gateway.stops_listening().await;
    settle.release();
    assert_eq!(house.gateway.wait_exit().await.code(), Some(0), "{}", house.gateway.stderr());
    assert_eq!(house.gateway.only_entry().state(), "settled");
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once() {
    let house = House::with_route("").await;
    // A kept-alive connection that nobody uses holds nothing up.
    let mut idle = house.gateway.connect().await;
    assert_eq!(idle.exchange(&Request::get("/free/ok")).await.status, 200);
    house.gateway.sigterm();
    assert_eq!(house.gateway.wait_exit().await.code(), Some(0), "{}", house.gateway.stderr());
    assert!(idle.is_closed().await);
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_cut_and_said() {
    let house = House::build("", |setup| setup.server("drain_timeout = \"300ms\"")).await;
    let _never = house.upstream.hold(Answer::text(200, "late"));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/free/ok")).await;
    house.upstream.reached(1).await;
    house.gateway.sigterm();
    assert_eq!(house.gateway.wait_exit().await.code(), Some(1), "unclean: {}", house.gateway.stderr());
}

#[tokio::test]
async fn a_busy_port_is_said_at_once_with_exit_code_2() {
    let house = House::with_route("").await;
    let (port, admin) = (Port::claim(), Port::claim());
    let setup = house.gateway.setup().clone().ledger("memory:");
    for text in [
        setup.render(house.gateway.address().port(), admin.number),
        setup.render(port.number, house.gateway.admin().port()),
    ] {
        let (status, stderr) = house.gateway.second(&text).await;
        assert_eq!(status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("in use") && stderr.contains("127.0.0.1:"), "{stderr}");
    }
    assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200, "the first is none the worse");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_ledger_is_refused() {
    let house = House::with_route("").await;
    let (port, admin) = (Port::claim(), Port::claim());
    let text = house.gateway.setup().render(port.number, admin.number);
    let (status, stderr) = house.gateway.second(&text).await;
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("farebox.db"), "{stderr}");
    let payment = house.payment("/paid/ok").await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200, "the first is none the worse");
}

#[tokio::test]
async fn a_bad_file_is_said_before_anything_listens() {
    let house = House::with_route("").await;
    let (port, admin) = (Port::claim(), Port::claim());
    let text = house.gateway.setup().render(port.number, admin.number).replace("$0.01", "a cent");
    let (status, stderr) = house.gateway.second(&text).await;
    assert!(matches!(status.code(), Some(1 | 2)), "{status}: {stderr}");
    assert!(stderr.contains("second.toml") && stderr.contains("a cent"), "{stderr}");
}

#[tokio::test]
async fn a_second_signal_ends_a_drain() {
    let house = House::with_route("").await;
    let _never = house.upstream.hold(Answer::text(200, "late"));
    let mut connection = house.gateway.connect().await;
    connection.send(&Request::get("/free/ok")).await;
    house.upstream.reached(1).await;
    house.gateway.sigterm();
    house.gateway.stops_listening().await;
    house.gateway.sigterm();
    assert_eq!(house.gateway.wait_exit().await.code(), Some(1), "unclean: {}", house.gateway.stderr());
}
