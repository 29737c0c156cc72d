//! What only a shared ledger can get wrong: other gateways, leases, a server that is slow or gone, and who it is.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::testing::{Postgres, open, url};
use super::*;
use crate::ledger::State;
use crate::ledger::conformance::{bring, id, payment, settled, unknown};

async fn another(text: &str) -> PostgresLedger {
    PostgresLedger::open(&url(text)).await.unwrap()
}

/// The database's name within its URL.
fn database(text: &str) -> &str {
    text.rsplit_once('/').unwrap().1.split_once('?').unwrap().0
}

/// A node that stands still past its lease.
async fn let_lease_end(ledger: &PostgresLedger, text: &str) {
    ledger.keeper.abort();
    let sql = format!(
        "UPDATE farebox_node SET alive_until = clock_timestamp() - interval '1 s' WHERE id = {}",
        ledger.node.id
    );
    Postgres::shared().run(database(text), &sql).await;
}

async fn state(ledger: &PostgresLedger, n: u64) -> State {
    ledger.find(&id(n)).await.unwrap().unwrap().state
}

async fn held(ledger: &PostgresLedger, n: u64) -> (State, bool) {
    let held = ledger.hold(&id(n), 900).await.unwrap().unwrap();
    (held.record.state, held.elsewhere)
}

fn is_conflict<T>(answer: Result<T, LedgerError>) -> bool {
    matches!(answer, Err(LedgerError::Conflict { .. }))
}

fn failed() -> Transition {
    Transition::Failed { error: "released".into() }
}

async fn refused(text: &str) -> String {
    match PostgresLedger::open(&url(text)).await {
        Ok(_) => panic!("{text} must not open"),
        Err(LedgerError::Unavailable(said)) => said,
        Err(error @ LedgerError::Conflict { .. }) => panic!("{error}"),
    }
}

#[tokio::test]
async fn gateways_that_start_together_make_one_ledger() {
    let text = Postgres::shared().database().await;
    let nodes = join_all((0..6).map(|_| another(&text))).await;
    nodes[0].reserve(payment(1, 10), Opening::Reserved).await.unwrap();
    let first = nodes[0].pass_keys().await.unwrap();
    for node in &nodes {
        assert_eq!(state(node, 1).await, State::Reserved);
        assert_eq!(node.pass_keys().await.unwrap()[0].secret, first[0].secret);
    }
}

#[tokio::test]
async fn tables_of_version_1_are_brought_up_to_date_and_their_old_payments_are_pruned() {
    let text = Postgres::shared().database().await;
    let shell = Postgres::shared().connect(&text).await;
    shell.batch_execute(include_str!("schema_1.sql")).await.unwrap();
    shell
        .batch_execute(
            "CREATE TABLE farebox_schema (version integer PRIMARY KEY); INSERT INTO farebox_schema VALUES (1)",
        )
        .await
        .unwrap();
    for (n, state, settled_at) in [(1, "settled", "2"), (2, "unknown", "NULL"), (3, "failed", "NULL")] {
        let row = format!(
            "INSERT INTO farebox_payment (id, digest, state, route, host, payer, network, asset, amount, way,
                                          valid_before, reserved_at, updated_at, settled_at)
             VALUES ('{}', decode(repeat('00', 32), 'hex'), '{state}', 'r', 'h', '', 'eip155:84532', '0x1', 5, 'usdc',
                     3, 1, 2, {settled_at})",
            id(n)
        );
        shell.batch_execute(&row).await.unwrap();
    }
    let ledger = another(&text).await;
    assert!(!ledger.find(&id(1)).await.unwrap().unwrap().by_operator);
    assert_eq!(ledger.prune(2999, 9).await.unwrap(), 1);
    assert_eq!(ledger.prune(3000, 9).await.unwrap(), 1);
    assert_eq!(ledger.counts().await.unwrap(), Counts { unknown: 1, oldest_unsettled: Some(2), ..Counts::default() });
}

