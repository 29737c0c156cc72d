//! Exact sums by group, one row at a time: memory grows with the groups, not with the payments.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{GroupBy, LedgerError, Total, UnixMillis};
use crate::money::Amount;
use crate::x402::Network;

/// What a sum needs to know of one settled payment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) route: &'a str,
    pub(super) payer: &'a str,
    pub(super) settled_at: UnixMillis,
    pub(super) network: &'a str,
    pub(super) asset: &'a str,
    pub(super) amount: Amount,
    pub(super) delivered: bool,
}

/// Sums as they grow.
#[derive(Debug)]
pub(super) struct Sums {
    by: GroupBy,
    groups: BTreeMap<String, Total>,
    /// The key of the entry at hand; kept so that only a new group allocates one.
    key: String,
}

impl Sums {
    pub(super) fn new(by: GroupBy) -> Sums {
        Sums { by, groups: BTreeMap::new(), key: String::new() }
    }

    /// Adds one settled payment.
    pub(super) fn add(&mut self, entry: Entry<'_>) -> Result<(), LedgerError> {
        let day;
        let group = match self.by {
            GroupBy::Route => entry.route,
            GroupBy::Payer => entry.payer,
            GroupBy::Day => {
                day = utc_day(entry.settled_at);
                &day
            }
        };
        self.key.clear();
        self.key.push_str(group);
        if self.by == GroupBy::Payer {
            // Clients write the same address with a checksum and without.
            self.key.make_ascii_lowercase();
        }
        // NUL sorts before anything that a name can hold: the map's order is group, network, asset.
        for part in [entry.network, entry.asset] {
            self.key.push('\0');
            self.key.push_str(part);
        }
        if !self.groups.contains_key(&self.key) {
            self.groups.insert(self.key.clone(), empty(group, entry)?);
        }
        let Some(total) = self.groups.get_mut(&self.key) else { return Ok(()) };
        if group < total.group.as_str() {
            total.group = group.to_owned();
        }
        total.payments = total.payments.saturating_add(1);
        total.delivered = total.delivered.saturating_add(u64::from(entry.delivered));
        total.amount = total.amount.checked_add(entry.amount).ok_or_else(|| {
            LedgerError::Unavailable(format!("the sum of {} of {group} passes 2^256 - 1 atomic units", entry.asset))
        })?;
        Ok(())
    }

    /// The sums, in the order of group, network and asset.
    pub(super) fn finish(self) -> Vec<Total> {
        self.groups.into_values().collect()
    }
}

fn empty(group: &str, entry: Entry<'_>) -> Result<Total, LedgerError> {
    let network = Network::parse(entry.network)
        .map_err(|error| LedgerError::Unavailable(format!("a payment on {:?}: {error}", entry.network)))?;
    Ok(Total {
        group: group.to_owned(),
        network,
        asset: entry.asset.into(),
        payments: 0,
        delivered: 0,
        amount: Amount::ZERO,
    })
}

/// `2026-11-20`; a time that no calendar has is left as it is.
fn utc_day(at: UnixMillis) -> String {
    match Timestamp::from_millisecond(at) {
        Ok(timestamp) => timestamp.to_zoned(TimeZone::UTC).date().to_string(),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;

    use super::*;

    fn entry(amount: Amount) -> Entry<'static> {
        Entry {
            route: "r",
            payer: "0xAb",
            settled_at: 0,
            network: "eip155:84532",
            asset: "0x1",
            amount,
            delivered: true,
        }
    }

    #[test]
    fn a_sum_past_256_bits_is_an_error_and_not_a_smaller_number() {
        let mut sums = Sums::new(GroupBy::Route);
        sums.add(entry(Amount::from(U256::MAX))).unwrap();
        assert!(matches!(sums.add(entry(Amount::from(1))), Err(LedgerError::Unavailable(_))));
    }

    #[test]
    fn one_payer_is_one_group_in_any_case() {
        let mut sums = Sums::new(GroupBy::Payer);
        for payer in ["0xab", "0xAB", "0xAb", "0xac"] {
            sums.add(Entry { payer, ..entry(Amount::from(1)) }).unwrap();
        }
        let groups: Vec<_> = sums.finish().into_iter().map(|total| (total.group, total.payments)).collect();
        assert_eq!(groups, [("0xAB".to_owned(), 3), ("0xac".to_owned(), 1)]);
    }

    #[test]
    fn days_are_utc_and_no_time_is_out_of_bounds() {
        let cases = [
            (0, "1970-01-01"),
            (86_399_999, "1970-01-01"),
            (86_400_000, "1970-01-02"),
            (-1, "1969-12-31"),
            (1_795_219_199_999, "2026-11-20"),
            (i64::MAX, "9223372036854775807"),
        ];
        for (at, day) in cases {
            assert_eq!(utc_day(at), day);
        }
    }
}
