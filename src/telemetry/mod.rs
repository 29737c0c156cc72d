//! What the house tells its operator while it runs: metrics and logs. Imports no other room.

mod access_line;
mod family;
mod handles;
pub mod labels;
pub mod log;
pub mod metrics;

pub use access_line::AccessLine;
pub use family::{Family, Kind};
pub use handles::{Connected, FacilitatorMetrics, InFlight, RouteMetrics, UpstreamMetrics};
pub use labels::{
    Closed, Counted, LedgerOperation, Limit, Mode, Operation, Outcome, Reload, Resolution, ResolvedBy,
    SettlementOutcome, WindowHit,
};
pub use metrics::{Metrics, Unsettled};
