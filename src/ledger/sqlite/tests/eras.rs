//! Ids are kept era by era: a payment is found in any of them, and made once over all.

use super::batches::commits;
use super::*;
use crate::ledger::conformance::payment;
use crate::ledger::{Opening, Reservation, Transition};

/// A payment of somebody's, with which the next era has begun.
fn begin_era(folder: &TempDir, era: u64) {
    let sql = format!(
        "INSERT INTO payment (seq, era, id, id_head, digest, state, route, host, payer, network, asset, amount, way,
                              reserved_at, updated_at)
         VALUES ({era} << 16, {era}, '{id}', unhex(substr('{id}', 1, 16)), zeroblob(32), 'failed', 'r', 'h', '',
                 'eip155:84532', '0x1', '5', 'usdc', 1, 2)",
        id = id(1000 + era)
    );
    shell(folder).execute_batch(&sql).unwrap();
}

/// Waits until what the file holds is known.
async fn learned(ledger: &SqliteLedger) {
    // Reports are read one after the other, and this was the first.
    ledger.list(&Filter::default()).await.unwrap();
    assert!(!ledger.seen.may_hold(&id(9999)));
}

async fn every_era_is_held_to_its_payments(ledger: &SqliteLedger, eras: u64) {
    for n in 0..eras {
        let held = ledger.reserve(payment(n, 500), Opening::Reserved).await.unwrap();
        assert!(matches!(&held, Reservation::Held(record) if record.id == id(n)), "{n}: {held:?}");
        assert_eq!(ledger.find(&id(n)).await.unwrap().unwrap().state, State::Settled);
        assert!(ledger.hold(&id(n), 500).await.unwrap().is_some());
        assert!(ledger.count_use(&id(n), 9).await.unwrap());
    }
    assert_eq!(ledger.find(&id(eras)).await.unwrap(), None);
    assert!(ledger.hold(&id(eras), 500).await.unwrap().is_none());
}

#[tokio::test]
async fn a_payment_of_any_era_is_found_and_never_reserved_again() {
    const ERAS: u64 = 5;
    let folder = folder();
    let ledger = open(&folder);
    for era in 0..ERAS {
        if era > 0 {
            begin_era(&folder, era);
        }
        bring(&ledger, era, State::Settled).await;
    }
    every_era_is_held_to_its_payments(&ledger, ERAS).await;
    ledger.close().await.unwrap();

    let ledger = open(&folder);
    // Before all is known and after.
    every_era_is_held_to_its_payments(&ledger, ERAS).await;
    learned(&ledger).await;
    every_era_is_held_to_its_payments(&ledger, ERAS).await;
    // What nobody has seen but another process.
    let beside = SqliteLedger::open_beside(&folder.path().join("ledger.db")).unwrap();
    assert!(beside.find(&id(0)).await.unwrap().is_some());
    bring(&ledger, 77, State::Settled).await;
    assert!(beside.find(&id(77)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_failed_payment_of_an_old_era_is_reserved_again_where_it_is() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Failed).await;
    begin_era(&folder, 3);
    let rows = || shell(&folder).query_row("SELECT count(*) FROM payment", [], |row| row.get::<_, i64>(0)).unwrap();
    let before = rows();
    assert!(matches!(ledger.reserve(payment(1, 500), Opening::Reserved).await, Ok(Reservation::Fresh)));
    let found = ledger.find(&id(1)).await.unwrap().unwrap();
    assert_eq!((found.state, found.reserved_at, rows()), (State::Reserved, 500, before));
    // In every step of its life.
    ledger.advance(&id(1), Transition::Settling, 501).await.unwrap();
    ledger.advance(&id(1), unknown(), 502).await.unwrap();
    let claim = Claim { worker: "one", now: 502, until: 900 };
    assert!(ledger.claim(&id(1), claim).await.unwrap().is_some());
    ledger.advance(&id(1), settled(), 503).await.unwrap();
    ledger.advance(&id(1), Transition::Delivered, 504).await.unwrap();
    assert_eq!(ledger.find(&id(1)).await.unwrap().unwrap().delivered_at, Some(504));
}

#[tokio::test]
async fn an_id_that_begins_as_another_is_another_payments_or_none() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Settled).await;
    let twin = PaymentId::parse(&format!("{:016x}{:048x}", 1, 5)).unwrap();
    let reserve_twin = || ledger.reserve(NewPayment { id: twin.clone(), ..payment(1, 20) }, Opening::Reserved);
    // Of the same era: refused, with nothing charged.
    assert!(is_unavailable(reserve_twin().await));
    assert_eq!(ledger.find(&twin).await.unwrap(), None);
    assert_eq!(ledger.find(&id(1)).await.unwrap().unwrap().state, State::Settled);
    // Of another: a payment of its own.
    begin_era(&folder, 1);
    assert!(matches!(reserve_twin().await, Ok(Reservation::Fresh)));
    ledger.advance(&twin, Transition::Settling, 30).await.unwrap();
    let state = async |id: &PaymentId| ledger.find(id).await.unwrap().unwrap().state;
    assert_eq!((state(&twin).await, state(&id(1)).await), (State::Settling, State::Settled));
}

