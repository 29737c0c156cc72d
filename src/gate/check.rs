//! What can be judged of a payment without asking anybody: which offer it takes, and whether it pays it.

use std::sync::Arc;

use super::generation::{Generation, LiveRoute, QuotedOffer};
use crate::ledger::UnixMillis;
use crate::x402::payment::{Authorization, Payload};
use crate::x402::{Dialect, Network, Offer, Payment, PaymentId, Reason};

/// Seconds by which the payer's clock may be ahead of this one.
const CLOCK_SKEW_SECONDS: u64 = 5;

/// Seconds that must be left until `validBefore`: facilitators refuse to settle with less.
const SETTLE_MARGIN_SECONDS: u64 = 6;

/// Bytes of a signature made by a key; a smart account's is longer and only the chain can tell.
const KEY_SIGNATURE_BYTES: usize = 65;

/// A payment that pays an offer, as far as can be told here.
pub struct Checked {
    /// What it pays.
    pub quoted: Arc<QuotedOffer>,
    /// What makes it unique.
    pub id: PaymentId,
    /// Whether the signature was recovered here; else only a facilitator can judge it.
    pub signature_recovered: bool,
}

/// Matches a payment to an offer of the route, now or quoted not too long ago, and checks it against that offer.
pub fn check(generation: &Generation, live: &LiveRoute, payment: &Payment, now: UnixMillis) -> Result<Checked, Reason> {
    let current = live.quote.iter().flat_map(|quote| &quote.offers);
    let earlier = generation.earlier_offers(&live.route.name, now);
    // A v1 payment does not say which of several offers on a network it takes: the one that it pays.
    let mut first = None;
    for quoted in current.chain(earlier).filter(|quoted| is_meant(quoted, payment)) {
        match pays(quoted, payment, now) {
            Ok(signature_recovered) => {
                let id = PaymentId::of(payment, &quoted.offer.network, &quoted.offer.asset.address);
                return Ok(Checked { quoted: quoted.clone(), id, signature_recovered });
            }
            Err(reason) => first = first.or(Some(reason)),
        }
    }
    Err(first.unwrap_or_else(|| why_none_is_meant(live, payment)))
}

/// The ids that a payment may have been recorded under, whatever its terms were; the same one perhaps more than once.
/// A v1 payment does not name its asset: it may be any that `offers` have on its network.
pub fn possible_ids<'a>(
    offers: impl IntoIterator<Item = &'a Arc<QuotedOffer>>,
    payment: &Payment,
) -> impl Iterator<Item = PaymentId> {
    let named = payment.accepted.as_ref().and_then(|accepted| {
        let network = Network::parse(&accepted.network).ok()?;
        Some(PaymentId::of(payment, &network, &accepted.asset))
    });
    let on_its_network = offers.into_iter().filter_map(|quoted| {
        let Offer { network, asset, .. } = &quoted.offer;
        let may_be = payment.accepted.is_none() && network.v1_name() == Some(payment.network.as_str());
        may_be.then(|| PaymentId::of(payment, network, &asset.address))
    });
    named.into_iter().chain(on_its_network)
}

/// Whether the client chose this offer.
fn is_meant(quoted: &QuotedOffer, payment: &Payment) -> bool {
    let offer = &quoted.offer;
    match (payment.dialect, &payment.accepted) {
        (Dialect::V2, Some(accepted)) => offer.is_accepted_by(accepted),
        (Dialect::V2, None) => false,
        (Dialect::V1, _) => {
            offer.scheme.name() == payment.scheme && offer.network.v1_name() == Some(payment.network.as_str())
        }
    }
}

fn why_none_is_meant(live: &LiveRoute, payment: &Payment) -> Reason {
    let offers = || live.quote.iter().flat_map(|quote| &quote.offers).map(|quoted| &quoted.offer);
    if !offers().any(|offer| offer.scheme.name() == payment.scheme) {
        Reason::UnsupportedScheme
    } else if !offers().any(|offer| {
        offer.network.caip2() == payment.network || offer.network.v1_name() == Some(payment.network.as_str())
    }) {
        Reason::InvalidNetwork
    } else {
        Reason::NoMatchingRequirements
    }
}

/// Whether the payload pays the offer; says whether its signature was recovered here.
fn pays(quoted: &QuotedOffer, payment: &Payment, now: UnixMillis) -> Result<bool, Reason> {
    let (authorization, signature, token) = match (&payment.payload, &quoted.token) {
        (Payload::Eip3009 { authorization, signature }, Some(token)) => (authorization, signature, token),
        (Payload::Opaque(_), None) => return Ok(false),
        // An EVM offer asks for an authorization, and only for that can it be told here what it is used for.
        (Payload::Eip3009 { .. }, None) | (Payload::Opaque(_), Some(_)) => return Err(Reason::InvalidPayload),
    };
    if !quoted.offer.same_address(&quoted.offer.pay_to, &authorization.to.to_string()) {
        return Err(Reason::RecipientMismatch);
    }
    if authorization.value != quoted.offer.amount {
        return Err(Reason::ValueMismatch);
    }
    in_time(authorization, now)?;
    if signature.len() != KEY_SIGNATURE_BYTES {
        return Ok(false);
    }
    match crate::evm::eip3009::recover(token, authorization, signature) {
        Some(signer) if signer == authorization.from => Ok(true),
        Some(_) | None => Err(Reason::InvalidSignature),
    }
}

fn in_time(authorization: &Authorization, now: UnixMillis) -> Result<(), Reason> {
    let now = u64::try_from(now / 1000).unwrap_or(0);
    if authorization.valid_after > now.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(Reason::ValidAfter);
    }
    if authorization.valid_before < now.saturating_add(SETTLE_MARGIN_SECONDS) {
        return Err(Reason::ValidBefore);
    }
    Ok(())
}
