//! `[ledger]`: where payments are remembered.

use std::path::PathBuf;

use super::diagnostic::Diagnostic;
use super::section::{At, Keys, Reader, Section};

/// `[ledger] url`. A change needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerUrl {
    /// `sqlite:PATH`, relative to the config file's folder.
    Sqlite(PathBuf),
    /// `memory:`: gone when the process ends; for demos and tests.
    Memory,
}

pub(super) const LEDGER: Keys = Keys { section: "[ledger]", names: &["url"] };

const DEFAULT: &str = "farebox.db";
const HELP: &str = "write \"sqlite:PATH\", such as \"sqlite:farebox.db\" or \"sqlite:/var/lib/farebox/farebox.db\"; \
                    \"memory:\" forgets every payment when the process ends";

/// Reads `[ledger]`.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> At<LedgerUrl> {
    let section = root.section(reader, "ledger", &LEDGER);
    let span = section.key_span("url");
    let default = LedgerUrl::Sqlite(reader.base_dir().join(DEFAULT));
    let Some(text) = section.text(reader, "url", HELP) else { return At { value: default, span } };
    let wrong = match text.value.split_once(':') {
        Some(("memory", "")) => return At { value: LedgerUrl::Memory, span: text.span },
        Some(("sqlite", ":memory:")) => "an SQLite ledger in memory is written \"memory:\"",
        Some(("sqlite", path)) if path.starts_with("//") => "an SQLite ledger's path follows the colon, without `//`",
        Some(("sqlite", path)) if path.is_empty() || path.contains(['?', '\0']) => "not a path of an SQLite file",
        Some(("sqlite", path)) => {
            return At { value: LedgerUrl::Sqlite(reader.base_dir().join(path)), span: text.span };
        }
        Some(("postgres" | "postgresql", _)) => "this build has no PostgreSQL ledger yet",
        Some(_) | None => "not a ledger",
    };
    reader.report(Diagnostic::error(text.span, wrong, HELP));
    At { value: default, span }
}
