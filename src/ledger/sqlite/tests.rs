//! What only a file can get wrong: durability, its locks, its damage, a full disk, and how much a payment costs it.

use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::params_from_iter;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::ledger::State;
use crate::ledger::conformance::{bring, id, payment, settled, unknown};

mod batches;
mod eras;
mod file;

const PATH_VARIABLE: &str = "FAREBOX_TEST_LEDGER";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &TempDir) -> SqliteLedger {
    SqliteLedger::open(&folder.path().join("ledger.db")).unwrap()
}

/// Waits for locks only as long as a test wants to.
fn impatient() -> Options {
    Options { busy_timeout: Duration::from_millis(20), ..Options::default() }
}

/// Another process's connection, as a shell or a backup has it.
fn shell(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("ledger.db")).unwrap()
}

fn refused(path: &Path) -> String {
    match SqliteLedger::open(path) {
        Ok(_) => panic!("{} must not open", path.display()),
        Err(LedgerError::Unavailable(text)) => text,
        Err(error @ LedgerError::Conflict { .. }) => panic!("{error}"),
    }
}

fn is_unavailable<T>(answer: Result<T, LedgerError>) -> bool {
    matches!(answer, Err(LedgerError::Unavailable(_)))
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = folder();
    let (records, keys) = {
        let ledger = open(&folder);
        for (n, state) in (0..).zip(State::ALL) {
            bring(&ledger, n, state).await;
        }
        ledger.count_use(&id(2), 5).await.unwrap();
        (ledger.list(&Filter::default()).await.unwrap(), ledger.pass_keys().await.unwrap())
    };
    let ledger = open(&folder);
    assert_eq!(ledger.list(&Filter::default()).await.unwrap(), records);
    assert_eq!(ledger.pass_keys().await.unwrap()[0].secret, keys[0].secret);
}

#[tokio::test]
async fn a_closed_ledger_is_one_file_that_another_may_open() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Settled).await;
    ledger.close().await.unwrap();
    let write_ahead_log = folder.path().join("ledger.db-wal");
    assert!(!write_ahead_log.exists() || fs::metadata(write_ahead_log).unwrap().len() == 0);
    assert!(is_unavailable(ledger.check().await));
    open(&folder).check().await.unwrap();
}

/// The half of the next test that is killed.
#[tokio::test]
async fn child_that_settles_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH_VARIABLE) else { return };
    let ledger = Arc::new(SqliteLedger::open(Path::new(&path)).unwrap());
    // Ends by itself, should nobody kill it.
    for round in 0..2_000 {
        let mut tasks = JoinSet::new();
        for n in round * 8..round * 8 + 8 {
            let ledger = ledger.clone();
            tasks.spawn(async move {
                ledger.reserve(payment(n, 1), Opening::Settling).await.unwrap();
                ledger.advance(&id(n), settled(), 2).await.unwrap();
                println!("\nsettled {n}");
            });
        }
        tasks.join_all().await;
    }
}

