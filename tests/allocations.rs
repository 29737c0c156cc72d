//! How often a request makes the gate ask for memory: a handful of times, however many routes there are.

#[path = "support/shop.rs"]
mod shop;

use allocation_counter::measure;
use farebox::gate::Verdict;
use farebox::telemetry::Outcome;
use shop::{Shop, fields, file};

/// How often the gate allocates to judge a request, once it has judged one like it.
fn allocations(shop: &Shop, target: &str, headers: &[(&'static str, &str)], expected: Outcome) -> u64 {
    let headers = fields(headers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let judge = || {
        let outcome = match runtime.block_on(shop.judge(target, &headers)) {
            Verdict::Answer { outcome, .. } => outcome,
            Verdict::Forward(forward) => forward.outcome,
        };
        assert_eq!(outcome, expected, "{target}");
    };
    judge();
    measure(judge).count_total
}

#[test]
fn a_request_costs_a_handful_of_allocations_however_many_routes_there_are() {
    let mut counted = Vec::new();
    for (routes, last) in [(10, 9), (1000, 100), (1000, 999)] {
        let shop = Shop::open(&file(routes));
        let (paid, free) = (format!("/paid-{last}/a/b?q=1"), format!("/free-{last}/a?q=1"));
        let pass = shop.pass(&format!("paid-{last}"));
        counted.push([
            ("a free route", allocations(&shop, &free, &[], Outcome::Free)),
            ("a challenge", allocations(&shop, &paid, &[], Outcome::Challenge)),
            ("a pass", allocations(&shop, &paid, &[("farebox-pass", &pass)], Outcome::Window)),
            ("a payment that is none", allocations(&shop, &paid, &[("x-payment", "e30=")], Outcome::Malformed)),
        ]);
    }
    assert!(counted.iter().all(|counts| *counts == counted[0]), "{counted:?}");
    // docs/performance.md has these numbers.
    for ((what, count), most) in counted[0].into_iter().zip([1, 6, 4, 17]) {
        assert!(count <= most, "{what}: {count} allocations, and {most} were enough");
    }
}
