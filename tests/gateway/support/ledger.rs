//! What `farebox ledger` says.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::gateway::BINARY;

/// One payment of the ledger.
#[derive(Debug, Clone)]
pub struct Entry(pub Value);

impl Entry {
    pub fn id(&self) -> &str {
        self.text("id")
    }

    pub fn state(&self) -> &str {
        self.text("state")
    }

    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.0))
    }

    /// Whether a response that it paid for was written in full.
    pub fn delivered(&self) -> bool {
        !self.0["delivered_at"].is_null()
    }
}

/// `farebox ledger FILE --json`.
pub fn list(config: &Path) -> Vec<Entry> {
    let output = Command::new(BINARY).arg("ledger").arg(config).arg("--json").output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "farebox ledger: {} {said}", output.status);
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a JSON array of payments");
    entries.into_iter().map(Entry).collect()
}

/// `farebox ledger export FILE --json`: an object for each payment.
pub fn export(config: &Path) -> Vec<Value> {
    let output =
        Command::new(BINARY).args(["ledger", "export", "--json"]).arg(config).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "farebox ledger export: {} {said}", output.status);
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a JSON object")).collect()
}
