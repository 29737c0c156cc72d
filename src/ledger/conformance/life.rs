//! What a payment becomes, one step after the other, and of many who want to take the same step.

use super::*;

pub(super) async fn a_new_payment_is_written_as_it_was_given(ledger: Arc<dyn Ledger>) {
    assert!(ledger.find(&id(1)).await.unwrap().is_none());
    for (n, opening) in [(1, Opening::Reserved), (2, Opening::Settling)] {
        let fresh = ledger.reserve(payment(n, 10), opening).await.unwrap();
        assert!(matches!(fresh, Reservation::Fresh));
        let given = payment(n, 10);
        let expected = Record {
            id: given.id,
            digest: given.digest,
            state: opening.state(),
            route: given.route,
            host: given.host,
            payer: given.payer,
            network: given.network,
            asset: given.asset,
            amount: given.amount,
            way: given.way,
            facilitator: None,
            transaction: None,
            error: None,
            reserved_at: 10,
            updated_at: 10,
            settled_at: None,
            delivered_at: None,
            uses: 0,
            by_operator: false,
        };
        assert_eq!(found(&*ledger, n).await, expected);
    }
}

pub(super) async fn only_a_failed_payment_is_reserved_again(ledger: Arc<dyn Ledger>) {
    for (n, state) in (0..).zip(State::ALL) {
        bring(&*ledger, n, state).await;
        let before = found(&*ledger, n).await;
        let again = NewPayment { route: "other".into(), digest: [9; 32], ..payment(n, 500) };
        match ledger.reserve(again, Opening::Settling).await.unwrap() {
            Reservation::Fresh => assert_eq!(state, State::Failed),
            Reservation::Held(record) => {
                assert_ne!(state, State::Failed);
                assert_eq!(*record, before);
            }
        }
        let after = found(&*ledger, n).await;
        match state {
            State::Reserved | State::Settling | State::Settled | State::Unknown => assert_eq!(after, before),
            State::Failed => {
                let route = Arc::from("other");
                let fresh = Record { state: State::Settling, route, digest: [9; 32], error: None, ..before };
                assert_eq!(after, Record { reserved_at: 500, updated_at: 500, ..fresh });
            }
        }
    }
}

pub(super) async fn nothing_of_a_failed_attempt_is_left_when_it_is_reserved_again(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Unknown).await;
    ledger.advance(&id(1), Transition::Failed { error: "expired unused".into() }, 200).await.unwrap();
    let failed = found(&*ledger, 1).await;
    assert_eq!((failed.transaction.as_deref(), failed.facilitator.as_deref()), (Some("0xbb"), Some("main")));
    ledger.reserve(payment(1, 300), Opening::Reserved).await.unwrap();
    let fresh = found(&*ledger, 1).await;
    assert_eq!((fresh.state, fresh.transaction, fresh.facilitator, fresh.error), (State::Reserved, None, None, None));
}

pub(super) async fn each_state_may_be_left_only_as_the_rules_say(ledger: Arc<dyn Ledger>) {
    // Rows are states, columns the transitions, in the order of their declarations.
    #[rustfmt::skip]
    let allowed = [
        //                 settling settled unknown released failed delivered ruled settled, failed
        (State::Reserved, [true,    false,  false,  true,    true,  false,    false,         false]),
        (State::Settling, [false,   true,   true,   true,    true,  false,    false,         false]),
        (State::Settled,  [false,   false,  false,  false,   false, true,     false,         false]),
        (State::Unknown,  [false,   true,   false,  false,   true,  false,    true,          true]),
        (State::Failed,   [false,   false,  false,  false,   false, false,    false,         false]),
    ];
    let mut n = 0;
    for (state, row) in allowed {
        for (transition, allowed) in transitions().into_iter().zip(row) {
            n += 1;
            bring(&*ledger, n, state).await;
            let before = found(&*ledger, n).await;
            let what = format!("{} -> {}", state.name(), transition.name());
            match ledger.advance(&id(n), transition.clone(), 200).await {
                Ok(()) => assert!(allowed, "{what} must be refused"),
                Err(LedgerError::Conflict { id: of, to }) => {
                    assert!(!allowed, "{what} must be possible");
                    assert_eq!((of, to), (id(n), transition.name()));
                    assert_eq!(found(&*ledger, n).await, before, "{what} must change nothing");
                }
                Err(error @ LedgerError::Unavailable(_)) => panic!("{what}: {error}"),
            }
        }
    }
    for transition in transitions() {
        let missing = ledger.advance(&id(999), transition, 1).await;
        assert!(matches!(missing, Err(LedgerError::Conflict { .. })));
    }
}

