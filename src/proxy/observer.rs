//! Counts what facilitators were asked and how long it took.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::facilitator::{Observer, Operation};
use crate::telemetry::{self, FacilitatorMetrics, Metrics};

/// Passes a pool's calls on to the metrics.
pub(super) struct CallMetrics(HashMap<Arc<str>, Arc<FacilitatorMetrics>>);

impl CallMetrics {
    /// For the facilitators of those names.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a Arc<str>>, metrics: &Metrics) -> CallMetrics {
        CallMetrics(names.map(|name| (name.clone(), metrics.for_facilitator(name))).collect())
    }
}

impl Observer for CallMetrics {
    fn call(&self, facilitator: &str, operation: Operation, outcome: &'static str, elapsed: Duration) {
        let Some(metrics) = self.0.get(facilitator) else { return };
        let outcome = match outcome {
            "valid" | "settled" | "ok" => FacilitatorMetrics::OK,
            "invalid" | "refused" => FacilitatorMetrics::REFUSED,
            fault => fault,
        };
        let operation = match operation {
            Operation::Verify => telemetry::Operation::Verify,
            Operation::Settle => telemetry::Operation::Settle,
            Operation::Supported => telemetry::Operation::Supported,
        };
        metrics.call(operation, outcome, elapsed);
    }
}
