use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::MetricType;

use super::*;
use crate::telemetry::Kind;
use crate::telemetry::labels::{Mode, Operation, Outcome, SettlementOutcome, WindowHit};

/// One of everything, so that every family has a series.
fn everything() -> Arc<Metrics> {
    let metrics = Metrics::new();
    let route = metrics.for_route("premium");
    route.count(Outcome::Paid);
    route.refused("insufficient_funds");
    route.settlement(Mode::OnSuccess, SettlementOutcome::Settled);
    route.settled("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", 10_000.0);
    route.window_hit(WindowHit::Pass);
    metrics.for_upstream("api").head(Duration::from_millis(3));
    metrics.for_facilitator("main").call(Operation::Settle, FacilitatorMetrics::OK, Duration::from_secs(2));
    metrics.gateway(Duration::from_micros(12));
    metrics.ledger(LedgerOperation::Reserve, Duration::from_micros(400));
    metrics.config_in_force("0011223344556677", 1_795_000_000.0);
    metrics
}

fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no series {series} in\n{text}")).parse().unwrap()
}

#[test]
fn what_is_exported_is_what_was_declared() {
    let metrics = everything();
    let exported: BTreeMap<String, (Kind, BTreeSet<String>)> = metrics
        .registry
        .gather()
        .into_iter()
        .map(|family| {
            let kind = match family.get_field_type() {
                MetricType::COUNTER => Kind::Counter,
                MetricType::GAUGE => Kind::Gauge,
                MetricType::HISTOGRAM => Kind::Histogram,
                other => panic!("{other:?}"),
            };
            let labels = family
                .get_metric()
                .iter()
                .flat_map(|metric| metric.get_label().iter().map(|label| label.name().to_owned()))
                .collect();
            (family.name().to_owned(), (kind, labels))
        })
        .collect();
    let declared = metrics
        .families()
        .iter()
        .map(|family| (family.name.clone(), (family.kind, family.labels.iter().cloned().collect())))
        .collect();
    assert_eq!(exported, declared);
}

