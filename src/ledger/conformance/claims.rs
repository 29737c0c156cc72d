//! Who works on an unknown payment, and when.

use super::*;

/// A claim from `now` on, for 100 milliseconds.
pub(super) fn claim_at(worker: &str, now: UnixMillis) -> Claim<'_> {
    Claim { worker, now, until: now + 100 }
}

pub(super) fn ids(claimed: &[Unresolved]) -> Vec<PaymentId> {
    claimed.iter().map(|unresolved| unresolved.record.id.clone()).collect()
}

pub(super) fn later(next_try_at: UnixMillis) -> Postponement {
    Postponement { next_try_at, transaction: None, error: "still unknown".into() }
}

pub(super) async fn an_unknown_payment_is_claimed_with_all_that_resolves_it(ledger: Arc<dyn Ledger>) {
    for (n, state) in (0..).zip(State::ALL) {
        bring(&*ledger, n, state).await;
        let claimed = ledger.claim(&id(n), claim_at("one", 200)).await.unwrap();
        assert_eq!(claimed.is_some(), state == State::Unknown, "{state:?}");
        let Some(claimed) = claimed else { continue };
        assert_eq!(claimed.record, found(&*ledger, n).await);
        let given = payment(n, 10);
        assert_eq!((claimed.settle_request, claimed.valid_before), (given.settle_request, given.valid_before));
        assert_eq!(claimed.tries, 0);
    }
    assert!(ledger.claim(&id(99), claim_at("one", 200)).await.unwrap().is_none());
    bring(&*ledger, 8, State::Settling).await;
    ledger.recover(300).await.unwrap();
    assert_eq!(ids(&ledger.claim_due(claim_at("one", 300), 9).await.unwrap()), [id(3), id(1), id(8)]);
}

pub(super) async fn one_worker_has_a_payment_until_its_claim_ends(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Unknown).await;
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let worker = n.to_string();
            let due = ledger.claim_due(claim_at(&worker, 200), 5).await.unwrap();
            due.len() + usize::from(ledger.claim(&id(1), claim_at(&worker, 200)).await.unwrap().is_some())
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), 1);

    assert!(ledger.claim(&id(1), claim_at("one", 299)).await.unwrap().is_none());
    assert!(ledger.claim(&id(1), claim_at("one", 300)).await.unwrap().is_some(), "a dead worker's claim runs out");
    assert!(ledger.claim(&id(1), claim_at("one", 301)).await.unwrap().is_none(), "its own is no better");
    assert!(ledger.claim_due(claim_at("two", 301), 5).await.unwrap().is_empty());
}

pub(super) async fn a_postponed_payment_is_due_again_at_its_time(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Unknown).await;
    let before = found(&*ledger, 1).await;
    assert!(ledger.claim_due(claim_at("one", 99), 5).await.unwrap().is_empty(), "unknown since 100");
    assert_eq!(ids(&ledger.claim_due(claim_at("one", 100), 5).await.unwrap()), [id(1)]);
    let named = Postponement { transaction: Some("0xcc".into()), ..later(1000) };
    ledger.postpone(&id(1), "one", named).await.unwrap();
    let record = found(&*ledger, 1).await;
    let (transaction, error) = (Some("0xcc".into()), Some("still unknown".into()));
    assert_eq!(record, Record { transaction, error, ..before }, "its state did not change, nor since when");

    assert!(ledger.claim_due(claim_at("one", 999), 5).await.unwrap().is_empty());
    let again = ledger.claim(&id(1), claim_at("two", 200)).await.unwrap().expect("one that is asked for is not due");
    assert_eq!(again.tries, 1);
    ledger.postpone(&id(1), "two", later(500)).await.unwrap();
    let due = ledger.claim_due(claim_at("one", 500), 5).await.unwrap();
    assert_eq!((ids(&due), due[0].tries), (vec![id(1)], 2));
    assert_eq!(due[0].record.transaction.as_deref(), Some("0xcc"), "what was named once stands");
}

pub(super) async fn the_longest_due_come_first(ledger: Arc<dyn Ledger>) {
    for (n, at) in [(1, 300), (2, 100), (3, 200), (4, 200)] {
        bring(&*ledger, n, State::Unknown).await;
        ledger.claim(&id(n), claim_at("one", 100)).await.unwrap().unwrap();
        ledger.postpone(&id(n), "one", later(at)).await.unwrap();
    }
    assert!(ledger.claim_due(claim_at("one", 500), 0).await.unwrap().is_empty());
    assert_eq!(ids(&ledger.claim_due(claim_at("one", 500), 3).await.unwrap()), [id(2), id(3), id(4)]);
    assert_eq!(ids(&ledger.claim_due(claim_at("two", 500), 3).await.unwrap()), [id(1)]);
}

pub(super) async fn only_who_has_a_payment_postpones_it(ledger: Arc<dyn Ledger>) {
    let refused = async |n: u64, worker: &str| match ledger.postpone(&id(n), worker, later(900)).await {
        Err(LedgerError::Conflict { id: of, to: "postponed" }) => assert_eq!(of, id(n)),
        other => panic!("{other:?}"),
    };
    bring(&*ledger, 1, State::Unknown).await;
    refused(1, "one").await;
    ledger.claim(&id(1), claim_at("one", 200)).await.unwrap().unwrap();
    refused(1, "two").await;
    ledger.claim(&id(1), claim_at("two", 300)).await.unwrap().unwrap();
    refused(1, "one").await;
    ledger.advance(&id(1), settled(), 310).await.unwrap();
    refused(1, "two").await;
    refused(99, "one").await;
}

pub(super) async fn an_outcome_ends_a_claim_and_a_new_life_starts_without_one(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Unknown).await;
    for worker in ["one", "two"] {
        ledger.claim(&id(1), claim_at(worker, 200)).await.unwrap().unwrap();
        ledger.postpone(&id(1), worker, later(900)).await.unwrap();
    }
    ledger.claim(&id(1), claim_at("one", 200)).await.unwrap().unwrap();
    ledger.advance(&id(1), Transition::Failed { error: "expired unused".into() }, 210).await.unwrap();
    assert!(ledger.claim_due(claim_at("two", 10_000), 5).await.unwrap().is_empty());

    ledger.reserve(payment(1, 220), Opening::Settling).await.unwrap();
    ledger.advance(&id(1), unknown(), 230).await.unwrap();
    let fresh = ledger.claim_due(claim_at("two", 230), 5).await.unwrap();
    assert_eq!((ids(&fresh), fresh[0].tries), (vec![id(1)], 0));
}

pub(super) async fn a_sweep_leaves_what_this_gateway_has(ledger: Arc<dyn Ledger>) {
    for (n, state) in (0..).zip(State::ALL) {
        bring(&*ledger, n, state).await;
    }
    assert_eq!(ledger.sweep(i64::MAX).await.unwrap(), Recovered::default());
    for (n, state) in (0..).zip(State::ALL) {
        assert_eq!(found(&*ledger, n).await.state, state);
    }
}
