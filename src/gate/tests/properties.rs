//! Any interleaving of requests with one payment, some of which are given up on the way.

use proptest::prelude::*;

use super::MODES;
use super::ask::{Ask, Upstream};
use super::stand::Stand;
use super::wallet::Wallet;
use crate::gate::Verdict;
use crate::ledger::State;

/// One request: when it starts, how long its upstream takes, what that does, and when the client leaves.
#[derive(Debug, Clone)]
struct Plan {
    starts_after: usize,
    upstream_takes: usize,
    upstream: Upstream,
    leaves_after: Option<usize>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let upstream = prop_oneof![
        4 => Just(Upstream::Answers(200)),
        1 => Just(Upstream::Answers(503)),
        1 => Just(Upstream::BreaksOff(200)),
        1 => Just(Upstream::Fails),
    ];
    (0..12usize, 0..6usize, upstream, prop::option::of(0..25usize)).prop_map(
        |(starts_after, upstream_takes, upstream, leaves_after)| Plan {
            starts_after,
            upstream_takes,
            upstream,
            leaves_after,
        },
    )
}

async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// How often the paid content was forwarded to its end.
async fn run(stand: &Stand, ask: &Ask, plans: &[Plan]) -> usize {
    let requests: Vec<_> = plans
        .iter()
        .cloned()
        .map(|plan| {
            let (stand, ask) = (stand.clone(), ask.clone());
            let request = tokio::spawn(async move {
                turns(plan.starts_after).await;
                match stand.decide(&ask).await {
                    Verdict::Answer { .. } => false,
                    Verdict::Forward(forward) => {
                        turns(plan.upstream_takes).await;
                        super::stand::forwarded(*forward, plan.upstream).await.served
                    }
                }
            });
            (request, plan.leaves_after)
        })
        .collect();
    let mut served = 0;
    let aborts: Vec<_> = requests.iter().map(|(request, leaves)| (request.abort_handle(), *leaves)).collect();
    for turn in 0..40 {
        for (request, leaves) in &aborts {
            if *leaves == Some(turn) {
                request.abort();
            }
        }
        tokio::task::yield_now().await;
    }
    for (request, _) in requests {
        served += usize::from(request.await.unwrap_or(false));
    }
    stand.rest().await;
    served
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn one_payment_settles_once_and_opens_what_it_paid_for(
        mode in prop::sample::select(&MODES[..]),
        uses in prop::option::of(1..4u32),
        plans in prop::collection::vec(plan(), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let window = uses.map(|uses| format!("window = {{ for = \"60s\", uses = {uses} }}")).unwrap_or_default();
            let stand = Stand::paid(&format!("settle = \"{mode}\"\n{window}")).await;
            let signed = Wallet::new().pay(&stand.offer("paid"));
            let ask = Ask::get("/paid").paying(&signed);
            let served = run(&stand, &ask, &plans).await;

            prop_assert!(stand.transfers() <= 1);
            prop_assert!(stand.facilitator.settles() <= 1, "settled again");
            let state = stand.state(&signed).await;
            if served > 0 {
                prop_assert_eq!((stand.transfers(), state), (1, Some(State::Settled)), "served without a settlement");
            }
            // One, or the window's uses and what was broken off of them.
            let allowed = uses.map_or(1, |uses| usize::try_from(uses).unwrap() + 1);
            prop_assert!(served <= allowed, "{served} served, {allowed} paid for");
            prop_assert!(!matches!(state, Some(State::Reserved | State::Settling)), "left {state:?}");

            // Whoever comes last finds the payment free, owed, open or spent: never stuck.
            let last = stand.visit(&ask, Upstream::Answers(200)).await;
            prop_assert!(last.served || stand.transfers() == 1, "{last:?}");
            prop_assert!(last.status == 200 || last.status == 402, "{last:?}");
            prop_assert_eq!(stand.transfers(), 1);
            Ok(())
        })?;
    }
}