/// Prometheus's naming rules: counters end in `_total`, times are in seconds, everything is in the house's namespace.
#[test]
fn names_follow_the_rules() {
    for family in Metrics::new().families() {
        let Family { name, kind, help, .. } = family;
        assert!(name.starts_with("farebox_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
        assert!(!help.is_empty() && help.ends_with('.'), "{name}: {help:?}");
        assert!(!help.contains('|'), "{name}: {help:?} would break the table");
    }
}

#[test]
fn a_route_counts_under_its_own_name() {
    let metrics = Metrics::new();
    let route = metrics.for_route("GET /v1/*");
    for outcome in Outcome::ALL {
        route.count(*outcome);
    }
    metrics.unrouted().count(Outcome::Unmatched);
    for outcome in Outcome::ALL {
        let series = format!(r#"farebox_requests_total{{outcome="{}",route="GET /v1/*"}}"#, outcome.label());
        assert_eq!(value(&metrics, &series), 1.0, "{series}");
    }
    assert_eq!(value(&metrics, r#"farebox_challenges_total{route="GET /v1/*"}"#), 2.0, "challenge and refused");
    assert_eq!(value(&metrics, r#"farebox_requests_total{outcome="unmatched",route="-"}"#), 1.0);
}

#[test]
fn a_handle_made_again_after_a_reload_goes_on_counting() {
    let metrics = Metrics::new();
    metrics.for_route("a").count(Outcome::Free);
    metrics.for_route("a").count(Outcome::Free);
    assert_eq!(value(&metrics, r#"farebox_requests_total{outcome="free",route="a"}"#), 2.0);
}

#[test]
fn a_routes_series_are_there_at_zero_once_they_are_shown() {
    let metrics = Metrics::new();
    metrics.for_route("a").show();
    assert_eq!(value(&metrics, r#"farebox_settlements_total{mode="before",outcome="unknown",route="a"}"#), 0.0);
    assert_eq!(value(&metrics, r#"farebox_window_hits_total{by="pass",route="a"}"#), 0.0);
}

#[test]
fn a_route_that_nobody_asked_for_has_no_series_and_one_that_somebody_did_has_all() {
    let metrics = Metrics::new();
    let (asked, _silent) = (metrics.for_route("asked"), metrics.for_route("silent"));
    asked.window_hit(WindowHit::Pass);
    assert_eq!(value(&metrics, r#"farebox_requests_total{outcome="free",route="asked"}"#), 0.0);
    assert!(!metrics.render().contains("silent"));
}

#[test]
fn revenue_is_summed_per_asset_and_nothing_odd_gets_in() {
    let metrics = Metrics::new();
    let route = metrics.for_route("a");
    for amount in [10_000.0, 2.0, f64::NAN, f64::INFINITY, -1.0] {
        route.settled("eip155:8453", "0xA", amount);
    }
    route.settled("eip155:8453", "0xB", 1.0);
    assert_eq!(
        value(&metrics, r#"farebox_revenue_atomic_total{asset="0xA",network="eip155:8453",route="a"}"#),
        10_002.0
    );
    assert_eq!(value(&metrics, r#"farebox_revenue_atomic_total{asset="0xB",network="eip155:8453",route="a"}"#), 1.0);
}

#[test]
fn unsettled_payments_are_not_a_number_while_the_ledger_cannot_be_read() {
    let metrics = Metrics::new();
    assert!(value(&metrics, r#"farebox_unsettled_payments{state="unknown"}"#).is_nan(), "before the first look");
    let oldest_age = Duration::from_millis(1500);
    metrics.unsettled(Some(Unsettled { settling: 1, unknown: 2, oldest_age, undelivered: 3 }));
    assert_eq!(value(&metrics, r#"farebox_unsettled_payments{state="settling"}"#), 1.0);
    assert_eq!(value(&metrics, r#"farebox_unsettled_payments{state="unknown"}"#), 2.0);
    assert_eq!(value(&metrics, "farebox_unsettled_oldest_age_seconds"), 1.5);
    assert_eq!(value(&metrics, "farebox_undelivered_payments"), 3.0);
    metrics.unsettled(None);
    assert!(value(&metrics, "farebox_unsettled_oldest_age_seconds").is_nan());
}

#[test]
fn reloads_leave_one_config_in_force() {
    let metrics = Metrics::new();
    metrics.config_in_force("aaaa", 1.0);
    assert_eq!(value(&metrics, r#"farebox_reloads_total{result="applied"}"#), 0.0, "a start is no reload");

    metrics.reloaded(Reload::Refused, "aaaa", 2.0);
    assert_eq!(value(&metrics, "farebox_config_last_reload_successful"), 0.0);
    assert_eq!(value(&metrics, "farebox_config_last_reload_success_timestamp_seconds"), 1.0);

    metrics.reloaded(Reload::Applied, "bbbb", 3.0);
    assert_eq!(value(&metrics, "farebox_config_last_reload_successful"), 1.0);
    assert_eq!(value(&metrics, "farebox_config_last_reload_success_timestamp_seconds"), 3.0);
    assert_eq!(value(&metrics, r#"farebox_config_info{hash="bbbb"}"#), 1.0);
    assert!(!metrics.render().contains("aaaa"), "the old config is not in force any more");
}

#[test]
fn requests_in_flight_are_counted_until_they_are_dropped() {
    let metrics = Metrics::new();
    let first = metrics.in_flight();
    let second = metrics.in_flight();
    assert_eq!(value(&metrics, "farebox_in_flight_requests"), 2.0);
    drop(first);
    drop(second);
    assert_eq!(value(&metrics, "farebox_in_flight_requests"), 0.0);
}

#[test]
fn a_name_from_the_config_cannot_break_the_text() {
    let metrics = Metrics::new();
    metrics.for_route("a\"b\\c\nd").count(Outcome::Free);
    assert_eq!(value(&metrics, r#"farebox_requests_total{outcome="free",route="a\"b\\c\nd"}"#), 1.0);
}
