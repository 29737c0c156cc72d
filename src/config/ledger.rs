//! `[ledger]`: where payments are remembered.

use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::postgres::{self, PostgresUrl};
use super::secret;
use super::section::{At, Keys, Reader, Section};

/// `[ledger] url`. A change needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerUrl {
    /// `sqlite:PATH`, relative to the config file's folder.
    Sqlite(PathBuf),
    /// `postgres://…`: shared by every gateway that names it.
    Postgres(Box<PostgresUrl>),
    /// `memory:`: gone when the process ends; for demos and tests.
    Memory,
}

pub(super) const LEDGER: Keys = Keys { section: "[ledger]", names: &["url"] };

const DEFAULT: &str = "farebox.db";
const HELP: &str = "write \"sqlite:PATH\", such as \"sqlite:farebox.db\" or \"sqlite:/var/lib/farebox/farebox.db\"; \
                    \"postgres://USER@HOST/DATABASE\" is for several gateways; \
                    \"memory:\" forgets every payment when the process ends";
const POSTGRES_HELP: &str = "write \"postgres://USER:${PASSWORD}@HOST:5432/DATABASE\", with `?sslmode=` disable, prefer, \
                             require, verify-ca or verify-full; a letter of the password that means something in a URL \
                             is written as %40";

/// Reads `[ledger]`.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> At<LedgerUrl> {
    let section = root.section(reader, "ledger", &LEDGER);
    let span = section.key_span("url");
    let default = LedgerUrl::Sqlite(reader.base_dir().join(DEFAULT));
    let Some(text) = section.text(reader, "url", HELP) else { return At { value: default, span } };
    match LedgerUrl::parse(&text.value, reader.base_dir()) {
        Ok(url) => {
            if let LedgerUrl::Postgres(postgres) = &url
                && postgres.connection.get_password().is_some()
            {
                secret::warn_literal(reader, &text);
            }
            return At { value: url, span: text.span };
        }
        Err((wrong, help)) => reader.report(Diagnostic::error(text.span, wrong, help)),
    }
    At { value: default, span }
}

impl LedgerUrl {
    /// Reads a URL; `Err` says what is wrong with it and what would be right, and quotes nothing of it.
    pub fn parse(text: &str, base_dir: &Path) -> Result<LedgerUrl, (&'static str, &'static str)> {
        let wrong = match text.split_once(':') {
            Some(("memory", "")) => return Ok(LedgerUrl::Memory),
            Some(("sqlite", ":memory:")) => "an SQLite ledger in memory is written \"memory:\"",
            Some(("sqlite", path)) if path.starts_with("//") => {
                "an SQLite ledger's path follows the colon, without `//`"
            }
            Some(("sqlite", path)) if path.is_empty() || path.contains(['?', '\0']) => "not a path of an SQLite file",
            Some(("sqlite", path)) => return Ok(LedgerUrl::Sqlite(base_dir.join(path))),
            Some(("postgres" | "postgresql", _)) => {
                let url = postgres::parse(text, base_dir).map_err(|wrong| (wrong, POSTGRES_HELP))?;
                return Ok(LedgerUrl::Postgres(Box::new(url)));
            }
            Some(_) | None => "not a ledger",
        };
        Err((wrong, HELP))
    }
}
