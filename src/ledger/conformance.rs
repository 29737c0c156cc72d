//! What every ledger must do, whatever it is kept in.

mod pruning;
mod ruling;

use std::sync::Arc;

use alloy::primitives::U256;
use tokio::task::JoinSet;

use self::pruning::*;
use self::ruling::*;
use super::*;
use crate::money::Amount;
use crate::x402::Network;

const BASE_SEPOLIA_USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// The id of the n-th payment.
pub(super) fn id(n: u64) -> PaymentId {
    PaymentId::parse(&format!("{n:064x}")).unwrap()
}

/// The n-th payment, made at that time.
pub(super) fn payment(n: u64, now: UnixMillis) -> NewPayment {
    NewPayment {
        id: id(n),
        digest: [7; 32],
        route: "premium".into(),
        host: "api.example.com".into(),
        payer: "0xAbCdEf0000000000000000000000000000000001".into(),
        network: Network::parse("base-sepolia").unwrap(),
        asset: BASE_SEPOLIA_USDC.into(),
        amount: Amount::from(10_000),
        way: "usdc".into(),
        settle_request: r#"{"signature":"0xsecret"}"#.into(),
        valid_before: Some(1_800_000_000),
        now,
    }
}

/// The transitions, each with something in every field.
pub(super) fn transitions() -> [Transition; 8] {
    let error = "refused";
    [
        Transition::Settling,
        settled(),
        unknown(),
        Transition::Released { error: error.into() },
        Transition::Failed { error: error.into() },
        Transition::Delivered,
        Transition::Ruled(Ruling::Settled { transaction: "0xcc".into() }),
        Transition::Ruled(Ruling::Failed),
    ]
}

pub(super) fn settled() -> Transition {
    Transition::Settled { facilitator: "main".into(), transaction: "0xaa".into(), payer: None }
}

pub(super) fn unknown() -> Transition {
    Transition::Unknown { facilitator: "main".into(), transaction: Some("0xbb".into()), error: "timeout".into() }
}

/// Brings the n-th payment into a state; the last write is at 100.
pub(super) async fn bring(ledger: &dyn Ledger, n: u64, state: State) {
    ledger.reserve(payment(n, 10), Opening::Reserved).await.unwrap();
    advance_to(ledger, n, state).await;
}

/// The rest of [`bring`], for a payment that is reserved.
async fn advance_to(ledger: &dyn Ledger, n: u64, state: State) {
    let path: &[Transition] = match state {
        State::Reserved => &[],
        State::Settling => &[Transition::Settling],
        State::Settled => &[Transition::Settling, settled()],
        State::Unknown => &[Transition::Settling, unknown()],
        State::Failed => &[Transition::Failed { error: "refused".into() }],
    };
    for step in path {
        ledger.advance(&id(n), step.clone(), 100).await.unwrap();
    }
}

async fn found(ledger: &dyn Ledger, n: u64) -> Record {
    ledger.find(&id(n)).await.unwrap().unwrap()
}

/// Settles payments of these routes, payers and amounts, one each millisecond from 1000 on.
async fn settle_all(ledger: &dyn Ledger, payments: impl IntoIterator<Item = NewPayment>) {
    for payment in payments {
        let (id, now) = (payment.id.clone(), payment.now);
        ledger.reserve(payment, Opening::Settling).await.unwrap();
        ledger.advance(&id, settled(), now).await.unwrap();
    }
}

