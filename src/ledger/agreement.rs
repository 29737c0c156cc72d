//! The ledger in memory is the model of those that last: whatever is asked, in whatever order, all answer alike.

use proptest::prelude::*;

use super::conformance::{id, payment};
use super::memory::MemoryLedger;
use super::postgres;
use super::sqlite::SqliteLedger;
use super::*;

#[derive(Debug, Clone)]
enum Operation {
    Reserve(Box<NewPayment>, Opening),
    Advance(u64, Transition),
    Use(u64, u32),
    Recover,
    Hold(u64),
    LetGo(u64),
    ClaimDue(&'static str, u32),
    Claim(u64, &'static str),
    Postpone(u64, &'static str, Option<Arc<str>>),
    Prune(UnixMillis, u32),
}

/// For which a claim is good: some end within a case.
const CLAIM_MS: UnixMillis = 9;

fn operation() -> impl Strategy<Value = Operation> {
    let n = 0..4u64;
    let text = |choices: &'static [&'static str]| proptest::sample::select(choices).prop_map(Arc::<str>::from);
    let valid_before = proptest::sample::select(&[None, Some(0), Some(1), Some(1 << 60)][..]);
    let reserve = (n.clone(), any::<bool>(), text(&["a", "B"]), text(&["", "0xab", "0xAB"]), 0..9u64, valid_before)
        .prop_map(|(n, settle, route, payer, amount, valid_before)| {
            let opening = if settle { Opening::Settling } else { Opening::Reserved };
            let payment = NewPayment { route, payer, amount: amount.into(), valid_before, ..payment(n, 0) };
            Operation::Reserve(Box::new(payment), opening)
        });
    let name = || text(&["main", "second"]);
    let transition = prop_oneof![
        2 => Just(Transition::Settling),
        4 => (name(), text(&["", "0x1", "0x2"]), proptest::option::of(text(&["0xab", "0xcd"])))
            .prop_map(|(facilitator, transaction, payer)| Transition::Settled { facilitator, transaction, payer }),
        2 => (name(), proptest::option::of(text(&["0x3"])), text(&["timeout"]))
            .prop_map(|(facilitator, transaction, error)| Transition::Unknown { facilitator, transaction, error }),
        1 => text(&["refused"]).prop_map(|error| Transition::Released { error }),
        1 => text(&["refused"]).prop_map(|error| Transition::Failed { error }),
        2 => Just(Transition::Delivered),
        1 => text(&["0x5"]).prop_map(|transaction| Transition::Ruled(Ruling::Settled { transaction })),
        1 => Just(Transition::Ruled(Ruling::Failed)),
    ];
    let worker = proptest::sample::select(&["one", "two"][..]);
    prop_oneof![
        6 => reserve,
        10 => (n.clone(), transition).prop_map(|(n, transition)| Operation::Advance(n, transition)),
        2 => (n.clone(), 0..3u32).prop_map(|(n, limit)| Operation::Use(n, limit)),
        1 => Just(Operation::Recover),
        2 => n.clone().prop_map(Operation::Hold),
        1 => n.clone().prop_map(Operation::LetGo),
        2 => (worker.clone(), 0..3u32).prop_map(|(worker, limit)| Operation::ClaimDue(worker, limit)),
        2 => (n.clone(), worker.clone()).prop_map(|(n, worker)| Operation::Claim(n, worker)),
        2 => (proptest::sample::select(&[5, 20, 1000, 2000][..]), 0..3u32).prop_map(|(until, limit)| Operation::Prune(until, limit)),
        4 => (n, worker, proptest::option::of(text(&["0x4"])))
            .prop_map(|(n, worker, transaction)| Operation::Postpone(n, worker, transaction)),
    ]
}

async fn carry_out(ledger: &dyn Ledger, operation: Operation, now: UnixMillis) -> String {
    match operation {
        Operation::Reserve(payment, opening) => {
            format!("{:?}", ledger.reserve(NewPayment { now, ..*payment }, opening).await)
        }
        Operation::Advance(n, transition) => format!("{:?}", ledger.advance(&id(n), transition, now).await),
        Operation::Use(n, limit) => format!("{:?}", ledger.count_use(&id(n), limit).await),
        Operation::Recover => format!("{:?}", ledger.recover(now).await),
        Operation::Hold(n) => format!("{:?}", ledger.hold(&id(n), now).await),
        Operation::LetGo(n) => format!("{:?}", ledger.let_go(&id(n)).await),
        Operation::ClaimDue(worker, limit) => {
            let claimed = ledger.claim_due(Claim { worker, now, until: now + CLAIM_MS }, limit).await;
            format!("{claimed:?}")
        }
        Operation::Claim(n, worker) => {
            format!("{:?}", ledger.claim(&id(n), Claim { worker, now, until: now + CLAIM_MS }).await)
        }
        Operation::Prune(until, limit) => format!("{:?}", ledger.prune(until, limit).await),
        Operation::Postpone(n, worker, transaction) => {
            let postponement = Postponement { next_try_at: now + 2, transaction, error: "still".into() };
            format!("{:?}", ledger.postpone(&id(n), worker, postponement).await)
        }
    }
}

/// Everything that can be read.
async fn seen(ledger: &dyn Ledger) -> String {
    let mut seen = format!("{:?}\n", ledger.counts().await);
    for n in 0..4 {
        seen += &format!("{:?}\n", ledger.find(&id(n)).await);
    }
    let mut filters = vec![
        Filter::default(),
        Filter { limit: Some(2), ..Filter::default() },
        Filter { route: Some("a".into()), ..Filter::default() },
        Filter { payer: Some("0xAb".into()), ..Filter::default() },
        Filter { since: Some(3), until: Some(9), ..Filter::default() },
    ];
    filters.extend(State::ALL.map(|state| Filter { state: Some(state), ..Filter::default() }));
    for filter in filters {
        let listed = ledger.list(&filter).await.unwrap();
        seen += &format!("{:?}\n", listed.into_iter().map(|record| record.id).collect::<Vec<_>>());
        for by in [GroupBy::Route, GroupBy::Day, GroupBy::Payer] {
            seen += &format!("{:?}\n", ledger.totals(&filter, by).await);
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The operations of a chunk are all under way at once: in the file they share a commit.
    #[test]
    fn memory_and_file_answer_alike(
        chunks in proptest::collection::vec(proptest::collection::vec(operation(), 1..12), 1..8)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (memory, file) = (MemoryLedger::default(), SqliteLedger::open(&folder.path().join("ledger.db")).unwrap());
        let mut now = 0;
        for chunk in chunks {
            let mut expected = Vec::new();
            let mut answers = Vec::new();
            let mut answered = Vec::new();
            for operation in chunk {
                now += 1;
                expected.push(runtime.block_on(carry_out(&memory, operation.clone(), now)));
                // Looks what is due before it queues up with the others, so that their order would not be its own.
                if matches!(operation, Operation::ClaimDue(..)) {
                    answered.extend(runtime.block_on(futures::future::join_all(answers.drain(..))));
                    answered.push(runtime.block_on(carry_out(&file, operation, now)));
                } else {
                    answers.push(carry_out(&file, operation, now));
                }
            }
            answered.extend(runtime.block_on(futures::future::join_all(answers)));
            prop_assert_eq!(answered, expected);
            prop_assert_eq!(runtime.block_on(seen(&file)), runtime.block_on(seen(&memory)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_database_answer_alike(operations in proptest::collection::vec(operation(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (memory, (database, _)) = (MemoryLedger::default(), postgres::testing::open().await);
            for (operation, now) in operations.into_iter().zip(1..) {
                let expected = carry_out(&memory, operation.clone(), now).await;
                prop_assert_eq!(carry_out(&database, operation, now).await, expected);
            }
            prop_assert_eq!(seen(&database).await, seen(&memory).await);
            Ok(())
        })?;
    }
}
