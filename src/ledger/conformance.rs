//! What every ledger must do, whatever it is kept in.

mod claims;
mod life;
mod pruning;
mod questions;
mod ruling;

use std::sync::Arc;

use tokio::task::JoinSet;

use self::claims::*;
use self::life::*;
use self::pruning::*;
use self::questions::*;
use self::ruling::*;
use super::*;
use crate::money::Amount;
use crate::x402::Network;

const BASE_SEPOLIA_USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

/// The id of the n-th payment.
pub(super) fn id(n: u64) -> PaymentId {
    PaymentId::parse(&format!("{n:016x}").repeat(4)).unwrap()
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
