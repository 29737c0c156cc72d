use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const ROUTE: Scope<'static> = Scope::Route("a");

fn client(address: &str) -> ClientNet {
    address.parse::<IpAddr>().unwrap().into()
}

fn by(address: &str) -> Subject<'static> {
    Subject::Client(client(address))
}

/// How many of so many requests at one time may come.
fn passed(limits: &Limits, rate: Rate, now: Duration, requests: u32) -> usize {
    (0..requests).filter(|_| limits.count(ROUTE, by("192.0.2.1"), rate, now).is_ok()).count()
}

#[test]
fn as_many_as_the_rate_says_may_come_at_once_and_then_one_in_each_share_of_the_time() {
    let limits = Limits::new(4);
    let rate = Rate { count: 10, per: SECOND };
    assert_eq!(passed(&limits, rate, SECOND, 11), 10);
    assert_eq!(passed(&limits, rate, SECOND * 11 / 10 - Duration::from_micros(1), 5), 0);
    assert_eq!(passed(&limits, rate, SECOND * 11 / 10, 5), 1);
    assert_eq!(passed(&limits, rate, SECOND * 14 / 10, 5), 3);
    assert_eq!(passed(&limits, rate, SECOND * 60, 50), 10, "more than all is never saved up");
}

#[test]
fn who_is_turned_away_is_told_when_to_come_back_and_may_come_then() {
    for (count, per) in [(1, 1), (10, 1), (7, 60), (100, 60), (1000, 3600), (1, 86_400), (1_000_000, 1)] {
        let (limits, rate) = (Limits::new(4), Rate { count, per: Duration::from_secs(per) });
        for _ in 0..count {
            limits.count(ROUTE, by("192.0.2.1"), rate, SECOND).unwrap();
        }
        let wait = limits.count(ROUTE, by("192.0.2.1"), rate, SECOND).unwrap_err();
        assert!(wait <= rate.per && !wait.is_zero(), "{rate}: {wait:?}");
        let sooner = SECOND + wait - Duration::from_micros(1);
        assert!(limits.count(ROUTE, by("192.0.2.1"), rate, sooner).is_err(), "{rate}");
        assert!(limits.count(ROUTE, by("192.0.2.1"), rate, SECOND + wait).is_ok(), "{rate}");
    }
}

#[test]
fn each_client_payer_and_scope_is_counted_by_itself() {
    let limits = Limits::new(4);
    let once = Rate { count: 1, per: SECOND };
    let all = [
        (ROUTE, by("192.0.2.1")),
        (ROUTE, by("192.0.2.2")),
        (ROUTE, by("2001:db8::1")),
        (ROUTE, by("2001:db8:0:1::1")),
        (ROUTE, Subject::Payer("0x1")),
        (ROUTE, Subject::Payer("0x2")),
        (Scope::Route("b"), by("192.0.2.1")),
        (Scope::Payments, by("192.0.2.1")),
    ];
    for (scope, subject) in all {
        assert!(limits.count(scope, subject, once, SECOND).is_ok(), "{scope:?} {subject:?}");
    }
    for (scope, subject) in all {
        assert!(limits.count(scope, subject, once, SECOND).is_err(), "{scope:?} {subject:?}");
    }
    assert!(limits.count(ROUTE, by("2001:db8::ffff"), once, SECOND).is_err(), "of the same 64 bits");
    assert!(limits.count(ROUTE, by("::ffff:192.0.2.1"), once, SECOND).is_err(), "the same in another spelling");
}

#[test]
fn a_client_has_its_free_uses_once_in_each_period() {
    let limits = Limits::new(4);
    let allowance = Allowance { uses: 3, per: SECOND * 60 };
    let taken = |client: ClientNet, now| (0..10).filter(|_| limits.take_free("a", client, allowance, now)).count();
    let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
    assert_eq!(taken(one, SECOND), 3);
    assert_eq!(taken(one, SECOND * 60), 0, "a minute after the first is not over");
    assert_eq!(taken(other, SECOND * 60), 3);
    assert!(limits.take_free("b", one, allowance, SECOND * 60), "another route has its own");
    assert_eq!(taken(one, SECOND * 61), 3);
    assert_eq!(taken(other, SECOND * 61), 0);
}

#[test]
fn a_changed_config_goes_on_with_what_was_counted() {
    let limits = Limits::new(4);
    let one = client("192.0.2.1");
    let allowance = |uses| Allowance { uses, per: SECOND * 60 };
    assert!(limits.take_free("a", one, allowance(1), SECOND));
    assert!(!limits.take_free("a", one, allowance(1), SECOND));
    assert!(limits.take_free("a", one, allowance(2), SECOND), "one more than before");
    assert!(!limits.take_free("a", one, allowance(1), SECOND * 2));

    let rate = |count| Rate { count, per: SECOND * 60 };
    assert_eq!(passed(&limits, rate(10), SECOND, 10), 10);
    assert_eq!(passed(&limits, rate(5), SECOND * 2, 5), 0);
}

