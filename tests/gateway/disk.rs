//! A ledger's file that cannot be used: a start that says why, or payments that are turned away; never a charge that is
//! not written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use futures::future::join_all;
use rusqlite::Connection;

use crate::support::{House, Request, Settle};

const MODES: [&str; 3] = ["on-success", "before", "overlap"];

#[tokio::test]
async fn on_a_full_disk_nothing_is_charged_until_there_is_room_again() {
    join_all(MODES.map(async |settle| {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        house.gateway.full_disk(true);
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.error().as_str()), (503, "ledger_unavailable"), "{settle}");
        assert!(response.header("retry-after").is_some(), "{settle}");
        assert_eq!((house.facilitator.calls(), house.upstream.count()), ((0, 0), 0), "{settle}");
        assert_eq!(house.gateway.ask(Request::get("/readyz")).await.status, 503, "{settle}");
        assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200, "{settle}: free routes go on");

        house.gateway.full_disk(false);
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, house.facilitator.charged()), (200, 1), "{settle}: {response:?}");
        assert_eq!(house.gateway.ask(Request::get("/readyz")).await.status, 200, "{settle}");
    }))
    .await;
}

#[tokio::test]
async fn money_that_moved_while_the_disk_was_full_is_never_asked_for_again() {
    join_all(MODES.map(async |settle| {
        let mut house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let held = house.facilitator.hold_settle(Settle::Settled);
        let mut connection = house.gateway.connect().await;
        connection.send(&Request::get("/paid/ok").paid(&payment)).await;
        house.facilitator.settle_reached(1).await;
        house.gateway.full_disk(true);
        held.release();
        let head = connection.head("GET").await;
        let response = connection.finish(head).await;
        // A 402 would make the client sign a second payment.
        assert_eq!((response.status, response.error().as_str()), (503, "settlement_pending"), "{settle}");
        assert_eq!(response.header("payment-required"), None, "{settle}");

        // The process ends before there is room: what it knew is lost, but not that it had asked.
        house.gateway.kill().await;
        house.gateway.start_again().await;
        let again = house.redeem("/paid/ok", &payment).await;
        assert_eq!((again.status, again.text().as_str()), (200, "ok"), "{settle}: {again:?}");
        assert_eq!(house.facilitator.charged(), 1, "{settle}");
    }))
    .await;
}

#[tokio::test]
async fn while_another_process_holds_the_file_nothing_is_charged_and_afterwards_all_goes_on() {
    join_all(MODES.map(async |settle| {
        let house = House::with_route(&format!("settle = \"{settle}\"")).await;
        let payment = house.payment("/paid/ok").await;
        let shell = Connection::open(house.gateway.folder().join("farebox.db")).expect("the ledger");
        shell.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, response.error().as_str()), (503, "ledger_unavailable"), "{settle}");
        assert_eq!((house.facilitator.calls(), house.upstream.count()), ((0, 0), 0), "{settle}");
        assert_eq!(house.gateway.send(Request::get("/free/ok")).await.status, 200, "{settle}: free routes go on");
        house.gateway.says("another process holds it: end that process's transaction").await;

        shell.execute_batch("ROLLBACK").expect("let go of");
        let response = house.redeem("/paid/ok", &payment).await;
        assert_eq!((response.status, house.facilitator.charged()), (200, 1), "{settle}: {response:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_what_is_wrong_and_what_helps() {
    let house = House::with_route("").await;
    let payment = house.payment("/paid/ok").await;
    assert_eq!(house.redeem("/paid/ok", &payment).await.status, 200);
    let folder = house.gateway.folder();
    let at = |name: &str| folder.join(name);

    fs::write(at("garbage.db"), "this is no database".repeat(400)).expect("written");
    let other = Connection::open(at("other.db")).expect("a database");
    other.execute_batch("CREATE TABLE theirs (x)").expect("a table");
    // A copy of the ledger: one that may not be written to, one whose inner pages are gone.
    let copy = Connection::open(at("farebox.db")).expect("the ledger");
    for name in ["readonly.db", "damaged.db"] {
        copy.execute("VACUUM INTO ?1", [at(name).to_str()]).expect("a copy");
    }
    fs::set_permissions(at("readonly.db"), fs::Permissions::from_mode(0o400)).expect("marked");
    let mut bytes = fs::read(at("damaged.db")).expect("the copy");
    bytes.iter_mut().skip(8192).for_each(|byte| *byte = 0xff);
    fs::write(at("damaged.db"), &bytes).expect("damaged");

    for (name, wrong) in [
        ("farebox.db", "another gateway is running on it: stop that one"),
        ("garbage.db", "it is damaged or not a ledger: keep a copy, then restore a backup"),
        ("damaged.db", "it is damaged or not a ledger: keep a copy, then restore a backup"),
        ("other.db", "it is a database of another program: name another path"),
        ("readonly.db", "it is marked read-only: make it writable for the gateway's user"),
        ("missing/farebox.db", "make the folder, or name another path"),
    ] {
        // Behind its head, in which SQLite keeps its mode.
        let pages = || fs::read(at(name)).ok().map(|bytes| bytes.get(100..).map(<[u8]>::to_vec));
        let before = pages();
        let text = house.gateway.setup().clone().ledger(&format!("sqlite:{name}")).render(0, 0);
        let (status, said) = house.gateway.second(&text).await;
        assert_eq!(status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(name) && said.contains(wrong), "{name}: {said}");
        if name != "farebox.db" {
            assert!(pages() == before, "{name} is left as it is");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_while_it_is_used_charges_nobody_twice() {
    let house = House::with_route("").await;
    let first = house.payment("/paid/ok").await;
    assert_eq!(house.redeem("/paid/ok", &first).await.status, 200);
    let (file, log) = (house.gateway.folder().join("farebox.db"), house.gateway.folder().join("farebox.db-wal"));
    // Everything is in the file, and then it is not.
    let shell = Connection::open(&file).expect("the ledger");
    shell.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
    assert_eq!(fs::metadata(log).expect("the log").len(), 0);
    let size = fs::metadata(&file).expect("the ledger").len();
    let damage = vec![0xff; usize::try_from(size).expect("a size") - 8192];
    std::os::unix::fs::FileExt::write_all_at(
        &fs::OpenOptions::new().write(true).open(&file).expect("the ledger"),
        &damage,
        8192,
    )
    .expect("damaged");
    // Pages that the gateway still has in memory may serve it for a while: whatever it answers, it is no new price for
    // what was paid, and no service for nothing.
    for _ in 0..3 {
        let again = house.redeem("/paid/ok", &first).await;
        // 409: that it was delivered is not written yet.
        let is_put_off = matches!(again.status, 409 | 503);
        assert!(is_put_off || again.error() == "invalid_exact_evm_nonce_already_used", "{again:?}");
    }
    let payment = house.payment("/paid/ok").await;
    let response = house.redeem("/paid/ok", &payment).await;
    let charged = house.facilitator.charged();
    assert_eq!(charged, if response.status == 200 { 2 } else { 1 }, "{response:?}");
    assert_eq!(house.upstream.count(), charged);
}
