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

mod eras;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_payments_at_once_all_arrive_and_are_seen_at_once() {
    let folder = folder();
    let ledger = Arc::new(open(&folder));
    let mut tasks = JoinSet::new();
    for n in 0..300 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let state = async |expected| {
                assert_eq!(ledger.find(&id(n)).await.unwrap().unwrap().state, expected);
            };
            ledger.reserve(payment(n, 1), Opening::Reserved).await.unwrap();
            state(State::Reserved).await;
            ledger.advance(&id(n), Transition::Settling, 2).await.unwrap();
            state(State::Settling).await;
            ledger.advance(&id(n), settled(), 3).await.unwrap();
            state(State::Settled).await;
        });
    }
    tasks.join_all().await;
    let expected = Counts { settled: 300, undelivered: 300, ..Counts::default() };
    assert_eq!(ledger.counts().await.unwrap(), expected);
}

/// Commits in a write-ahead log, and how often it began anew. A frame that ends a transaction carries the size of
/// the file, any other zero (SQLite file format, section 4.1).
fn commits(folder: &TempDir) -> (u32, usize) {
    let log = fs::read(folder.path().join("ledger.db-wal")).unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let (head, frames) = log.split_at(32);
    let frame = 24 + usize::try_from(word(head, 8)).unwrap();
    let of_this_round = |bytes: &&[u8]| bytes[8..16] == head[16..24];
    (word(head, 12), frames.chunks_exact(frame).filter(of_this_round).filter(|bytes| word(bytes, 4) != 0).count())
}

#[tokio::test]
async fn payments_that_wait_together_share_one_commit() {
    let folder = folder();
    let ledger = open(&folder);
    ledger.check().await.unwrap();
    let (round, before) = commits(&folder);
    ledger.check().await.unwrap();
    assert_eq!(commits(&folder), (round, before + 1), "one write is one commit");

    // While somebody holds the file the writer waits, and all others queue behind it.
    let other = shell(&folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writes = futures::future::join_all((0..24).map(|n| ledger.reserve(payment(n, 1), Opening::Settling)));
    let (reservations, ()) = tokio::join!(biased; writes, async { other.execute_batch("ROLLBACK").unwrap() });
    assert!(reservations.into_iter().all(|reservation| matches!(reservation, Ok(Reservation::Fresh))));
    // At worst the writer took the first alone before it saw the rest.
    let (round_after, after) = commits(&folder);
    assert_eq!(round_after, round, "the log did not begin anew in between");
    assert!(after - (before + 1) <= 2, "24 payments took {} commits", after - before - 1);
}

#[tokio::test]
async fn more_payments_than_a_batch_or_the_queue_holds_wait_and_arrive() {
    for payments in [writer::BATCH_MAX, writer::BATCH_MAX + 1, writer::QUEUE_MAX + writer::BATCH_MAX + 1] {
        let folder = folder();
        let ledger = Arc::new(open(&folder));
        let other = shell(&folder);
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut tasks = JoinSet::new();
        for n in 0..payments as u64 {
            let ledger = ledger.clone();
            tasks.spawn(async move { ledger.reserve(payment(n, 1), Opening::Settling).await });
        }
        // On this one thread, each task runs until it waits for its answer or for room in the queue.
        tokio::task::yield_now().await;
        other.execute_batch("ROLLBACK").unwrap();
        assert!(tasks.join_all().await.into_iter().all(|taken| matches!(taken, Ok(Reservation::Fresh))));
        assert_eq!(ledger.counts().await.unwrap().settling, payments as u64);
    }
}

#[tokio::test]
async fn a_write_that_breaks_its_batch_takes_nobody_with_it() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 5, State::Settled).await;
    shell(&folder).execute("UPDATE payment SET network = 'nowhere' WHERE id = ?1", [id(5).as_str()]).unwrap();
    let other = shell(&folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writes = futures::future::join_all((0..10).map(|n| ledger.reserve(payment(n, 1), Opening::Settling)));
    let (reservations, ()) = tokio::join!(biased; writes, async { other.execute_batch("ROLLBACK").unwrap() });
    for (n, reservation) in reservations.into_iter().enumerate() {
        match reservation {
            Ok(Reservation::Fresh) => assert_ne!(n, 5),
            Ok(Reservation::Held(record)) => panic!("{record:?}"),
            Err(error) => assert!(n == 5 && error.to_string().contains("nowhere"), "{n}: {error}"),
        }
    }
    assert_eq!(ledger.counts().await.unwrap().settling, 9);
}

