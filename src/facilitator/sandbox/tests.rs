use std::time::Duration;

use alloy::primitives::{B256, Bytes};
use alloy::signers::local::PrivateKeySigner;
use serde_json::json;

use super::*;
use crate::facilitator::testing::{PAY_TO, offer_on, signed_order};
use crate::x402::Dialect;

fn sandbox(fail: SandboxFailure) -> SandboxFacilitator {
    let config = Sandbox {
        balance: "$0.0025".parse().unwrap(),
        verify_delay: Duration::ZERO,
        settle_delay: Duration::ZERO,
        fail,
    };
    SandboxFacilitator::new("sandbox".into(), config)
}

fn key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42)).unwrap()
}

/// [`order`] for the usual nonce, unchanged.
fn order(nonce: u8) -> Order {
    signed_order(&key(), B256::repeat_byte(nonce), |_| {})
}

fn balance(sandbox: &SandboxFacilitator, owner: Address) -> Option<Amount> {
    let offer = offer_on("base-sepolia");
    sandbox.balance(&offer.network, &offer.asset, owner)
}

async fn invalid(sandbox: &SandboxFacilitator, order: &Order) -> Option<Reason> {
    match sandbox.verify(order).await.unwrap() {
        Verification::Valid { .. } => None,
        Verification::Invalid { reason, .. } => Some(reason),
    }
}

async fn refused(sandbox: &SandboxFacilitator, order: &Order) -> Option<Reason> {
    match sandbox.settle(order).await {
        Settlement::Refused { reason, .. } => Some(reason),
        Settlement::Settled { .. } => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_payment_moves_the_money_once() {
    let sandbox = sandbox(SandboxFailure::Never);
    let payer = key().address();
    assert_eq!(sandbox.verify(&order(1)).await.unwrap(), Verification::Valid { payer: Some(payer.to_string()) });
    assert_eq!(balance(&sandbox, payer), None, "a verification moves nothing, not even the start balance");

    let Settlement::Settled { transaction, payer: told, .. } = sandbox.settle(&order(1)).await else { panic!() };
    assert!(transaction.starts_with("0x73616e64626f78") && transaction.len() == 66, "{transaction}");
    assert_eq!(told, Some(payer.to_string()));
    assert_eq!(balance(&sandbox, payer), Some(Amount::from(1500)));
    assert_eq!(balance(&sandbox, PAY_TO), Some(Amount::from(1000)));

    assert_eq!(invalid(&sandbox, &order(1)).await, Some(Reason::NonceAlreadyUsed));
    assert_eq!(refused(&sandbox, &order(1)).await, Some(Reason::NonceAlreadyUsed));
    assert_eq!(refused(&sandbox, &order(2)).await, None);
    assert_eq!(invalid(&sandbox, &order(3)).await, Some(Reason::InsufficientFunds));
    assert_eq!(refused(&sandbox, &order(3)).await, Some(Reason::InsufficientFunds));
    assert_eq!(sandbox.transfers(), 2);
}

#[tokio::test]
async fn a_payment_that_is_not_in_order_is_refused_by_verify_and_settle_alike() {
    let now = crate::facilitator::testing::unix_now();
    let nonce = B256::repeat_byte(1);
    let changed = |change: fn(&mut Authorization, u64)| signed_order(&key(), nonce, |it| change(it, now));
    let mut forged = order(1);
    if let Payload::Eip3009 { authorization, .. } = &mut forged.payment.payload {
        authorization.from = Address::repeat_byte(1);
    }
    let mut long = order(1);
    if let Payload::Eip3009 { signature, .. } = &mut long.payment.payload {
        *signature = Bytes::from([signature.as_ref(), &[0]].concat());
    }
    let mut elsewhere = order(1);
    elsewhere.offer = offer_on("base");
    let mut opaque = order(1);
    opaque.payment.payload = Payload::Opaque(json!({ "transaction": "AQ==" }));
    let mut solana = order(1);
    solana.offer = offer_on("solana");
    let cases = [
        ("another payer", forged, Reason::InvalidSignature),
        ("a smart account's signature", long, Reason::InvalidSignature),
        ("another chain's token", elsewhere, Reason::InvalidSignature),
        ("another payee", changed(|it, _| it.to = Address::repeat_byte(1)), Reason::RecipientMismatch),
        ("too little", changed(|it, _| it.value = Amount::from(999)), Reason::ValueMismatch),
        ("too much", changed(|it, _| it.value = Amount::from(1001)), Reason::ValueMismatch),
        ("too early", changed(|it, now| it.valid_after = now + 3600), Reason::ValidAfter),
        ("too late", changed(|it, now| it.valid_before = now - 1), Reason::ValidBefore),
        ("nearly too late", changed(|it, now| it.valid_before = now + 5), Reason::ValidBefore),
        ("at the end of time", changed(|it, _| it.valid_after = u64::MAX), Reason::ValidAfter),
        ("not EIP-3009", opaque, Reason::InvalidPayload),
        ("not EVM", solana, Reason::InvalidNetwork),
    ];
    let sandbox = sandbox(SandboxFailure::Never);
    for (what, order, reason) in cases {
        assert_eq!(invalid(&sandbox, &order).await, Some(reason), "{what} at verify");
        assert_eq!(refused(&sandbox, &order).await, Some(reason), "{what} at settle");
    }
    assert_eq!(sandbox.transfers(), 0);
}

#[tokio::test]
async fn it_fails_as_it_is_told_to() {
    let verify = sandbox(SandboxFailure::Verify);
    assert_eq!(invalid(&verify, &order(1)).await, Some(Reason::UnexpectedVerifyError));
    assert_eq!(refused(&verify, &order(1)).await, None);

    let settle = sandbox(SandboxFailure::Settle);
    assert_eq!(invalid(&settle, &order(1)).await, None);
    assert_eq!(refused(&settle, &order(1)).await, Some(Reason::UnexpectedSettleError));
    assert_eq!(settle.transfers(), 0, "for certain");

    let answer = sandbox(SandboxFailure::SettleAnswer);
    let settled = answer.settle(&order(1)).await;
    assert!(matches!(settled, Settlement::Unknown { transaction: None, .. }), "{settled:?}");
    assert_eq!(balance(&answer, PAY_TO), Some(Amount::from(1000)), "the money moved all the same");
    assert_eq!(refused(&answer, &order(1)).await, Some(Reason::NonceAlreadyUsed));
}

#[tokio::test]
async fn of_many_settlements_of_one_payment_one_moves_the_money() {
    let sandbox = Arc::new(sandbox(SandboxFailure::Never));
    let order = order(1);
    let settle = || {
        let (sandbox, order) = (sandbox.clone(), order.clone());
        tokio::spawn(async move { sandbox.settle(&order).await })
    };
    let mut settled = 0;
    for task in (0..16).map(|_| settle()).collect::<Vec<_>>() {
        settled += usize::from(matches!(task.await.unwrap(), Settlement::Settled { .. }));
    }
    assert_eq!((settled, sandbox.transfers()), (1, 1));
}

#[tokio::test]
async fn it_supports_every_evm_network_in_both_dialects() {
    let supported = sandbox(SandboxFailure::Never).supported().await.unwrap();
    let has = |version: u8, network: &str| {
        supported.kinds.iter().any(|kind| {
            (kind.x402_version, &*kind.scheme, &*kind.network) == (version, "exact", network) && kind.extra.is_empty()
        })
    };
    assert!(has(Dialect::V2.version(), "eip155:*"));
    assert!(has(Dialect::V1.version(), "base-sepolia"));
    assert!(!supported.kinds.iter().any(|kind| kind.network.contains("solana")));
}
