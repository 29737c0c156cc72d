//! The facilitators behind one way to pay, in the order of the file.
//!
//! A verification moves nothing and may be asked of the next one on any fault. A settlement moves on only if the
//! first was certainly never asked: two facilitators that both settle are two transactions, of which one is lost
//! gas at best.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::member::{Health, Member};
use super::{Fault, FaultKind, Observer, Order, Settlement, Verification};
use crate::x402::{Dialect, Offer};

/// What a challenge takes over from a facilitator's `extra`: what a client needs to sign, and no more, for clients
/// compare `extra`. `feePayer` is Solana's, `facilitatorAddress` is what `upto` binds its permit to.
const SUPPLIED_KEYS: [&str; 2] = ["feePayer", "facilitatorAddress"];
/// Without it nobody can build a Solana transaction.
const FEE_PAYER: &str = "feePayer";

/// The facilitators behind one way to pay.
pub struct Pool {
    way: Arc<str>,
    members: Vec<Arc<Member>>,
    /// Bounds what one payment waits for all of them: a verification ends, and no settlement is begun any more.
    timeout: Duration,
    observer: Arc<dyn Observer>,
}

impl Pool {
    pub(super) fn new(
        way: Arc<str>,
        members: Vec<Arc<Member>>,
        timeout: Duration,
        observer: Arc<dyn Observer>,
    ) -> Pool {
        Pool { way, members, timeout, observer }
    }

    /// Asks every member at once what it supports.
    pub async fn refresh(&self) {
        join_all(self.members.iter().map(|member| member.refresh(&*self.observer))).await;
    }

    /// Whether the payment would settle; the next member is asked while one brings a fault.
    pub async fn verify(&self, order: &Order) -> Result<Verification, Fault> {
        let deadline = Instant::now() + self.timeout;
        let mut fault = self.nobody(order);
        for member in self.candidates(&order.offer, Some(order.payment.dialect)) {
            match tokio::time::timeout_at(deadline, member.verify(order, &*self.observer)).await {
                Ok(Ok(verification)) => return Ok(verification),
                Ok(Err(next)) => fault = next,
                Err(_) => return Err(self.out_of_time(member.name())),
            }
        }
        Err(fault)
    }

    /// Moves the money; the next member is asked only while none was asked, and no later than the timeout. Must not be
    /// cancelled half way: what was begun takes as long as it does.
    pub async fn settle(&self, order: &Order) -> Settlement {
        let deadline = Instant::now() + self.timeout;
        let mut fault = self.nobody(order);
        for member in self.candidates(&order.offer, Some(order.payment.dialect)) {
            if Instant::now() >= deadline {
                break;
            }
            match member.settle(order, &*self.observer).await {
                Settlement::NotSent { fault: next } if matches!(next.kind, FaultKind::Unreached | FaultKind::Busy) => {
                    fault = next;
                }
                settlement @ (Settlement::Settled { .. }
                | Settlement::Refused { .. }
                | Settlement::NotSent { .. }
                | Settlement::Unknown { .. }) => return settlement,
            }
        }
        Settlement::NotSent { fault }
    }

    /// Whether a member that is up has named the offer's kind: the route can be paid.
    pub fn is_ready_for(&self, offer: &Offer) -> bool {
        self.members.iter().any(|member| member.is_good_for(offer))
    }

    /// What the first member that supports an offer adds to its `extra`; `None` if none has said that it does.
    pub fn extra_for(&self, offer: &Offer) -> Option<Map<String, Value>> {
        let mut extra = self.candidates(offer, None).iter().find_map(|member| member.extra(offer, None))?;
        extra.retain(|key, value| SUPPLIED_KEYS.contains(&key.as_str()) && value.is_string());
        Some(extra)
    }

    /// The offer as a challenge shows it, with what the facilitator supplies; what the file says itself stays.
    /// `None` if it cannot be paid without something that no facilitator has supplied (Solana's `feePayer`).
    pub fn offer_with_extra(&self, offer: &Offer) -> Option<Offer> {
        let mut offer = offer.clone();
        for (key, value) in self.extra_for(&offer).unwrap_or_default() {
            Arc::make_mut(&mut offer.extra).entry(key).or_insert(value);
        }
        let can_be_signed = offer.network.evm_chain_id().is_some() || offer.extra.contains_key(FEE_PAYER);
        can_be_signed.then_some(offer)
    }

    /// Its members' health, in the order of the file.
    pub fn health(&self) -> Vec<Health> {
        self.members.iter().map(|member| member.health()).collect()
    }

    /// Who is asked, in this order. A member that supplied what the offer carries comes first: only the facilitator
    /// that owns a `feePayer` can sign for it.
    fn candidates(&self, offer: &Offer, dialect: Option<Dialect>) -> Vec<Arc<Member>> {
        let now = Instant::now();
        let mut ranked: Vec<_> = self
            .members
            .iter()
            .filter_map(|member| {
                let standing = member.standing(offer, dialect, now)?;
                Some((supplied_something_else(member, offer, dialect), standing, member.clone()))
            })
            .collect();
        ranked.sort_by_key(|(something_else, standing, _)| (*something_else, *standing));
        ranked.into_iter().map(|(_, _, member)| member).collect()
    }

    fn out_of_time(&self, facilitator: &Arc<str>) -> Fault {
        let detail = format!("no verification within {:?}, the facilitator_timeout of pay.{}", self.timeout, self.way);
        Fault { facilitator: facilitator.clone(), kind: FaultKind::Timeout, detail }
    }

    fn nobody(&self, order: &Order) -> Fault {
        let offer = &order.offer;
        Fault {
            facilitator: self.members.first().map_or_else(|| self.way.clone(), |member| member.name().clone()),
            kind: FaultKind::Unreached,
            detail: format!(
                "no facilitator of pay.{} supports {} on {} in x402 v{}",
                self.way,
                offer.scheme.name(),
                offer.network,
                order.payment.dialect.version()
            ),
        }
    }
}

fn supplied_something_else(member: &Member, offer: &Offer, dialect: Option<Dialect>) -> bool {
    let extra = member.extra(offer, dialect).unwrap_or_default();
    SUPPLIED_KEYS.iter().any(|key| match (offer.extra.get(*key), extra.get(*key)) {
        (Some(carried), Some(supplied)) => carried != supplied,
        (Some(_), None) | (None, Some(_) | None) => false,
    })
}

#[cfg(test)]
mod tests;