/// Another gateway is at a row at this moment: it is neither waited for nor taken.
#[tokio::test]
async fn a_payment_that_somebody_changes_is_not_waited_for_by_who_prunes() {
    let (ledger, text) = open().await;
    for n in 1..=3 {
        bring(&ledger, n, State::Failed).await;
    }
    let mut shell = Postgres::shared().connect(&text).await;
    let transaction = shell.transaction().await.unwrap();
    transaction.query("SELECT FROM farebox_payment WHERE id = $1 FOR UPDATE", &[&id(1).as_str()]).await.unwrap();
    assert_eq!(ledger.prune(1000, 2).await.unwrap(), 2);
    assert_eq!(ledger.prune(1000, 2).await.unwrap(), 0);
    transaction.rollback().await.unwrap();
    assert_eq!(ledger.prune(1000, 2).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_gateways_one_gets_a_payment_and_its_uses_are_counted_exactly() {
    let (one, text) = open().await;
    let nodes = [Arc::new(one), Arc::new(another(&text).await), Arc::new(another(&text).await)];
    let taken = join_all((0..60).map(|n| {
        let node = nodes[n % 3].clone();
        async move { matches!(node.reserve(payment(1, 10), Opening::Settling).await.unwrap(), Reservation::Fresh) }
    }));
    assert_eq!(taken.await.into_iter().filter(|taken| *taken).count(), 1);
    nodes[0].advance(&id(1), settled(), 20).await.unwrap();
    let open = join_all((0..60).map(|n| {
        let node = nodes[n % 3].clone();
        async move { node.count_use(&id(1), 23).await.unwrap() }
    }));
    assert_eq!(open.await.into_iter().filter(|open| *open).count(), 23);
}

#[tokio::test]
async fn what_a_living_gateway_has_is_left_to_it() {
    let (one, text) = open().await;
    let two = another(&text).await;
    for (n, state) in (0..).zip(State::ALL) {
        bring(&one, n, state).await;
    }
    assert_eq!(two.sweep(500).await.unwrap(), Recovered::default());
    assert_eq!(two.recover(500).await.unwrap(), Recovered::default());
    for (n, state) in (0..).zip(State::ALL) {
        let works_on_it = matches!(state, State::Reserved | State::Settling | State::Settled);
        assert_eq!(held(&two, n).await, (state, works_on_it));
    }
    for step in [Transition::Settling, failed()] {
        assert!(is_conflict(two.advance(&id(0), step, 600).await), "reserved by the other");
    }
    for step in [unknown(), failed()] {
        assert!(is_conflict(two.advance(&id(1), step, 600).await), "being settled by the other");
    }
    one.advance(&id(0), Transition::Settling, 700).await.unwrap();
    one.advance(&id(1), settled(), 700).await.unwrap();
}

#[tokio::test]
async fn what_a_gateway_that_is_gone_has_left_is_taken_over() {
    for by_sweep in [false, true] {
        let (one, text) = open().await;
        let two = another(&text).await;
        for (n, state) in (0..).zip(State::ALL) {
            bring(&one, n, state).await;
        }
        let_lease_end(&one, &text).await;
        if by_sweep {
            assert_eq!(two.sweep(900).await.unwrap(), Recovered { released: 1, unknown: 1 });
        }
        let expected = [State::Failed, State::Unknown, State::Settled, State::Unknown, State::Failed];
        for (n, state) in (0..).zip(expected) {
            assert_eq!(held(&two, n).await, (state, false));
        }
        assert_eq!(two.find(&id(1)).await.unwrap().unwrap().updated_at, 900);
        assert_eq!(two.claim_due(Claim { worker: "two", now: 900, until: 950 }, 9).await.unwrap().len(), 2);
    }
}

/// It stood still, and comes back: what it holds in memory is worth nothing any more.
#[tokio::test]
async fn a_claim_ends_with_the_lease_of_who_made_it() {
    let (one, text) = open().await;
    let two = another(&text).await;
    let claim = |worker| Claim { worker, now: 900, until: 100_000 };
    for n in [1, 2] {
        bring(&one, n, State::Unknown).await;
        assert!(one.claim(&id(n), claim("one")).await.unwrap().is_some());
    }
    assert!(two.claim(&id(1), claim("two")).await.unwrap().is_none());
    assert_eq!(two.claim_due(claim("two"), 9).await.unwrap(), []);
    let_lease_end(&one, &text).await;
    assert!(two.claim(&id(1), claim("two")).await.unwrap().is_some());
    assert_eq!(two.claim_due(claim("two"), 9).await.unwrap().len(), 1);
    assert!(two.claim(&id(2), claim("two")).await.unwrap().is_none(), "its own, which holds");
}

#[tokio::test]
async fn a_gateway_that_lost_its_lease_neither_settles_nor_releases_what_others_took() {
    let (one, text) = open().await;
    let two = another(&text).await;
    bring(&one, 1, State::Reserved).await;
    bring(&one, 2, State::Settling).await;
    let_lease_end(&one, &text).await;
    for n in [1, 2] {
        two.hold(&id(n), 200).await.unwrap();
    }
    assert!(matches!(two.reserve(payment(1, 210), Opening::Reserved).await, Ok(Reservation::Fresh)));
    one.check().await.unwrap();
    assert!(is_conflict(one.advance(&id(1), Transition::Settling, 300).await));
    assert!(is_conflict(one.advance(&id(1), failed(), 300).await));
    two.advance(&id(1), Transition::Settling, 310).await.unwrap();
    assert!(is_conflict(one.advance(&id(1), failed(), 320).await));
    two.advance(&id(1), settled(), 330).await.unwrap();
    // It may be charged by who took it over.
    assert!(is_conflict(one.advance(&id(2), Transition::Released { error: "refused".into() }, 340).await));
    // Money that moved is written by whoever knows.
    assert_eq!(state(&one, 2).await, State::Unknown);
    one.advance(&id(2), settled(), 400).await.unwrap();
    assert_eq!(state(&two, 2).await, State::Settled);
}

#[tokio::test]
async fn one_gateway_at_a_time_delivers_a_settled_payment() {
    let (one, text) = open().await;
    let two = another(&text).await;
    bring(&one, 1, State::Settled).await;
    assert_eq!(held(&two, 1).await, (State::Settled, true));
    two.let_go(&id(1)).await.unwrap();
    assert_eq!(held(&two, 1).await, (State::Settled, true), "it is not its own to let go");
    one.let_go(&id(1)).await.unwrap();
    assert_eq!(held(&two, 1).await, (State::Settled, false));
    assert_eq!(held(&one, 1).await, (State::Settled, true));
    two.advance(&id(1), Transition::Delivered, 500).await.unwrap();
    for node in [&one, &two] {
        assert_eq!(held(node, 1).await, (State::Settled, false));
    }
}

#[tokio::test]
async fn a_gateway_that_ends_leaves_at_once() {
    let (one, text) = open().await;
    let two = another(&text).await;
    bring(&one, 1, State::Reserved).await;
    one.close().await.unwrap();
    assert!(matches!(one.check().await, Err(LedgerError::Unavailable(_))));
    assert_eq!(held(&two, 1).await, (State::Failed, false));
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up_and_what_was_asked_of_it_never_happens() {
    let server = Postgres::start();
    let text = server.database().await;
    let ledger = another(&text).await;
    // One connection, on which every statement has been prepared.
    ledger.keeper.abort();
    for n in [1, 2] {
        ledger.reserve(payment(n, 10), Opening::Reserved).await.unwrap();
    }
    ledger.advance(&id(1), failed(), 20).await.unwrap();
    ledger.check().await.unwrap();
    let shell = server.connect(&text).await;
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'farebox'";
    assert_eq!(shell.query_one(ours, &[]).await.unwrap().get::<_, i64>(0), 1);

    server.pause();
    let said = ledger.advance(&id(2), failed(), 30).await.unwrap_err().to_string();
    assert!(said.contains("no answer within"), "{said}");
    server.resume();
    // The server has read to the end of what it was sent.
    while shell.query_one(ours, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(state(&ledger, 2).await, State::Reserved);
    ledger.check().await.unwrap();
    ledger.advance(&id(2), Transition::Settling, 40).await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_stopped_is_used_again_when_it_is_back() {
    let server = Postgres::start();
    let text = server.database().await;
    let ledger = another(&text).await;
    bring(&ledger, 1, State::Settled).await;
    server.stop();
    for _ in 0..3 {
        let said = ledger.reserve(payment(2, 10), Opening::Reserved).await.unwrap_err().to_string();
        let expected = ["cannot be reached", "the connection was lost", "going down"];
        assert!(expected.iter().any(|text| said.contains(text)), "{said}");
    }
    server.start_again();
    ledger.check().await.unwrap();
    assert!(matches!(ledger.reserve(payment(2, 10), Opening::Reserved).await, Ok(Reservation::Fresh)));
    assert_eq!(state(&ledger, 1).await, State::Settled);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_place_and_the_remedy_and_without_the_password() {
    let server = Postgres::shared();
    let text = server.database().await;
    let name = database(&text);
    server.run(name, "DO $$ BEGIN CREATE ROLE locked LOGIN PASSWORD 'right'; EXCEPTION WHEN OTHERS THEN END $$").await;
    let with = |user: &str| text.replace("farebox@", user);
    let cases = [
        (with("locked:hushhush@"), "lets this user not in"),
        (with("locked:right@"), "grant it its tables"),
        (text.replace(name, "absent"), "there is no such database"),
        (text.replace("hostaddr=127.0.0.1", "hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=/absent"), "/absent"),
        ("postgres://farebox:hushhush@127.0.0.1:1/shop".to_owned(), "cannot be reached"),
    ];
    for (text, expected) in cases {
        let said = refused(&text).await;
        assert!(said.starts_with("postgres://") && said.contains(expected), "{said}");
        assert!(!said.contains("hushhush"), "{said}");
    }

    let ledger = another(&text).await;
    server.run("postgres", &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let said = refused(&text).await;
    assert!(said.contains("it can only be read"), "{said}");
    server.run("postgres", &format!("ALTER DATABASE {name} RESET ALL")).await;
    server.run(name, "INSERT INTO farebox_schema VALUES (99)").await;
    let said = refused(&text).await;
    assert!(said.contains("newer farebox"), "{said}");
    drop(ledger);
}

#[tokio::test]
async fn the_server_proves_as_much_as_sslmode_asks_for() {
    let server = Postgres::shared();
    let text = server.database().await;
    let by_name = |query: String| format!("{text}&{query}");
    let by_address = |query: String| text.replace("@localhost", "@127.0.0.1") + "&" + &query;
    let root = |mode: &str| format!("sslmode={mode}&sslrootcert={}", server.certificate().display());
    for (text, encrypted) in [
        (by_name("sslmode=disable".into()), false),
        (by_name("sslmode=prefer".into()), true),
        (by_name("sslmode=require".into()), true),
        (by_name(root("verify-full")), true),
        (by_address(root("verify-ca")), true),
    ] {
        let ledger = another(&text).await;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert_eq!(ledger.pool.row(sql, &[]).await.unwrap().get::<_, bool>(0), encrypted, "{text}");
    }
    let said = refused(&by_address(root("verify-full"))).await;
    assert!(said.contains("not valid for name"), "{said}");
    let said = refused(&by_name("sslmode=verify-full".into())).await;
    assert!(said.contains("certificate"), "{said}");
}

#[tokio::test]
async fn a_text_that_the_database_cannot_keep_keeps_no_payment_from_being_written() {
    let (ledger, _) = open().await;
    let odd = NewPayment { host: "a\0b".into(), payer: "\0".into(), ..payment(1, 10) };
    ledger.reserve(odd, Opening::Settling).await.unwrap();
    let by = Transition::Settled { facilitator: "\0".into(), transaction: "0x\0".into(), payer: Some("\0".into()) };
    ledger.advance(&id(1), by, 20).await.unwrap();
    let record = ledger.find(&id(1)).await.unwrap().unwrap();
    assert_eq!((&*record.host, record.transaction.as_deref()), ("a\u{fffd}b", Some("0x\u{fffd}")));
    let filter = Filter { payer: Some("\0".into()), route: Some("premium".into()), ..Filter::default() };
    assert_eq!(ledger.list(&filter).await.unwrap().len(), 1);
}

#[tokio::test]
async fn no_frequent_question_reads_every_payment() {
    let (ledger, text) = open().await;
    bring(&ledger, 1, State::Settled).await;
    let shell = Postgres::shared().connect(&text).await;
    shell.batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off").await.unwrap();
    let plan = async |sql: &str| {
        let rows = shell.simple_query(&format!("EXPLAIN {sql}")).await.unwrap();
        let line = |row: &tokio_postgres::SimpleQueryMessage| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    let newest = "ORDER BY reserved_at DESC, seq DESC LIMIT 5";
    for (sql, index) in [
        (format!("SELECT * FROM farebox_payment WHERE true {newest}"), "payment_newest"),
        (format!("SELECT * FROM farebox_payment WHERE route = 'r' {newest}"), "payment_of_route"),
        (format!("SELECT * FROM farebox_payment WHERE lower(payer) = '0xa' {newest}"), "payment_of_payer"),
        (format!("SELECT * FROM farebox_payment WHERE state = 'failed' {newest}"), "payment_failed"),
        ("SELECT * FROM farebox_payment WHERE id = 'x'".to_owned(), "payment_id_key"),
        (read::COUNTS.to_owned(), "payment_undelivered"),
        (prune::PRUNE.replace("$1", "now()").replace("$2", "1").replace("$3", "1"), "payment_rested"),
    ] {
        let plan = plan(&sql).await;
        assert!(plan.contains(index), "{index}: {plan}");
        assert!(!plan.contains("Seq Scan on farebox_payment"), "{plan}");
    }
}

#[tokio::test]
async fn the_books_are_read_beside_the_gateways_and_made_by_nobody_else() {
    let text = Postgres::shared().database().await;
    let Err(LedgerError::Unavailable(said)) = SharedBooks::open(&url(&text)).await else { panic!("no ledger yet") };
    assert!(said.contains("has a gateway run"), "{said}");
    let ledger = another(&text).await;
    for n in 0..40 {
        bring(&ledger, n, State::Settled).await;
    }
    let books = SharedBooks::open(&url(&text)).await.unwrap();
    let mut seen = Vec::new();
    let first_two = |record: Record| {
        seen.push(record.id);
        if seen.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    books.each(&Filter::default(), first_two).await.unwrap();
    assert_eq!(seen, [id(39), id(38)]);
    assert_eq!(books.totals(&Filter::default(), GroupBy::Route).await.unwrap()[0].payments, 40);
}
