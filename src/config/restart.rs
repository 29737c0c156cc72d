//! What of a changed file waits for a restart.

use super::Config;

/// The keys that differ and that a running gateway cannot change; empty: a reload carries everything out.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let changes = [
        ("server.listen", old.server.listen != new.server.listen),
        ("server.threads", old.server.threads != new.server.threads),
        ("admin.listen", old.admin.listen != new.admin.listen),
        ("ledger.url", old.ledger != new.ledger),
        ("log.format", old.log.format != new.log.format),
    ];
    changes.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.to_owned()).collect()
}
