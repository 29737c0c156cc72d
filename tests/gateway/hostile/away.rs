//! Facilitators that cannot be reached, from the beginning or from the worst moment on.

use farebox::x402::Dialect;
use futures::future::join_all;

use super::facilitator::{Act, Moves, Script};
use super::scenes::Told;
use super::{Chain, MODES, SPENT, Stage};
use crate::support::{Answer, Challenge, Payer, Payment, Request, eventually};

/// Somebody who pays in one mode and one version.
struct Visitor {
    what: String,
    path: String,
    payment: Payment,
}

impl Stage {
    /// One for each mode and version.
    async fn visitors(&self) -> Vec<Visitor> {
        let kinds = MODES.into_iter().flat_map(|mode| [Dialect::V1, Dialect::V2].map(|dialect| (mode, dialect)));
        join_all(kinds.map(async |(mode, dialect)| {
            let path = format!("/{}/patient/ok", mode.name);
            let challenge = Challenge::of(&self.gateway.send(Request::get(&path)).await);
            let payer = Payer::new();
            let payment = payer.draft(&challenge, dialect).sign(&payer);
            Visitor { what: format!("{} {dialect:?}", mode.name), path, payment }
        }))
        .await
    }

    /// Everybody pays, and is told this.
    async fn all_are_told(&self, when: &str, visitors: &[Visitor], told: Told) {
        join_all(visitors.iter().map(async |Visitor { what, path, payment, .. }| {
            let response = self.redeem(path, payment).await;
            self.check(&format!("{what}, {when}"), told, payment, &response);
        }))
        .await;
    }
}

#[tokio::test]
async fn a_facilitator_that_cannot_be_reached_charges_nobody_and_when_it_is_back_the_payment_is_good() {
    let mut stage = Stage::set(Chain::Unseen).await;
    let visitors = stage.visitors().await;
    stage.facilitator.go_away().await;
    for when in ["when it is away", "when it is still away"] {
        stage.all_are_told(when, &visitors, Told::Unavailable).await;
    }
    stage.facilitator.come_back().await;
    stage.all_are_told("when it is back", &visitors, Told::Served).await;
    stage.all_are_told("once more", &visitors, Told::Refused(SPENT)).await;
    for Visitor { what, payment, .. } in &visitors {
        assert_eq!((stage.facilitator.moved(payment), stage.facilitator.settles(payment)), (true, 1), "{what}");
    }
}

#[tokio::test]
async fn a_facilitator_that_settles_and_is_gone_leaves_nobody_with_a_price_to_pay_again() {
    let mut stage = Stage::set(Chain::Unseen).await;
    let visitors = stage.visitors().await;
    for Visitor { payment, .. } in &visitors {
        let cut = Act { moves: Moves::Yes, says: |_| Answer::Cut };
        stage.facilitator.script(payment, Script { settle: cut.once(), ..Script::default() });
    }
    stage.all_are_told("when the answer is lost", &visitors, Told::Pending).await;
    stage.facilitator.go_away().await;
    stage.all_are_told("when it is away", &visitors, Told::Pending).await;
    stage.facilitator.come_back().await;
    // It was just asked for in vain: whoever comes at once is told when to come again.
    join_all(visitors.iter().map(async |Visitor { what, path, payment, .. }| {
        let served = eventually("what was paid for", async || {
            let response = stage.redeem(path, payment).await;
            (response.status != 503).then_some(response)
        })
        .await;
        stage.check(&format!("{what}, when it is back"), Told::Served, payment, &served);
    }))
    .await;
    stage.all_are_told("once more", &visitors, Told::Refused(SPENT)).await;
    for Visitor { what, payment, .. } in &visitors {
        assert!(stage.facilitator.moved(payment), "{what}");
    }
}
