//! What the documents say of the metrics is what the registry says.

use std::fmt::Write as _;

use farebox::telemetry::Metrics;
use farebox::telemetry::labels::{
    Counted, Label, LedgerOperation, Limit, Mode, Operation, Outcome, Reload, Resolution, ResolvedBy,
    SettlementOutcome, UnsettledState, WindowHit,
};

const README: &str = include_str!("../README.md");
const LABELS: &str = include_str!("../docs/metrics.md");

#[test]
fn the_readmes_table_is_the_registry() {
    let mut table = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
    for family in Metrics::new().families() {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(table, "| `{}` | {} | {} | {} |", family.name, family.kind.name(), labels.join(", "), family.help)
            .unwrap();
    }
    assert!(README.contains(&table), "README.md must hold this table:\n{table}");
}

#[test]
fn every_label_value_is_explained() {
    fn values<L: Label>() -> Vec<&'static str> {
        L::ALL.iter().map(|label| label.label()).collect()
    }
    let closed = [
        values::<Outcome>(),
        values::<Limit>(),
        values::<Counted>(),
        values::<Mode>(),
        values::<SettlementOutcome>(),
        values::<WindowHit>(),
        values::<Operation>(),
        values::<LedgerOperation>(),
        values::<UnsettledState>(),
        values::<ResolvedBy>(),
        values::<Resolution>(),
        values::<Reload>(),
    ];
    for value in closed.concat() {
        assert!(LABELS.contains(&format!("`{value}`")), "docs/metrics.md does not explain the label value {value:?}");
    }
}
