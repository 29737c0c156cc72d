//! An operator's word on an unknown payment.

use super::*;

async fn ruled(ledger: &dyn Ledger, n: u64, ruling: Ruling) -> Record {
    bring(ledger, n, State::Unknown).await;
    assert!(!found(ledger, n).await.by_operator);
    ledger.advance(&id(n), Transition::Ruled(ruling), 200).await.unwrap();
    found(ledger, n).await
}

pub(super) async fn an_operators_word_is_written_as_such(ledger: Arc<dyn Ledger>) {
    let before = {
        bring(&*ledger, 9, State::Unknown).await;
        found(&*ledger, 9).await
    };
    let settled = ruled(&*ledger, 1, Ruling::Settled { transaction: "0xcc".into() }).await;
    let (transaction, settled_at) = (Some("0xcc".into()), Some(200));
    let expected = Record { id: id(1), state: State::Settled, updated_at: 200, by_operator: true, ..before.clone() };
    assert_eq!(settled, Record { transaction, settled_at, error: None, ..expected });

    let failed = ruled(&*ledger, 2, Ruling::Failed).await;
    let expected = Record { id: id(2), state: State::Failed, updated_at: 200, by_operator: true, ..before };
    assert_eq!(failed, Record { error: Some(RULED_FAILED.into()), ..expected });

    // Nobody asks about either any more, and what somebody finds out all the same changes nothing.
    ledger.claim(&id(9), claim_at("one", 200)).await.unwrap().unwrap();
    assert!(ledger.claim_due(claim_at("one", 10_000), 9).await.unwrap().iter().all(|due| due.record.id == id(9)));
    for n in [1, 2] {
        for late in [super::settled(), Transition::Failed { error: "refused".into() }] {
            assert!(matches!(ledger.advance(&id(n), late, 300).await, Err(LedgerError::Conflict { .. })));
        }
    }
    // Settled is owed its delivery; failed may be sent again, and then nobody has decided anything.
    let held = ledger.hold(&id(1), 300).await.unwrap().unwrap();
    assert_eq!((held.record.state, held.elsewhere), (State::Settled, false));
    ledger.advance(&id(1), Transition::Delivered, 310).await.unwrap();
    ledger.reserve(payment(2, 400), Opening::Reserved).await.unwrap();
    assert!(!found(&*ledger, 2).await.by_operator);
}