fn address(n: u32) -> ClientNet {
    IpAddr::from(n.to_be_bytes()).into()
}

/// Ten million clients of a rate: memory has its bound, and who had used up its rate before has not got it back.
#[test]
fn ten_million_addresses_neither_fill_the_memory_nor_give_back_a_rate() {
    let limits = Limits::default();
    let rate = Rate { count: 100, per: SECOND * 60 };
    let heavy = Subject::Payer("0x1");
    for _ in 0..100 {
        limits.count(ROUTE, heavy, rate, SECOND).unwrap();
    }
    let refused = (0..10_000_000).filter(|n| {
        let subject = Subject::Client(address(*n));
        limits.count(ROUTE, subject, rate, SECOND).is_err()
    });
    assert_eq!(refused.count(), 0, "a newcomer is never turned away for the others");
    assert!(limits.count(ROUTE, heavy, rate, SECOND).is_err());
    let (rates, allowances) = limits.entries(SECOND);
    assert!(rates <= ENTRIES_MAX && limits.rates.capacity() <= ENTRIES_MAX, "{rates} entries");
    assert!(rates > ENTRIES_MAX * 99 / 100, "the memory that there is was used: {rates} entries");
    assert_eq!(allowances, 0);
    assert_eq!(limits.entries(SECOND * 100).0, 0, "nothing is remembered of who has recovered");
}

/// The same of free uses: who has spent them gets no more, however many others come.
#[test]
fn ten_million_addresses_neither_fill_the_memory_nor_give_back_an_allowance() {
    let limits = Limits::default();
    let allowance = Allowance { uses: 1, per: SECOND * 86_400 };
    let mut served = 0;
    for n in 0..10_000_000 {
        served += usize::from(limits.take_free("a", address(n), allowance, SECOND));
    }
    let (_, entries) = limits.entries(SECOND);
    assert_eq!(served, entries, "each free use is remembered");
    assert!(entries <= ENTRIES_MAX && limits.allowances.capacity() <= ENTRIES_MAX, "{entries} entries");
    assert!(entries > ENTRIES_MAX * 99 / 100, "the memory that there is was used: {entries} entries");
    let again = (0..100_000).filter(|n| limits.take_free("a", address(*n), allowance, SECOND * 2)).count();
    assert_eq!(again, 0, "nobody has two");
    let later = SECOND * 86_401;
    assert!(limits.take_free("a", address(0), allowance, later), "until the period is over");
}

#[test]
fn an_allowance_has_room_for_half_of_what_it_can_hold_without_turning_anybody_away() {
    let limits = Limits::default();
    let allowance = Allowance { uses: 1, per: SECOND * 86_400 };
    let clients = u32::try_from(ENTRIES_MAX / 2).unwrap();
    let turned_away = (0..clients).filter(|n| !limits.take_free("a", address(*n), allowance, SECOND)).count();
    assert!(turned_away < ENTRIES_MAX / 2 / 1000, "{turned_away} of {clients}");
}

proptest! {
    /// Against a book that forgets nothing: an allowance gives exactly what is left, a rate never more than its count
    /// and what has grown back since.
    #[test]
    fn nobody_gets_more_than_it_is_given(
        visits in prop::collection::vec((0u32..4, 0u64..3_000_000), 1..200),
        uses in 1u32..5,
        seconds in 1u64..4,
    ) {
        let limits = Limits::new(1);
        let per = Duration::from_secs(seconds);
        let (allowance, rate) = (Allowance { uses, per }, Rate { count: uses, per });
        let mut now = 1_000_000;
        let mut free: HashMap<u32, (u64, u32)> = HashMap::new();
        let mut passes: HashMap<u32, Vec<u64>> = HashMap::new();
        for (who, later) in visits {
            now += later;
            let at = Duration::from_micros(now);
            let period = free.entry(who).or_insert((now, 0));
            if now - period.0 >= micros(per) {
                *period = (now, 0);
            }
            period.1 += 1;
            prop_assert_eq!(limits.take_free("a", address(who), allowance, at), period.1 <= uses);

            if limits.count(ROUTE, Subject::Client(address(who)), rate, at).is_ok() {
                let passes = passes.entry(who).or_default();
                passes.push(now);
                for (index, first) in passes.iter().enumerate() {
                    let grown = (now - first) / (micros(per) / u64::from(uses));
                    prop_assert!((passes.len() - index) as u64 <= u64::from(uses) + grown);
                }
            }
        }
    }
}
