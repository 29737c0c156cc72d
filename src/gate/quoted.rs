//! What earlier generations of the config quoted, for as long as somebody may hold it against the gateway.
//!
//! Only what differs is remembered: a reload that changes no terms costs nothing, and one that changes a price costs
//! that offer. What is forgotten goes by its time, and not by how often the file was read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::generation::{Quote, QuotedOffer};
use crate::ledger::UnixMillis;

/// Offers of all routes that are remembered at most, of some hundred bytes each: a hundred prices that change every
/// second are remembered for more than ten minutes.
pub(super) const OFFERS_MAX: usize = 65_536;

/// Offers by the name of their route, newest first.
#[derive(Clone, Default)]
pub(super) struct Quoted {
    by_route: HashMap<Arc<str>, Vec<Earlier>>,
}

#[derive(Clone)]
struct Earlier {
    quoted: Arc<QuotedOffer>,
    /// Until when a payment of these terms is taken.
    honoured_until: UnixMillis,
    /// Until when a payment of these terms may have to be found in the ledger, for its redelivery.
    owed_until: UnixMillis,
}

impl Quoted {
    /// This and what was shown until now; at most so many offers, those whose time is over first.
    pub(super) fn and<'q>(
        &self,
        shown: impl Iterator<Item = (&'q Arc<str>, &'q Quote)>,
        now: UnixMillis,
        offers_max: usize,
    ) -> Quoted {
        let mut all = self.clone();
        for (route, quote) in shown {
            let earlier = all.by_route.entry(route.clone()).or_default();
            for quoted in quote.offers.iter().rev() {
                let honoured_until = after(now, Duration::from_secs(quoted.offer.max_timeout_seconds));
                let owed_until = after(honoured_until, quote.terms.redeliver);
                let mut shown = Earlier { quoted: quoted.clone(), honoured_until, owed_until };
                earlier.retain(|known| {
                    let is_same = known.quoted.offer == quoted.offer;
                    if is_same {
                        shown.owed_until = shown.owed_until.max(known.owed_until);
                    }
                    !is_same
                });
                earlier.insert(0, shown);
            }
        }
        all.forget(now, offers_max);
        all
    }

    /// What is still honoured of what was quoted for a route of that name, newest first.
    pub(super) fn honoured(&self, route: &str, now: UnixMillis) -> impl Iterator<Item = &Arc<QuotedOffer>> {
        self.of(route).iter().filter(move |earlier| now <= earlier.honoured_until).map(|earlier| &earlier.quoted)
    }

    /// Everything that is remembered of it.
    pub(super) fn remembered(&self, route: &str) -> impl Iterator<Item = &Arc<QuotedOffer>> {
        self.of(route).iter().map(|earlier| &earlier.quoted)
    }

    fn of(&self, route: &str) -> &[Earlier] {
        self.by_route.get(route).map_or(&[], Vec::as_slice)
    }

    fn forget(&mut self, now: UnixMillis, offers_max: usize) {
        for earlier in self.by_route.values_mut() {
            earlier.retain(|earlier| now <= earlier.owed_until);
        }
        let mut ends: Vec<UnixMillis> =
            self.by_route.values().flatten().map(|earlier| earlier.honoured_until).collect();
        let mut surplus = ends.len().saturating_sub(offers_max);
        if surplus > 0 {
            tracing::warn!(
                surplus,
                offers_max,
                "more was quoted lately than is remembered: some of it is honoured no more"
            );
            let (_, last_to_go, _) = ends.select_nth_unstable(surplus.saturating_sub(1));
            // Of those that end with the last to go, some may stay.
            for end in [last_to_go.saturating_sub(1), *last_to_go] {
                for earlier in self.by_route.values_mut() {
                    earlier.retain(|earlier| {
                        let goes = surplus > 0 && earlier.honoured_until <= end;
                        surplus = surplus.saturating_sub(usize::from(goes));
                        !goes
                    });
                }
            }
        }
        self.by_route.retain(|_, earlier| !earlier.is_empty());
    }
}

fn after(at: UnixMillis, length: Duration) -> UnixMillis {
    at.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}