#[tokio::test]
async fn a_conflict_leaves_the_rest_of_its_batch_alone() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Settled).await;
    bring(&ledger, 2, State::Settling).await;
    let (one, two) = (id(1), id(2));
    let (refused, counted, done) = tokio::join!(
        ledger.advance(&one, Transition::Settling, 5),
        ledger.count_use(&two, 5),
        ledger.advance(&two, settled(), 5),
    );
    assert!(matches!(refused, Err(LedgerError::Conflict { .. })));
    assert!(matches!(counted, Err(LedgerError::Conflict { .. })));
    done.unwrap();
    assert_eq!(ledger.find(&two).await.unwrap().unwrap().state, State::Settled);
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
async fn a_second_gateway_is_refused_by_any_name_of_the_file() {
    let folder = folder();
    let path = folder.path().join("ledger.db");
    let first = open(&folder);
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link, &folder.path().join(".").join("ledger.db")] {
        let said = refused(name);
        assert!(said.contains("another gateway is running"), "{said}");
    }
    bring(&first, 1, State::Settled).await;
    drop(first);
    let second = SqliteLedger::open(&link).unwrap();
    assert!(second.find(&id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_was_taken_away_takes_no_more_payments() {
    let folder = folder();
    let (path, aside) = (folder.path().join("ledger.db"), folder.path().join("aside.db"));
    let ledger = open(&folder);
    bring(&ledger, 1, State::Settled).await;
    fs::rename(&path, &aside).unwrap();
    let said = ledger.check().await.unwrap_err().to_string();
    assert!(said.contains("moved or deleted") && said.contains("ledger.db"), "{said}");
    fs::write(&path, "").unwrap();
    let said = ledger.reserve(payment(2, 1), Opening::Reserved).await.unwrap_err().to_string();
    assert!(said.contains("another file was put in its place"), "{said}");
    fs::rename(&aside, &path).unwrap();
    bring(&ledger, 2, State::Settled).await;
    assert_eq!(ledger.counts().await.unwrap().settled, 2);
}

#[test]
fn what_is_no_ledger_is_refused_and_left_as_it_is() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("garbage.db"), "this is no database".repeat(400)).unwrap();
    let other = Connection::open(at("other.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    drop(SqliteLedger::open(&at("newer.db")).unwrap());
    Connection::open(at("newer.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    drop(SqliteLedger::open(&at("readonly.db")).unwrap());
    fs::set_permissions(at("readonly.db"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::create_dir(at("folder.db")).unwrap();

    let cases = [
        ("garbage.db", "damaged or not a ledger"),
        ("other.db", "another program"),
        ("newer.db", "newer farebox (version 99"),
        ("readonly.db", "read-only"),
        ("folder.db", "not a file"),
        ("missing/ledger.db", "make the folder"),
    ];
    for (name, expected) in cases {
        let before = fs::read(at(name)).ok();
        let said = refused(&at(name));
        assert!(said.contains(expected) && said.contains(name.rsplit('/').next().unwrap()), "{said}");
        assert_eq!(fs::read(at(name)).ok(), before, "{name} is untouched");
    }
    let said = refused(Path::new("/proc/farebox-ledger.db"));
    assert!(said.contains("/proc/farebox-ledger.db"), "{said}");
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
async fn a_file_of_version_1_is_brought_up_to_date_with_what_it_holds() {
    let folder = folder();
    let old = shell(&folder);
    old.execute_batch(include_str!("schema_1.sql")).unwrap();
    old.pragma_update(None, "application_id", 0x4641_5245).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute_batch(&format!(
        "INSERT INTO payment (id, digest, state, route, host, payer, network, asset, amount, way, reserved_at, updated_at)
         VALUES ('{}', zeroblob(32), 'unknown', 'r', 'h', '', 'eip155:84532', '0x1', '5', 'usdc', 1, 2);
         INSERT INTO settle_request VALUES (1, 'body')",
        id(1)
    ))
    .unwrap();
    drop(old);
    let ledger = open(&folder);
    let due = ledger.claim_due(Claim { worker: "one", now: 2, until: 9 }, 5).await.unwrap();
    assert_eq!((&due[0].record.id, &*due[0].settle_request, due[0].tries), (&id(1), "body", 0));
    assert_eq!(ledger.counts().await.unwrap().unknown, 1);
}

#[tokio::test]
async fn a_file_of_version_2_is_brought_up_to_date_and_its_old_payments_are_pruned() {
    let folder = folder();
    let old = shell(&folder);
    for step in [include_str!("schema_1.sql"), include_str!("schema_2.sql")] {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "application_id", 0x4641_5245).unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    for (n, state, settled_at) in [(1, "settled", "2"), (2, "unknown", "NULL"), (3, "failed", "NULL")] {
        old.execute_batch(&format!(
            "INSERT INTO payment (id, digest, state, route, host, payer, network, asset, amount, way, valid_before,
                                  reserved_at, updated_at, settled_at)
             VALUES ('{}', zeroblob(32), '{state}', 'r', 'h', '', 'eip155:84532', '0x1', '5', 'usdc', 3, 1, 2, {settled_at})",
            id(n)
        ))
        .unwrap();
    }
    drop(old);
    let ledger = open(&folder);
    assert!(!ledger.find(&id(1)).await.unwrap().unwrap().by_operator);
    assert_eq!(ledger.prune(2999, 9).await.unwrap(), 1);
    assert_eq!(ledger.prune(3000, 9).await.unwrap(), 1);
    assert_eq!(ledger.counts().await.unwrap(), Counts { unknown: 1, oldest_unsettled: Some(2), ..Counts::default() });
}

#[tokio::test]
async fn damage_inside_the_file_is_an_error_and_no_panic() {
    let folder = folder();
    let path = folder.path().join("ledger.db");
    {
        let ledger = open(&folder);
        for n in 0..20 {
            bring(&ledger, n, State::Settled).await;
        }
    }
    // The first page, which names the tables, is left; every other one is noise.
    let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; length - 4096]).unwrap();
    drop(file);
    let said = match SqliteLedger::open(&path) {
        Err(error) => error.to_string(),
        Ok(ledger) => {
            assert!(is_unavailable(ledger.reserve(payment(1, 1), Opening::Reserved).await));
            assert!(is_unavailable(ledger.find(&id(1)).await));
            assert!(is_unavailable(ledger.list(&Filter::default()).await));
            assert!(is_unavailable(ledger.counts().await));
            ledger.check().await.unwrap_err().to_string()
        }
    };
    assert!(said.contains("damaged") && said.contains("ledger.db"), "{said}");
}

#[tokio::test]
async fn only_the_owner_may_read_what_the_ledger_keeps() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Unknown).await;
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
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
    let reserve = plan(write::RESERVE, vec![rusqlite::types::Value::Null; 13]);
    assert!(!reserve.contains("SCAN payment"), "{reserve}");
    let older = plan(place::OLDER, vec![1.into()]);
    assert!(older.contains("SEARCH payment USING COVERING INDEX payment_of_id (era<?)"), "{older}");
    let heads = plan(seen::HEADS, vec![1.into()]);
    assert!(heads.contains("USING COVERING INDEX payment_of_id"), "{heads}");
    let counts = plan(read::COUNTS, vec![]);
    assert_eq!(counts.matches("payment_open").count(), 2, "{counts}");
    assert!(!counts.contains("SCAN payment"), "{counts}");
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