#[tokio::test]
async fn a_killed_gateway_loses_nothing_that_was_answered() {
    let folder = folder();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ledger::sqlite::tests::child_that_settles_until_it_is_killed", "--nocapture"])
        .env(PATH_VARIABLE, folder.path().join("ledger.db"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let settled: Vec<u64> =
        lines.filter_map(|line| line.unwrap().strip_prefix("settled ")?.parse().ok()).take(40).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(settled.len(), 40);

    let ledger = open(&folder);
    ledger.recover(9).await.unwrap();
    for n in settled {
        assert_eq!(ledger.find(&id(n)).await.unwrap().unwrap().state, State::Settled, "payment {n}");
    }
    let counts = ledger.counts().await.unwrap();
    assert_eq!((counts.reserved, counts.settling), (0, 0));
    let listed = ledger.list(&Filter::default()).await.unwrap();
    let all = counts.settled + counts.unknown + counts.failed;
    assert_eq!(listed.len() as u64, all, "the counts survive as well");
}

#[tokio::test]
async fn a_copy_of_the_files_of_a_running_gateway_holds_every_answered_write() {
    let (running, copy) = (folder(), folder());
    let ledger = open(&running);
    bring(&ledger, 1, State::Settled).await;
    bring(&ledger, 2, State::Settling).await;
    for name in ["ledger.db", "ledger.db-wal"] {
        fs::copy(running.path().join(name), copy.path().join(name)).unwrap();
    }
    let restored = open(&copy);
    assert_eq!(restored.recover(9).await.unwrap(), Recovered { released: 0, unknown: 1 });
    assert_eq!(restored.find(&id(1)).await.unwrap(), ledger.find(&id(1)).await.unwrap());
}

#[tokio::test]
async fn a_full_disk_stops_payments_until_there_is_room_again() {
    let folder = folder();
    let options = impatient();
    options.pages_max.store(60, Ordering::SeqCst);
    let ledger = SqliteLedger::open_with(&folder.path().join("ledger.db"), options.clone()).unwrap();
    let mut written = 0;
    let full = loop {
        match ledger.reserve(payment(written, 1), Opening::Settling).await {
            Ok(_) => written += 1,
            Err(error) => break error.to_string(),
        }
        assert!(written < 10_000, "sixty pages hold no more");
    };
    assert!(full.contains("the disk is full") && full.contains("ledger.db"), "{full}");
    assert!(is_unavailable(ledger.reserve(payment(written, 1), Opening::Settling).await));
    // What was answered is there, what was refused is not, and reading goes on.
    assert_eq!(ledger.counts().await.unwrap().settling, written);
    assert!(ledger.find(&id(written)).await.unwrap().is_none());

    options.pages_max.store(u32::MAX, Ordering::SeqCst);
    assert!(matches!(ledger.reserve(payment(written, 2), Opening::Settling).await, Ok(Reservation::Fresh)));
    ledger.check().await.unwrap();
}

#[tokio::test]
async fn a_file_held_by_another_process_is_waited_for_and_then_said_to_be() {
    let folder = folder();
    let ledger = SqliteLedger::open_with(&folder.path().join("ledger.db"), impatient()).unwrap();
    let other = shell(&folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = ledger.reserve(payment(1, 1), Opening::Reserved).await.unwrap_err().to_string();
    assert!(held.contains("another process holds it"), "{held}");
    assert!(ledger.find(&id(1)).await.unwrap().is_none(), "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(ledger.reserve(payment(1, 1), Opening::Reserved).await, Ok(Reservation::Fresh)));
}

#[tokio::test]
async fn a_report_never_stands_in_a_payments_way() {
    let folder = folder();
    let ledger = SqliteLedger::open_with(&folder.path().join("ledger.db"), impatient()).unwrap();
    for n in 0..3 {
        bring(&ledger, n, State::Settled).await;
    }
    let shell = shell(&folder);
    let mut statement = shell.prepare("SELECT id FROM payment").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    // In the middle of that scan:
    bring(&ledger, 9, State::Settled).await;
    assert_eq!(ledger.counts().await.unwrap().settled, 4);
    let mut seen = 1;
    while rows.next().unwrap().is_some() {
        seen += 1;
    }
    assert_eq!(seen, 3, "the report is of the moment it began");
}

#[tokio::test]
async fn a_start_ends_the_claims_of_the_run_before() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Unknown).await;
    let claim = |worker| Claim { worker, now: 200, until: 100_000 };
    assert!(ledger.claim(&id(1), claim("killed")).await.unwrap().is_some());
    drop(ledger);
    let ledger = open(&folder);
    assert!(ledger.claim(&id(1), claim("next")).await.unwrap().is_none());
    ledger.recover(300).await.unwrap();
    assert!(ledger.claim(&id(1), claim("next")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_settle_request_is_kept_only_while_it_may_be_sent_again() {
    let folder = folder();
    let ledger = open(&folder);
    let kept = |n: u64| -> Option<String> {
        use rusqlite::OptionalExtension;
        let sql = "SELECT body FROM settle_request JOIN payment ON payment.seq = settle_request.payment WHERE id = ?1";
        shell(&folder).query_row(sql, [id(n).as_str()], |row| row.get(0)).optional().unwrap()
    };
    let given = payment(0, 0).settle_request.to_string();
    for (n, state) in (0..).zip(State::ALL) {
        bring(&ledger, n, state).await;
        let open = matches!(state, State::Reserved | State::Settling | State::Unknown);
        assert_eq!(kept(n), open.then(|| given.clone()), "{}", state.name());
    }
    ledger.reserve(NewPayment { settle_request: "second".into(), ..payment(4, 1) }, Opening::Settling).await.unwrap();
    assert_eq!(kept(4).as_deref(), Some("second"));
    ledger.advance(&id(4), unknown(), 2).await.unwrap();
    ledger.advance(&id(4), settled(), 3).await.unwrap();
    assert_eq!(kept(4), None);
}

#[tokio::test]
async fn no_frequent_question_reads_every_payment() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Settled).await;
    let shell = shell(&folder);
    let plan = |sql: &str, values: Vec<rusqlite::types::Value>| -> String {
        let mut statement = shell.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    };
    let of = |filter: Filter| {
        let (sql, values) = read::newest(&filter);
        plan(&sql, values)
    };
    let state = |state| Filter { state: Some(state), ..Filter::default() };
    let cases = [
        (of(Filter::default()), "payment_newest"),
        (of(Filter { route: Some("r".into()), ..Filter::default() }), "payment_of_route"),
        (of(Filter { payer: Some("0xA".into()), ..Filter::default() }), "payment_newest"),
        (of(state(State::Unknown)), "payment_open"),
        (of(state(State::Settling)), "payment_open"),
        (of(state(State::Failed)), "payment_failed"),
        (plan("UPDATE payment SET updated_at = 1 WHERE state = 'reserved'", vec![]), "payment_open"),
        (plan(claims::DUE, vec![1.into(), 1.into()]), "payment_due"),
        (plan(prune::PRUNE, vec![1.into(), 1.into()]), "SEARCH payment USING INDEX payment_rested"),
    ];
    for (plan, index) in cases {
        assert!(plan.contains(index), "{index}: {plan}");
    }
    let id = || "x".to_owned().into();
    for plan in [plan(place::IN_NEWEST, vec![id()]), plan(place::IN_ERA, vec![id(), 0.into()])] {
        assert!(plan.contains("SEARCH payment USING INDEX payment_of_id (era=? AND id_head=?)"), "{plan}");
    }
    let next = plan(write::NEXT, vec![]);
    assert!(next.contains("SEARCH payment") && !next.contains("SCAN payment"), "{next}");
    let again = plan(write::RESERVE_AGAIN, vec![rusqlite::types::Value::Null; 13]);
    assert!(again.contains("SEARCH payment USING INTEGER PRIMARY KEY"), "{again}");
    let older = plan(place::OLDER, vec![1.into()]);
    assert!(older.contains("SEARCH payment USING COVERING INDEX payment_of_id (era<?)"), "{older}");
    let heads = plan(seen::HEADS, vec![1.into()]);
    assert!(heads.contains("USING COVERING INDEX payment_of_id"), "{heads}");
    let counts = plan(read::COUNTS, vec![]);
    assert_eq!(counts.matches("payment_open").count(), 2, "{counts}");
    assert!(!counts.contains("SCAN payment"), "{counts}");
}

/// A table that SQLite makes for one statement has pages of its own, taken from the system and given back.
#[test]
fn no_write_of_a_payments_life_makes_a_table_of_its_own() {
    let folder = folder();
    drop(open(&folder));
    let shell = shell(&folder);
    let written = [write::RESERVE, write::RESERVE_AGAIN, write::ASK_WITH, write::SETTLING, write::SETTLED];
    let closed = [write::UNKNOWN, write::RELEASED_BY_HOLDER, write::FAILED, write::DELIVERED, write::COUNT_USE];
    for sql in [write::NEXT, place::IN_NEWEST, place::IN_ERA].into_iter().chain(written).chain(closed) {
        // Triggers and conditions are a part of the program.
        let mut program = shell.prepare(&format!("EXPLAIN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Value::Null; program.parameter_count()];
        let steps = program.query_map(params_from_iter(nothing), |row| row.get::<_, String>(1)).unwrap();
        let steps = steps.map(Result::unwrap).collect::<Vec<_>>();
        assert!(!steps.iter().any(|step| step == "OpenEphemeral" || step == "OpenAutoindex"), "{sql}: {steps:?}");
    }
}

#[tokio::test]
async fn the_file_is_read_beside_the_gateway() {
    let folder = folder();
    let ledger = open(&folder);
    let file = LedgerFile::open(&folder.path().join("ledger.db")).unwrap();
    bring(&ledger, 1, State::Settled).await;
    bring(&ledger, 2, State::Failed).await;
    let mut seen = Vec::new();
    let first = |record: Record| {
        seen.push(record.id);
        ControlFlow::Break(())
    };
    file.each(&Filter::default(), first).unwrap();
    assert_eq!(seen, [id(2)]);
    let totals = file.totals(&Filter::default(), GroupBy::Day).unwrap();
    assert_eq!(totals, ledger.totals(&Filter::default(), GroupBy::Day).await.unwrap());
    assert_eq!(totals.len(), 1);
}