async fn a_new_payment_is_written_as_it_was_given(ledger: Arc<dyn Ledger>) {
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

async fn only_a_failed_payment_is_reserved_again(ledger: Arc<dyn Ledger>) {
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

async fn nothing_of_a_failed_attempt_is_left_when_it_is_reserved_again(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Unknown).await;
    ledger.advance(&id(1), Transition::Failed { error: "expired unused".into() }, 200).await.unwrap();
    let failed = found(&*ledger, 1).await;
    assert_eq!((failed.transaction.as_deref(), failed.facilitator.as_deref()), (Some("0xbb"), Some("main")));
    ledger.reserve(payment(1, 300), Opening::Reserved).await.unwrap();
    let fresh = found(&*ledger, 1).await;
    assert_eq!((fresh.state, fresh.transaction, fresh.facilitator, fresh.error), (State::Reserved, None, None, None));
}

async fn each_state_may_be_left_only_as_the_rules_say(ledger: Arc<dyn Ledger>) {
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

async fn a_transition_writes_what_it_carries(ledger: Arc<dyn Ledger>) {
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

async fn delivered_twice_keeps_the_first_time(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Settled).await;
    ledger.advance(&id(1), Transition::Delivered, 300).await.unwrap();
    ledger.advance(&id(1), Transition::Delivered, 400).await.unwrap();
    let record = found(&*ledger, 1).await;
    // Its state did not change: it is settled, as before.
    assert_eq!((record.delivered_at, record.state, record.updated_at), (Some(300), State::Settled, 100));
}

async fn of_many_that_reserve_one_payment_one_gets_it(ledger: Arc<dyn Ledger>) {
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

async fn of_many_that_settle_one_payment_one_does(ledger: Arc<dyn Ledger>) {
    bring(&*ledger, 1, State::Settling).await;
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let ledger = ledger.clone();
        let step = if n % 2 == 0 { settled() } else { Transition::Failed { error: "refused".into() } };
        tasks.spawn(async move { ledger.advance(&id(1), step, 200).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|done| *done).count(), 1);
}

async fn uses_are_counted_exactly(ledger: Arc<dyn Ledger>) {
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

async fn only_a_settled_payment_is_used(ledger: Arc<dyn Ledger>) {
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

async fn a_start_closes_what_an_ended_run_left_open(ledger: Arc<dyn Ledger>) {
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

/// A claim from `now` on, for 100 milliseconds.
fn claim_at(worker: &str, now: UnixMillis) -> Claim<'_> {
    Claim { worker, now, until: now + 100 }
}

fn ids(claimed: &[Unresolved]) -> Vec<PaymentId> {
    claimed.iter().map(|unresolved| unresolved.record.id.clone()).collect()
}

fn later(next_try_at: UnixMillis) -> Postponement {
    Postponement { next_try_at, transaction: None, error: "still unknown".into() }
}

async fn an_unknown_payment_is_claimed_with_all_that_resolves_it(ledger: Arc<dyn Ledger>) {
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

async fn one_worker_has_a_payment_until_its_claim_ends(ledger: Arc<dyn Ledger>) {
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

async fn a_postponed_payment_is_due_again_at_its_time(ledger: Arc<dyn Ledger>) {
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

async fn the_longest_due_come_first(ledger: Arc<dyn Ledger>) {
    for (n, at) in [(1, 300), (2, 100), (3, 200), (4, 200)] {
        bring(&*ledger, n, State::Unknown).await;
        ledger.claim(&id(n), claim_at("one", 100)).await.unwrap().unwrap();
        ledger.postpone(&id(n), "one", later(at)).await.unwrap();
    }
    assert!(ledger.claim_due(claim_at("one", 500), 0).await.unwrap().is_empty());
    assert_eq!(ids(&ledger.claim_due(claim_at("one", 500), 3).await.unwrap()), [id(2), id(3), id(4)]);
    assert_eq!(ids(&ledger.claim_due(claim_at("two", 500), 3).await.unwrap()), [id(1)]);
}

async fn only_who_has_a_payment_postpones_it(ledger: Arc<dyn Ledger>) {
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

async fn an_outcome_ends_a_claim_and_a_new_life_starts_without_one(ledger: Arc<dyn Ledger>) {
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

async fn a_sweep_leaves_what_this_gateway_has(ledger: Arc<dyn Ledger>) {
    for (n, state) in (0..).zip(State::ALL) {
        bring(&*ledger, n, state).await;
    }
    assert_eq!(ledger.sweep(i64::MAX).await.unwrap(), Recovered::default());
    for (n, state) in (0..).zip(State::ALL) {
        assert_eq!(found(&*ledger, n).await.state, state);
    }
}

async fn sums_are_exact_up_to_256_bits(ledger: Arc<dyn Ledger>) {
    let half: U256 = U256::from(1) << 255;
    let amounts = [half, half - U256::from(1)];
    let given = (0..).zip(amounts).map(|(n, amount)| NewPayment { amount: amount.into(), ..payment(n, 1000) });
    settle_all(&*ledger, given).await;
    for by in [GroupBy::Route, GroupBy::Day, GroupBy::Payer] {
        let totals = ledger.totals(&Filter::default(), by).await.unwrap();
        assert_eq!(totals.iter().map(|total| total.amount).collect::<Vec<_>>(), [Amount::from(U256::MAX)]);
    }
    // One more unit is no number any more: an error, and not a smaller sum.
    settle_all(&*ledger, [NewPayment { amount: Amount::from(1), ..payment(9, 1000) }]).await;
    assert!(ledger.totals(&Filter::default(), GroupBy::Route).await.is_err());
}

async fn sums_count_settled_payments_by_group_and_asset(ledger: Arc<dyn Ledger>) {
    const DAY: UnixMillis = 86_400_000;
    let other_token: Arc<str> = "0x0000000000000000000000000000000000000002".into();
    settle_all(
        &*ledger,
        [
            NewPayment { payer: "0xAB".into(), ..payment(1, 0) },
            NewPayment { payer: "0xab".into(), ..payment(2, DAY - 1) },
            NewPayment { route: "basic".into(), ..payment(3, DAY) },
            NewPayment { asset: other_token.clone(), ..payment(4, DAY) },
        ],
    )
    .await;
    ledger.advance(&id(1), Transition::Delivered, DAY).await.unwrap();
    for (n, state) in [(5, State::Failed), (6, State::Unknown), (7, State::Settling), (8, State::Reserved)] {
        bring(&*ledger, n, state).await;
    }
    let of = |by| {
        let ledger = ledger.clone();
        async move {
            let totals = ledger.totals(&Filter { limit: Some(1), ..Filter::default() }, by).await.unwrap();
            let short = |total: Total| (total.group, total.asset, total.payments, total.delivered, total.amount);
            totals.into_iter().map(short).collect::<Vec<_>>()
        }
    };
    let usdc: Arc<str> = BASE_SEPOLIA_USDC.into();
    let row = |group: &str, asset: &Arc<str>, payments: u64, delivered: u64| {
        (group.to_owned(), asset.clone(), payments, delivered, Amount::from(payments * 10_000))
    };
    let routes = [row("basic", &usdc, 1, 0), row("premium", &other_token, 1, 0), row("premium", &usdc, 2, 1)];
    assert_eq!(of(GroupBy::Route).await, routes);
    let days = [row("1970-01-01", &usdc, 2, 1), row("1970-01-02", &other_token, 1, 0), row("1970-01-02", &usdc, 1, 0)];
    assert_eq!(of(GroupBy::Day).await, days);
    let payer = payment(0, 0).payer;
    assert_eq!(
        of(GroupBy::Payer).await,
        [row("0xAB", &usdc, 2, 1), row(&payer, &other_token, 1, 0), row(&payer, &usdc, 1, 0)]
    );

    let failed = Filter { state: Some(State::Failed), ..Filter::default() };
    assert!(ledger.totals(&failed, GroupBy::Route).await.unwrap().is_empty());
}

async fn filters_restrict_and_the_newest_come_first(ledger: Arc<dyn Ledger>) {
    for (n, at) in [(1, 100), (2, 300), (3, 200), (4, 200)] {
        ledger.reserve(payment(n, at), Opening::Reserved).await.unwrap();
    }
    ledger.reserve(NewPayment { route: "basic".into(), ..payment(5, 50) }, Opening::Settling).await.unwrap();
    ledger.reserve(NewPayment { payer: "0xFf".into(), ..payment(6, 40) }, Opening::Reserved).await.unwrap();
    ledger.advance(&id(6), Transition::Failed { error: "refused".into() }, 60).await.unwrap();

    let all = Filter::default();
    let cases: [(Filter, &[u64]); 13] = [
        (all.clone(), &[2, 4, 3, 1, 5, 6]),
        (Filter { limit: Some(2), ..all.clone() }, &[2, 4]),
        (Filter { limit: Some(0), ..all.clone() }, &[]),
        (Filter { since: Some(200), ..all.clone() }, &[2, 4, 3]),
        (Filter { until: Some(200), ..all.clone() }, &[1, 5, 6]),
        (Filter { since: Some(100), until: Some(300), ..all.clone() }, &[4, 3, 1]),
        (Filter { state: Some(State::Settling), ..all.clone() }, &[5]),
        (Filter { state: Some(State::Failed), ..all.clone() }, &[6]),
        (Filter { state: Some(State::Reserved), limit: Some(1), ..all.clone() }, &[2]),
        (Filter { route: Some("basic".into()), ..all.clone() }, &[5]),
        (Filter { route: Some("BASIC".into()), ..all.clone() }, &[]),
        (Filter { payer: Some("0xfF".into()), ..all.clone() }, &[6]),
        (Filter { payer: Some("0xff".into()), state: Some(State::Reserved), ..all }, &[]),
    ];
    for (filter, expected) in cases {
        let listed = ledger.list(&filter).await.unwrap();
        let expected: Vec<_> = expected.iter().copied().map(id).collect();
        assert_eq!(listed.into_iter().map(|record| record.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

async fn counts_follow_every_change(ledger: Arc<dyn Ledger>) {
    assert_eq!(ledger.counts().await.unwrap(), Counts::default());
    for (n, state) in (0..).zip(State::ALL) {
        bring(&*ledger, n, state).await;
    }
    let expected = Counts {
        reserved: 1,
        settling: 1,
        settled: 1,
        undelivered: 1,
        unknown: 1,
        failed: 1,
        oldest_unsettled: Some(100),
    };
    assert_eq!(ledger.counts().await.unwrap(), expected);

    // Settled, delivered, resolved, reserved again: all that changes a count.
    ledger.advance(&id(1), settled(), 200).await.unwrap();
    ledger.advance(&id(2), Transition::Delivered, 200).await.unwrap();
    ledger.advance(&id(2), Transition::Delivered, 201).await.unwrap();
    ledger.advance(&id(3), Transition::Failed { error: "expired".into() }, 200).await.unwrap();
    ledger.reserve(payment(4, 300), Opening::Settling).await.unwrap();
    let expected = Counts {
        reserved: 1,
        settling: 1,
        settled: 2,
        undelivered: 1,
        unknown: 0,
        failed: 1,
        oldest_unsettled: Some(300),
    };
    assert_eq!(ledger.counts().await.unwrap(), expected);

    ledger.recover(400).await.unwrap();
    let expected = Counts { reserved: 0, settling: 0, unknown: 1, failed: 2, oldest_unsettled: Some(400), ..expected };
    assert_eq!(ledger.counts().await.unwrap(), expected);
}

async fn the_first_pass_key_is_made_once(ledger: Arc<dyn Ledger>) {
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let ledger = ledger.clone();
        tasks.spawn(async move { ledger.pass_keys().await.unwrap() });
    }
    let seen = tasks.join_all().await;
    let first = seen[0][0].clone();
    assert_eq!(first.id.len(), 8);
    assert_ne!(first.secret, [0; 32]);
    for keys in seen {
        assert_eq!(keys.len(), 1);
        assert_eq!((&keys[0].id, keys[0].secret), (&first.id, first.secret));
    }
}

async fn a_healthy_ledger_says_so_and_closes(ledger: Arc<dyn Ledger>) {
    ledger.check().await.unwrap();
    ledger.close().await.unwrap();
    ledger.close().await.unwrap();
}

/// Runs each test against each ledger.
macro_rules! every_ledger {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(std::sync::Arc::new(crate::ledger::memory::MemoryLedger::default())).await;
            })*
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let ledger = crate::ledger::sqlite::SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
                super::$name(std::sync::Arc::new(ledger)).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (ledger, _) = crate::ledger::postgres::testing::open().await;
                super::$name(std::sync::Arc::new(ledger)).await;
            })*
        }
    };
}

every_ledger!(
    a_new_payment_is_written_as_it_was_given,
    only_a_failed_payment_is_reserved_again,
    nothing_of_a_failed_attempt_is_left_when_it_is_reserved_again,
    each_state_may_be_left_only_as_the_rules_say,
    a_transition_writes_what_it_carries,
    delivered_twice_keeps_the_first_time,
    of_many_that_reserve_one_payment_one_gets_it,
    of_many_that_settle_one_payment_one_does,
    uses_are_counted_exactly,
    only_a_settled_payment_is_used,
    a_start_closes_what_an_ended_run_left_open,
    an_unknown_payment_is_claimed_with_all_that_resolves_it,
    one_worker_has_a_payment_until_its_claim_ends,
    a_postponed_payment_is_due_again_at_its_time,
    the_longest_due_come_first,
    only_who_has_a_payment_postpones_it,
    an_outcome_ends_a_claim_and_a_new_life_starts_without_one,
    a_sweep_leaves_what_this_gateway_has,
    sums_are_exact_up_to_256_bits,
    sums_count_settled_payments_by_group_and_asset,
    filters_restrict_and_the_newest_come_first,
    counts_follow_every_change,
    only_payments_that_nothing_can_come_of_are_pruned,
    the_longest_at_rest_are_pruned_first_and_no_more_than_asked_for,
    a_late_delivery_keeps_a_payment_longer,
    counts_lists_and_sums_lose_what_is_pruned,
    a_pruned_payment_is_unknown_to_everybody_and_a_new_one_takes_its_place,
    of_many_that_prune_each_payment_is_pruned_once,
    an_operators_word_is_written_as_such,
    the_first_pass_key_is_made_once,
    a_healthy_ledger_says_so_and_closes,
);
