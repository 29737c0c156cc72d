//! Every metric of the house, by name, unit, labels and help text; README.md has the same table.
//!
//! What happens per request is counted on handles that were resolved once per snapshot ([`RouteMetrics`],
//! [`UpstreamMetrics`]): no look-up stands in a request's way. What happens per settled or refused payment, or per
//! call over the network, is looked up, for that costs nothing beside the call.
//!
//! Series of a route, upstream or facilitator that a reload removed stay until the process ends: a counter that
//! vanishes and comes back would look like a restart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntGauge, Registry, TextEncoder};
use tracing_appender::non_blocking::ErrorCounter;

use super::family::{Declare, Family, PerLabel};
use super::handles::{Connected, FacilitatorMetrics, InFlight, RouteFamilies, RouteMetrics, UpstreamMetrics};
use super::labels::{Closed, Counted, Label, LedgerOperation, Limit, Reload, Resolution, ResolvedBy, UnsettledState};

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The route label of requests that no route answered.
pub const NO_ROUTE: &str = "-";

/// From 10 µs, for a challenge takes tens of them.
#[rustfmt::skip]
const GATEWAY_SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];
/// Local backends answer within a millisecond, models think for a minute.
const UPSTREAM_SECONDS: &[f64] =
    &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// A settlement waits for a block, at most for the settle timeout.
const FACILITATOR_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0];
/// Memory answers below a millisecond, a disk's flush above.
const LEDGER_SECONDS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// The metrics of one process, in a registry of their own.
pub struct Metrics {
    registry: Registry,
    families: Vec<Family>,
    routes: Arc<RouteFamilies>,
    unrouted: Arc<RouteMetrics>,
    in_flight: IntGauge,
    connections: IntGauge,
    connections_closed: PerLabel<Closed, IntCounter>,
    refused: PerLabel<Limit, IntCounter>,
    counted: PerLabel<Counted, Gauge>,
    gateway: Histogram,
    upstreams: HistogramVec,
    facilitators: HistogramVec,
    ledger: PerLabel<LedgerOperation, Histogram>,
    unsettled: PerLabel<UnsettledState, Gauge>,
    unsettled_age: Gauge,
    undelivered: Gauge,
    pruned: IntCounter,
    resolutions: PerLabel<ResolvedBy, PerLabel<Resolution, IntCounter>>,
    receipts_in_memory: IntGauge,
    receipts_forgotten: IntCounter,
    reloads: PerLabel<Reload, IntCounter>,
    reload_successful: Gauge,
    reload_success_time: Gauge,
    config_info: GaugeVec,
    log_lines_dropped: IntCounter,
    dropped_lines: OnceLock<ErrorCounter>,
    dropped_lines_exported: AtomicU64,
}

/// What the ledger knows of payments whose money has not come to rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unsettled {
    /// Payments for which a facilitator is being asked.
    pub settling: u64,
    /// Payments whose outcome is unknown.
    pub unknown: u64,
    /// Since the oldest of both last changed; zero where there is none.
    pub oldest_age: Duration,
    /// Settled payments that were not delivered.
    pub undelivered: u64,
}