pub(super) async fn a_transition_writes_what_it_carries(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Unknown).await;
    let record = found(&*ledger, 1).await;
    assert_eq!((record.state, record.updated_at), (State::Unknown, 100));
    assert_eq!(record.facilitator.as_deref(), Some("main"));
    assert_eq!(record.transaction.as_deref(), Some("0xbb"));
    assert_eq!(record.error.as_deref(), Some("timeout"));

    // No transaction named: the one of before stands. The payer is known: nobody tells better.
    let by = Transition::Settled { facilitator: "second".into(), transaction: "".into(), payer: Some("0xno".into()) };
    ledger.advance(&id(1), by, 200).await.unwrap();
    let record = found(&*ledger, 1).await;
    assert_eq!((record.state, record.updated_at, record.settled_at), (State::Settled, 200, Some(200)));
    assert_eq!(record.facilitator.as_deref(), Some("second"));
    assert_eq!(record.transaction.as_deref(), Some("0xbb"));
    assert_eq!(record.error, None);
    assert_eq!(record.payer, payment(1, 0).payer);

    let nameless = NewPayment { payer: "".into(), ..payment(2, 10) };
    ledger.reserve(nameless, Opening::Settling).await.unwrap();
    let by = Transition::Settled { facilitator: "main".into(), transaction: "".into(), payer: Some("0xpay".into()) };
    ledger.advance(&id(2), by, 20).await.unwrap();
    let record = found(&*ledger, 2).await;
    assert_eq!((&*record.payer, record.transaction), ("0xpay", None));
}

pub(super) async fn delivered_twice_keeps_the_first_time(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Settled).await;
    ledger.advance(&id(1), Transition::Delivered, 300).await.unwrap();
    ledger.advance(&id(1), Transition::Delivered, 400).await.unwrap();
    let record = found(&*ledger, 1).await;
    // Its state did not change: it is settled, as before.
    assert_eq!((record.delivered_at, record.state, record.updated_at), (Some(300), State::Settled, 100));
}

pub(super) async fn of_many_that_reserve_one_payment_one_gets_it(ledger: Arc<dyn Ledger>) {
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        let ledger = ledger.clone();
        let opening = if n % 2 == 0 { Opening::Reserved } else { Opening::Settling };
        tasks.spawn(async move { ledger.reserve(payment(1, n), opening).await.unwrap() });
    }
    let taken = tasks.join_all().await;
    assert_eq!(taken.iter().filter(|taken| matches!(taken, Reservation::Fresh)).count(), 1);
    let record = found(&*ledger, 1).await;
    for held in taken {
        match held {
            Reservation::Fresh => {}
            Reservation::Held(held) => assert_eq!(*held, record),
        }
    }
}

pub(super) async fn of_many_that_settle_one_payment_one_does(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Settling).await;
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let ledger = ledger.clone();
        let step = if n % 2 == 0 { settled() } else { Transition::Failed { error: "refused".into() } };
        tasks.spawn(async move { ledger.advance(&id(1), step, 200).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|done| *done).count(), 1);
}

pub(super) async fn uses_are_counted_exactly(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Settled).await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let ledger = ledger.clone();
        tasks.spawn(async move { ledger.count_use(&id(1), 37).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|open| *open).count(), 37);
    assert_eq!(found(&*ledger, 1).await.uses, 37);
    // A reload may raise or lower the limit in between.
    assert!(!ledger.count_use(&id(1), 5).await.unwrap());
    assert!(ledger.count_use(&id(1), 38).await.unwrap());
    assert!(!ledger.count_use(&id(1), 0).await.unwrap());
}

pub(super) async fn only_a_settled_payment_is_used(ledger: Arc<dyn Ledger>) {
    for (n, state) in (0..).zip(State::ALL) {
        bring(&*ledger, n, state).await;
        match ledger.count_use(&id(n), 10).await {
            Ok(open) => assert!(open && state == State::Settled),
            Err(error) => {
                assert!(matches!(error, LedgerError::Conflict { .. }), "{error}");
                assert_ne!(state, State::Settled);
            }
        }
    }
    assert!(matches!(ledger.count_use(&id(99), 10).await, Err(LedgerError::Conflict { .. })));
}

pub(super) async fn a_start_closes_what_an_ended_run_left_open(ledger: Arc<dyn Ledger>) {
    for (n, state) in (0..).zip(State::ALL) {
        bring(&*ledger, n, state).await;
    }
    assert_eq!(ledger.recover(900).await.unwrap(), Recovered { released: 1, unknown: 1 });
    let expected = [State::Failed, State::Unknown, State::Settled, State::Unknown, State::Failed];
    for ((n, before), after) in (0..).zip(State::ALL).zip(expected) {
        let record = found(&*ledger, n).await;
        assert_eq!(record.state, after);
        assert_eq!(record.updated_at, if before == after { 100 } else { 900 });
    }
    assert_eq!(found(&*ledger, 0).await.error.as_deref(), Some(RELEASED));
    assert_eq!(found(&*ledger, 1).await.error.as_deref(), Some(CUT_OFF));
    assert_eq!(ledger.recover(950).await.unwrap(), Recovered::default());
}