/// Two ids that begin alike can be made, and sent again and again: each time they would cost the others their shared commit.
#[tokio::test]
async fn an_id_that_begins_as_another_leaves_its_batch_whole() {
    let folder = folder();
    let ledger = open(&folder);
    bring(&ledger, 1, State::Settled).await;
    let twin = PaymentId::parse(&format!("{:016x}{:048x}", 1, 5)).unwrap();
    let (round, before) = commits(&folder);
    let other = shell(&folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let payments = (100..120).map(|n| NewPayment { id: if n == 110 { twin.clone() } else { id(n) }, ..payment(n, 20) });
    let writes = futures::future::join_all(payments.map(|payment| ledger.reserve(payment, Opening::Reserved)));
    let (reservations, ()) = tokio::join!(biased; writes, async { other.execute_batch("ROLLBACK").unwrap() });
    for (n, reservation) in reservations.into_iter().enumerate() {
        match reservation {
            Ok(Reservation::Fresh) => assert_ne!(n, 10),
            Ok(Reservation::Held(record)) => panic!("{record:?}"),
            Err(error) => assert!(n == 10 && error.to_string().contains("begins as"), "{n}: {error}"),
        }
    }
    // At worst the writer took the first alone before it saw the rest.
    let (round_after, after) = commits(&folder);
    assert!(round_after == round && after - before <= 2, "{} commits", after - before);
}

/// An id is known before its row is written, and the file is read meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_the_file_is_read_is_found() {
    for round in 0..100 {
        let folder = folder();
        let ledger = Arc::new(open(&folder));
        let mut payers = JoinSet::new();
        for n in 0..20 {
            let ledger = ledger.clone();
            payers.spawn(async move { bring(&*ledger, n, State::Settled).await });
        }
        payers.join_all().await;
        learned(&ledger).await;
        for n in 0..20 {
            assert!(ledger.find(&id(n)).await.unwrap().is_some(), "{n} in round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_forgotten_payments_are_let_go_while_others_are_written() {
    let folder = folder();
    let ledger = Arc::new(open(&folder));
    learned(&ledger).await;
    let mut kept = 10_000..;
    for round in 0..20 {
        for n in 0..100 {
            bring(&*ledger, n, State::Failed).await;
        }
        assert!(ledger.seen.may_hold(&id(1)));
        let mut payers = JoinSet::new();
        for n in kept.by_ref().take(5) {
            let ledger = ledger.clone();
            payers.spawn(async move { bring(&*ledger, n, State::Settled).await });
        }
        assert_eq!(ledger.prune(1000, 1000).await.unwrap(), 100);
        payers.join_all().await;
        ledger.list(&Filter::default()).await.unwrap();
        for n in 10_000..kept.start {
            assert!(ledger.find(&id(n)).await.unwrap().is_some(), "{n} in round {round}");
        }
        // Now and then, when enough are gone.
        let held = (0..100).filter(|n| ledger.seen.may_hold(&id(*n))).count();
        assert!(round > 0 || held < 10, "{held} are held in round {round}");
    }
}
