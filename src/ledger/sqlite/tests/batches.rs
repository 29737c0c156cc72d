//! Writes that wait together share a commit, and nobody suffers for another.

use super::*;

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
pub(super) fn commits(folder: &TempDir) -> (u32, usize) {
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
async fn who_asks_while_others_are_written_joins_them() {
    let folder = folder();
    let ledger = Arc::new(open(&folder));
    ledger.check().await.unwrap();
    let (round, before) = commits(&folder);

    let (begins, begun) = std::sync::mpsc::channel();
    let (asks, asked) = std::sync::mpsc::channel();
    let first = tokio::spawn({
        let ledger = ledger.clone();
        let write = move |connection: &Connection| {
            begins.send(()).unwrap();
            asked.recv().unwrap();
            write::check(connection)
        };
        async move { ledger.writer.write(write).await }
    });
    tokio::task::yield_now().await;
    begun.recv().unwrap();
    let (second, ()) = tokio::join!(biased; ledger.check(), async { asks.send(()).unwrap() });
    second.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(commits(&folder), (round, before + 1));
}

/// Answers are given on the runtimes of those who wait. One that nobody drives any more keeps nobody else waiting.
#[test]
fn each_is_answered_on_its_own_runtime() {
    let folder = folder();
    let ledger = open(&folder);
    let other = shell(&folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (still, driven, ended) = (runtime(), runtime(), runtime());

    let ask = |runtime: &tokio::runtime::Runtime, n| {
        let mut asked = Box::pin(ledger.reserve(payment(n, 1), Opening::Settling));
        runtime.block_on(async { assert!(futures::poll!(asked.as_mut()).is_pending()) });
        asked
    };
    let on_still = ask(&still, 1);
    let on_ended = ask(&ended, 2);
    drop(ended);
    let on_driven = ask(&driven, 3);
    other.execute_batch("ROLLBACK").unwrap();
    for asked in [on_driven, on_ended] {
        assert!(matches!(driven.block_on(asked), Ok(Reservation::Fresh)));
    }
    assert!(matches!(still.block_on(on_still), Ok(Reservation::Fresh)));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_asks_goes_before_who_writes() {
    let folder = folder();
    let ledger = open(&folder);
    let niceness = || rustix::process::getpriority_process(None).unwrap();
    let there = ledger.writer.write(move |_| Ok(Ok(niceness()))).await.unwrap();
    assert!(there > niceness() || there == 19, "{there}");
}
