//! What a ledger answers of many payments together.

use alloy::primitives::U256;

use super::*;

pub(super) async fn sums_are_exact_up_to_256_bits(ledger: Arc<dyn Ledger>) {
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

pub(super) async fn sums_count_settled_payments_by_group_and_asset(ledger: Arc<dyn Ledger>) {
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

pub(super) async fn filters_restrict_and_the_newest_come_first(ledger: Arc<dyn Ledger>) {
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

pub(super) async fn counts_follow_every_change(ledger: Arc<dyn Ledger>) {
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