impl Metrics {
    /// Declares every family.
    pub fn new() -> Arc<Metrics> {
        let mut declare = Declare::default();

        let routes = Arc::new(RouteFamilies {
            requests: declare.counters(
                "farebox_requests_total",
                &["route", "outcome"],
                "Requests by how they ended. Route \"-\" holds those that no route answered.",
            ),
            challenges: declare.counters(
                "farebox_challenges_total",
                &["route"],
                "402 answers: to requests without a payment and to refused payments.",
            ),
            refusals: declare.counters(
                "farebox_payments_refused_total",
                &["route", "reason"],
                "Payments refused, by x402 error code.",
            ),
            settlements: declare.counters(
                "farebox_settlements_total",
                &["route", "mode", "outcome"],
                "Settlements by the route's settle mode and by what became of them.",
            ),
            revenue: declare.float_counters(
                "farebox_revenue_atomic_total",
                &["route", "network", "asset"],
                "Settled money in atomic units of the asset, as a double: exact up to 2^53; the ledger always is.",
            ),
            window_hits: declare.counters(
                "farebox_window_hits_total",
                &["route", "by"],
                "Requests opened without a new payment, by what opened them.",
            ),
        });
        let in_flight = declare.int_gauge("farebox_in_flight_requests", "Requests that have begun and not ended.");
        let connections = declare.int_gauge("farebox_connections", "Connections of clients that are open.");
        let connections_closed = declare.counters(
            "farebox_connections_closed_total",
            &["reason"],
            "Connections of clients that the gateway closed, by the limit that was passed or by what was wrong.",
        );

        let refused =
            declare.counters("farebox_refused_total", &["reason"], "Requests turned away by a limit, by which one.");
        let counted = declare.gauges(
            "farebox_limit_entries",
            &["kind"],
            "Clients and payers that are counted for a limit or a free allowance: at most 1048576 of each kind.",
        );

        let gateway = declare.histogram(
            "farebox_gateway_duration_seconds",
            GATEWAY_SECONDS,
            "Time that the gateway itself added to a challenge, a free request or one inside a window.",
        );
        let upstreams = declare.histograms(
            "farebox_upstream_duration_seconds",
            &["upstream"],
            UPSTREAM_SECONDS,
            "Time from forwarding a request to the head of the upstream's response.",
        );
        let facilitators = declare.histograms(
            "farebox_facilitator_duration_seconds",
            &["facilitator", "operation", "outcome"],
            FACILITATOR_SECONDS,
            "Time of a call to a facilitator, by what came of it: ok, refused, or the kind of failure.",
        );
        let ledger = declare.histograms(
            "farebox_ledger_operation_duration_seconds",
            &["operation"],
            LEDGER_SECONDS,
            "Time of a ledger operation, its wait for the disk included.",
        );

        let unsettled = declare.gauges(
            "farebox_unsettled_payments",
            &["state"],
            "Payments whose money may or may not have moved. NaN while the ledger cannot be read.",
        );
        let unsettled_age = declare.gauge(
            "farebox_unsettled_oldest_age_seconds",
            "Time since the oldest unsettled payment last changed; 0 without one. NaN while the ledger cannot be read.",
        );
        let undelivered = declare.gauge(
            "farebox_undelivered_payments",
            "Settled payments whose response was not written in full. NaN while the ledger cannot be read.",
        );

        let pruned = declare.counter(
            "farebox_ledger_pruned_total",
            "Payments that the ledger has forgotten for being older than ledger.keep.",
        );
        let resolutions = declare.counters(
            "farebox_resolutions_total",
            &["by", "result"],
            "Tries to find out what became of an unknown payment, by who was asked and what came of it.",
        );

        let receipts_in_memory = declare.int_gauge(
            "farebox_receipts_in_memory",
            "Settled payments with a window that are known without asking the ledger.",
        );
        let receipts_forgotten = declare.counter(
            "farebox_receipts_forgotten_total",
            "Receipts that gave way to others in memory; the ledger is asked where their payments come again.",
        );

        let reloads =
            declare.counters("farebox_reloads_total", &["result"], "Reloads of the config file, by what came of them.");
        let reload_successful = declare
            .gauge("farebox_config_last_reload_successful", "1 if the config file was right when last loaded, else 0.");
        let reload_success_time = declare.gauge(
            "farebox_config_last_reload_success_timestamp_seconds",
            "Unix time when the config file was last loaded and right.",
        );
        let config_info =
            declare.gauges("farebox_config_info", &["hash"], "1, with the hash of the config that is in force.");

        let log_lines_dropped = declare.counter(
            "farebox_log_lines_dropped_total",
            "Log lines dropped because standard error was not read fast enough.",
        );
        let build_info = declare.gauges(
            "farebox_build_info",
            &["version", "revision"],
            "1, with the version and the source revision of this binary.",
        );
        let revision = option_env!("FAREBOX_REVISION").unwrap_or("unknown");
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1.0);
        declare.process();

