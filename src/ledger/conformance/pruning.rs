//! What is forgotten, and what never is.

use super::*;

const SECOND: UnixMillis = 1000;

/// Brings the n-th payment, which is good until that second, into a state; the last write is at 100.
async fn bring_good_until(ledger: &dyn Ledger, n: u64, state: State, valid_before: Option<u64>) {
    // A failed one is written anew, with the same number.
    bring(ledger, n, State::Failed).await;
    ledger.reserve(NewPayment { valid_before, ..payment(n, 10) }, Opening::Reserved).await.unwrap();
    advance_to(ledger, n, state).await;
}

async fn remaining(ledger: &dyn Ledger) -> Vec<u64> {
    let mut left = Vec::new();
    for n in 0..16 {
        if ledger.find(&id(n)).await.unwrap().is_some() {
            left.push(n);
        }
    }
    left
}

pub(super) async fn only_payments_that_nothing_can_come_of_are_pruned(ledger: Arc<dyn Ledger>) {
    for (n, state) in (0..).zip(State::ALL) {
        bring_good_until(&*ledger, n, state, Some(50)).await;
    }
    bring_good_until(&*ledger, 5, State::Settled, None).await;
    bring_good_until(&*ledger, 6, State::Settled, Some(u64::MAX)).await;
    bring_good_until(&*ledger, 7, State::Failed, None).await;
    bring_good_until(&*ledger, 8, State::Failed, Some(u64::MAX)).await;

    assert_eq!(ledger.prune(99, 100).await.unwrap(), 0, "all of them changed at 100");
    assert_eq!(ledger.prune(50 * SECOND - 1, 100).await.unwrap(), 3, "those that failed");
    assert_eq!(remaining(&*ledger).await, [0, 1, 2, 3, 5, 6]);
    assert_eq!(ledger.prune(50 * SECOND, 100).await.unwrap(), 1, "what settled, when its validBefore has passed");
    // Longer than anybody lives: what is open or unknown stays, and what only its row keeps from being used again.
    assert_eq!(ledger.prune(8_000_000_000_000 * SECOND, 100).await.unwrap(), 0);
    assert_eq!(remaining(&*ledger).await, [0, 1, 3, 5, 6]);
}

pub(super) async fn the_longest_at_rest_are_pruned_first_and_no_more_than_asked_for(ledger: Arc<dyn Ledger>) {
    for (n, valid_before) in [(1, 3), (2, 1), (3, 2), (4, 2)] {
        bring_good_until(&*ledger, n, State::Settled, Some(valid_before)).await;
    }
    assert_eq!(ledger.prune(9 * SECOND, 0).await.unwrap(), 0);
    for (asked, pruned, left) in [(1, 1, &[1, 3, 4][..]), (2, 2, &[1]), (9, 1, &[]), (9, 0, &[])] {
        assert_eq!(ledger.prune(9 * SECOND, asked).await.unwrap(), pruned);
        assert_eq!(remaining(&*ledger).await, left);
    }
}

pub(super) async fn a_late_delivery_keeps_a_payment_longer(ledger: Arc<dyn Ledger>) {
    bring_good_until(&*ledger, 1, State::Settled, Some(1)).await;
    ledger.advance(&id(1), Transition::Delivered, 2 * SECOND).await.unwrap();
    assert_eq!(ledger.prune(2 * SECOND - 1, 9).await.unwrap(), 0);
    assert_eq!(ledger.prune(2 * SECOND, 9).await.unwrap(), 1);
}

pub(super) async fn counts_lists_and_sums_lose_what_is_pruned(ledger: Arc<dyn Ledger>) {
    for n in 1..=3 {
        bring_good_until(&*ledger, n, State::Settled, Some(n)).await;
    }
    bring_good_until(&*ledger, 4, State::Failed, Some(9)).await;
    bring_good_until(&*ledger, 5, State::Unknown, Some(1)).await;
    ledger.advance(&id(1), Transition::Delivered, 200).await.unwrap();
    assert_eq!(ledger.prune(2 * SECOND, 9).await.unwrap(), 3);

    let counts = ledger.counts().await.unwrap();
    assert_eq!((counts.settled, counts.undelivered, counts.failed, counts.unknown), (1, 1, 0, 1));
    assert_eq!(ledger.list(&Filter::default()).await.unwrap().len(), 2);
    let totals = ledger.totals(&Filter::default(), GroupBy::Route).await.unwrap();
    assert_eq!(totals.iter().map(|total| total.payments).collect::<Vec<_>>(), [1]);
}

pub(super) async fn a_pruned_payment_is_unknown_to_everybody_and_a_new_one_takes_its_place(ledger: Arc<dyn Ledger>) {
    bring_good_until(&*ledger, 1, State::Settled, Some(1)).await;
    bring_good_until(&*ledger, 2, State::Settling, Some(1)).await;
    assert_eq!(ledger.prune(SECOND, 9).await.unwrap(), 1);
    assert!(ledger.hold(&id(1), 2000).await.unwrap().is_none());
    assert!(matches!(ledger.count_use(&id(1), 9).await, Err(LedgerError::Conflict { .. })));
    for transition in transitions() {
        assert!(matches!(ledger.advance(&id(1), transition, 2000).await, Err(LedgerError::Conflict { .. })));
    }
    // What was sent to its facilitator is the new one's own.
    ledger.reserve(NewPayment { settle_request: "new".into(), ..payment(3, 2000) }, Opening::Settling).await.unwrap();
    ledger.advance(&id(3), unknown(), 2000).await.unwrap();
    let claimed = ledger.claim(&id(3), claim_at("one", 2000)).await.unwrap().unwrap();
    assert_eq!(&*claimed.settle_request, "new");
    ledger.advance(&id(2), unknown(), 2000).await.unwrap();
    let claimed = ledger.claim(&id(2), claim_at("one", 2000)).await.unwrap().unwrap();
    assert_eq!(claimed.settle_request, payment(2, 0).settle_request);
}

pub(super) async fn of_many_that_prune_each_payment_is_pruned_once(ledger: Arc<dyn Ledger>) {
    for n in 0..60 {
        bring(&*ledger, n, State::Failed).await;
    }
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let mut pruned = 0;
            loop {
                match ledger.prune(SECOND, 7).await.unwrap() {
                    0 => return pruned,
                    batch => pruned += batch,
                }
            }
        });
    }
    let pruned: u64 = tasks.join_all().await.into_iter().sum();
    // One that another holds at that moment is left to it.
    assert_eq!(pruned + ledger.prune(SECOND, 100).await.unwrap(), 60);
    assert_eq!(ledger.counts().await.unwrap(), Counts::default());
}
