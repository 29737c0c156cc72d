//! Declaring metric families, and keeping one child of each closed label set at hand.

use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::{CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec};
use prometheus::{IntGauge, Opts, Registry};

use super::labels::Label;

/// What kind of metric a family is, in Prometheus's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets: exported as `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// As `# TYPE` has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric family as it is declared, whether or not it has a series yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The full name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Label names in order; a histogram's `le` is left out.
    pub labels: Vec<String>,
    /// The help text.
    pub help: String,
}

/// Collects declarations: each family is registered and listed at once, so the two cannot differ.
#[derive(Default)]
pub(super) struct Declare {
    pub(super) registry: Registry,
    pub(super) families: Vec<Family>,
}

impl Declare {
    pub(super) fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        self.add(Kind::Counter, IntCounter::new(name, help))
    }

    pub(super) fn counters(&mut self, name: &str, labels: &[&str], help: &str) -> IntCounterVec {
        self.add(Kind::Counter, IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn float_counters(&mut self, name: &str, labels: &[&str], help: &str) -> CounterVec {
        self.add(Kind::Counter, CounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.add(Kind::Gauge, Gauge::new(name, help))
    }

    pub(super) fn int_gauge(&mut self, name: &str, help: &str) -> IntGauge {
        self.add(Kind::Gauge, IntGauge::new(name, help))
    }

    pub(super) fn gauges(&mut self, name: &str, labels: &[&str], help: &str) -> GaugeVec {
        self.add(Kind::Gauge, GaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histogram(&mut self, name: &str, buckets: &[f64], help: &str) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(Kind::Histogram, Histogram::with_opts(options))
    }

    pub(super) fn histograms(&mut self, name: &str, labels: &[&str], buckets: &[f64], help: &str) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(Kind::Histogram, HistogramVec::new(options, labels))
    }

    /// CPU, memory, file descriptors and threads, under Prometheus's own names. The crate reads `/proc`.
    #[cfg(target_os = "linux")]
    pub(super) fn process(&mut self) {
        let collector = prometheus::process_collector::ProcessCollector::for_self();
        for desc in collector.desc() {
            let kind = if desc.fq_name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
            self.list(kind, desc);
        }
        self.register(collector);
    }

    /// Elsewhere there is nothing to read.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn process(&mut self) {}

    #[expect(
        clippy::expect_used,
        reason = "names and labels are constants of this room; building it once in a test tells"
    )]
    fn add<M: Collector + Clone + 'static>(&mut self, kind: Kind, made: prometheus::Result<M>) -> M {
        let metric = made.expect("a well-formed name and well-formed labels");
        for desc in metric.desc() {
            self.list(kind, desc);
        }
        self.register(metric.clone());
        metric
    }

    #[expect(clippy::expect_used, reason = "as above")]
    fn register(&mut self, collector: impl Collector + 'static) {
        self.registry.register(Box::new(collector)).expect("each name is declared once");
    }

    fn list(&mut self, kind: Kind, desc: &prometheus::core::Desc) {
        self.families.push(Family {
            name: desc.fq_name.clone(),
            kind,
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        });
    }
}

/// One child per value of a label, found by index instead of by hash.
pub(super) struct PerLabel<L, M> {
    children: Box<[M]>,
    label: PhantomData<L>,
}

impl<L: Label, M> PerLabel<L, M> {
    pub(super) fn new(child: impl Fn(L) -> M) -> PerLabel<L, M> {
        PerLabel { children: L::ALL.iter().map(|label| child(*label)).collect(), label: PhantomData }
    }

    /// Does something with a label's child. There always is one: [`Label::index`] is a place in [`Label::ALL`].
    pub(super) fn with(&self, label: L, act: impl FnOnce(&M)) {
        if let Some(child) = self.children.get(label.index()) {
            act(child);
        }
    }
}