        let metrics = Metrics {
            unrouted: Arc::new(RouteMetrics::new(&routes, NO_ROUTE.into())),
            routes,
            in_flight,
            connections,
            connections_closed: PerLabel::new(|why: Closed| connections_closed.with_label_values(&[why.label()])),
            refused: PerLabel::new(|limit: Limit| refused.with_label_values(&[limit.label()])),
            counted: PerLabel::new(|kind: Counted| counted.with_label_values(&[kind.label()])),
            gateway,
            upstreams,
            facilitators,
            ledger: PerLabel::new(|operation: LedgerOperation| ledger.with_label_values(&[operation.label()])),
            unsettled: PerLabel::new(|state: UnsettledState| unsettled.with_label_values(&[state.label()])),
            unsettled_age,
            undelivered,
            pruned,
            resolutions: PerLabel::new(|by: ResolvedBy| {
                PerLabel::new(|result: Resolution| resolutions.with_label_values(&[by.label(), result.label()]))
            }),
            receipts_in_memory,
            receipts_forgotten,
            reloads: PerLabel::new(|result: Reload| reloads.with_label_values(&[result.label()])),
            reload_successful,
            reload_success_time,
            config_info,
            log_lines_dropped,
            dropped_lines: OnceLock::new(),
            dropped_lines_exported: AtomicU64::new(0),
            registry: declare.registry,
            families: declare.families,
        };
        metrics.unrouted.show();
        metrics.unsettled(None);
        Arc::new(metrics)
    }

    /// The handle of a route, by its name; made once per snapshot. It has no series yet.
    pub fn for_route(&self, name: impl Into<Arc<str>>) -> Arc<RouteMetrics> {
        Arc::new(RouteMetrics::new(&self.routes, name.into()))
    }

    /// The handle of requests that no route answers.
    pub fn unrouted(&self) -> &Arc<RouteMetrics> {
        &self.unrouted
    }

    /// The handle of an upstream, by its name; made once per snapshot.
    pub fn for_upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        Arc::new(UpstreamMetrics::new(&self.upstreams, name))
    }

    /// The handle of a facilitator, by its name; made once per snapshot.
    pub fn for_facilitator(&self, name: &str) -> Arc<FacilitatorMetrics> {
        Arc::new(FacilitatorMetrics::new(&self.facilitators, name))
    }

    /// Counts a request as in flight for as long as the answer lives.
    pub fn in_flight(&self) -> InFlight {
        InFlight::new(&self.in_flight)
    }

    /// Counts a connection as open for as long as the answer lives.
    pub fn connected(&self) -> Connected {
        Connected::new(&self.connections)
    }

    /// The gateway closed a connection.
    pub fn closed(&self, why: Closed) {
        self.connections_closed.with(why, IntCounter::inc);
    }

    /// A limit turned a request away.
    pub fn refused(&self, limit: Limit) {
        self.refused.with(limit, IntCounter::inc);
    }

    /// How many are counted, before a scrape.
    pub fn counted(&self, kind: Counted, entries: usize) {
        self.counted.with(kind, |gauge| gauge.set(entries as f64));
    }

    /// What the gateway itself added to a request.
    pub fn gateway(&self, elapsed: Duration) {
        self.gateway.observe(elapsed.as_secs_f64());
    }

    /// A ledger operation ended.
    pub fn ledger(&self, operation: LedgerOperation, elapsed: Duration) {
        self.ledger.with(operation, |histogram| histogram.observe(elapsed.as_secs_f64()));
    }

    /// What the ledger says before a scrape; `None` while it cannot be read.
    pub fn unsettled(&self, payments: Option<Unsettled>) {
        let (settling, unknown, age, undelivered) = match payments {
            Some(all) => {
                (all.settling as f64, all.unknown as f64, all.oldest_age.as_secs_f64(), all.undelivered as f64)
            }
            None => (f64::NAN, f64::NAN, f64::NAN, f64::NAN),
        };
        self.unsettled.with(UnsettledState::Settling, |gauge| gauge.set(settling));
        self.unsettled.with(UnsettledState::Unknown, |gauge| gauge.set(unknown));
        self.unsettled_age.set(age);
        self.undelivered.set(undelivered);
    }

    /// Counts payments that were forgotten.
    pub fn pruned(&self, payments: u64) {
        self.pruned.inc_by(payments);
    }

    /// Somebody was asked what became of an unknown payment.
    pub fn resolution(&self, by: ResolvedBy, result: Resolution) {
        self.resolutions.with(by, |results| results.with(result, IntCounter::inc));
    }

    /// How many receipts are in memory, before a scrape.
    pub fn receipts_in_memory(&self, receipts: usize) {
        self.receipts_in_memory.set(i64::try_from(receipts).unwrap_or(i64::MAX));
    }

    /// A receipt in memory gave way to another.
    pub fn receipt_forgotten(&self) {
        self.receipts_forgotten.inc();
    }

    /// The config with this hash came into force at a Unix time in seconds: at start, before any reload.
    pub fn config_in_force(&self, hash: &str, unix_seconds: f64) {
        self.config_info.reset();
        self.config_info.with_label_values(&[hash]).set(1.0);
        self.reload_successful.set(1.0);
        self.reload_success_time.set(unix_seconds);
    }

    /// A reload ended at a Unix time in seconds, after which the config with this hash is in force.
    pub fn reloaded(&self, result: Reload, hash: &str, unix_seconds: f64) {
        self.reloads.with(result, IntCounter::inc);
        match result {
            Reload::Applied | Reload::Unchanged => self.config_in_force(hash, unix_seconds),
            Reload::Refused => self.reload_successful.set(0.0),
        }
    }

    /// Exports what this counter counts as dropped log lines; the first one given counts.
    pub fn count_dropped_lines(&self, counter: ErrorCounter) {
        let _ = self.dropped_lines.set(counter);
    }

    /// Every family, in the order of its declaration.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The text exposition format 0.0.4; families that have no series yet are left out.
    pub fn render(&self) -> String {
        if let Some(counter) = self.dropped_lines.get() {
            let dropped = u64::try_from(counter.dropped_lines()).unwrap_or(u64::MAX);
            // Two scrapes at once must not both add the same lines.
            let exported = self.dropped_lines_exported.fetch_max(dropped, Ordering::Relaxed);
            self.log_lines_dropped.inc_by(dropped.saturating_sub(exported));
        }
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written as text");
        }
        text
    }
}

#[cfg(test)]
mod tests;
