//! `[ledger]`: where payments are remembered, and for how long.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Diagnostic, Span};
use super::duration;
use super::postgres::{self, PostgresUrl};
use super::route::Routes;
use super::secret;
use super::section::{At, Keys, Reader, Section};
use super::terms::Charge;

/// `[ledger]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerConfig {
    /// Where payments are remembered.
    pub url: LedgerUrl,
    /// For how long they are remembered once nothing can come of them any more; `None`: for good. A day at least, and no
    /// shorter than any route's window or redelivery.
    pub keep: Option<Duration>,
}

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

pub(super) const LEDGER: Keys = Keys { section: "[ledger]", names: &["url", "keep"] };

/// At least as long as the longest `max_timeout`, and longer than clocks are apart: a payment whose row is gone is refused
/// for its time. A hundred years are for good.
const KEEP: RangeInclusive<Duration> = Duration::from_secs(86_400)..=Duration::from_secs(36_600 * 86_400);

const DEFAULT: &str = "farebox.db";
const HELP: &str = "write \"sqlite:PATH\", such as \"sqlite:farebox.db\" or \"sqlite:/var/lib/farebox/farebox.db\"; \
                    \"postgres://USER@HOST/DATABASE\" is for several gateways; \
                    \"memory:\" forgets every payment when the process ends";
const POSTGRES_HELP: &str = "write \"postgres://USER:${PASSWORD}@HOST:5432/DATABASE\", with `?sslmode=` disable, prefer, \
                             require, verify-ca or verify-full; a letter of the password that means something in a URL \
                             is written as %40";

/// What `[ledger]` says, and where.
pub(super) struct Read {
    pub(super) url: At<LedgerUrl>,
    keep: Option<At<Duration>>,
}

/// Reads `[ledger]`.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Read {
    let section = root.section(reader, "ledger", &LEDGER);
    let keep = section.duration(reader, "keep", KEEP);
    Read { url: read_url(reader, &section), keep }
}

impl Read {
    /// A payment is needed for as long as it opens its route.
    pub(super) fn check_keep(&self, reader: &mut Reader<'_>, routes: &Routes) {
        let Some(keep) = &self.keep else { return };
        let needs = routes.routes.iter().filter_map(|read| match (&read.route.charge, &read.price) {
            (Charge::Priced(terms), Some(price)) => {
                let window = terms.window.map_or(Duration::ZERO, |window| window.duration);
                let (key, needed) = [("window", window), ("redeliver", terms.redeliver)]
                    .into_iter()
                    .max_by_key(|(_, length)| *length)?;
                Some((needed, key, &read.route.name, price))
            }
            (Charge::Priced(_) | Charge::Free, _) => None,
        });
        let Some((needed, key, route, price)) = needs.max_by_key(|(needed, ..)| *needed) else { return };
        if keep.value < needed {
            let title =
                format!("`keep` is shorter than the `{key}` of route `{route}`, which needs its payments so long");
            let help = format!("write at least \"{}\", or shorten the route's `{key}`", duration::show(needed));
            reader.report(Diagnostic::error(keep.span.clone(), title, help).also(price.at.clone(), "the route"));
        }
    }

    pub(super) fn into_config(self) -> LedgerConfig {
        LedgerConfig { url: self.url.value, keep: self.keep.map(|at| at.value) }
    }
}

fn read_url(reader: &mut Reader<'_>, section: &Section<'_>) -> At<LedgerUrl> {
    let span = section.key_span("url");
    let path = reader.base_dir().join(DEFAULT);
    if section.value("url").is_none() {
        warn_if_open(reader, &path, &span);
    }
    let default = LedgerUrl::Sqlite(path);
    let Some(text) = section.text(reader, "url", HELP) else { return At { value: default, span } };
    match LedgerUrl::parse(&text.value, reader.base_dir()) {
        Ok(url) => {
            match &url {
                LedgerUrl::Postgres(postgres) if postgres.connection.get_password().is_some() => {
                    secret::warn_literal(reader, &text);
                }
                LedgerUrl::Sqlite(path) => warn_if_open(reader, path, &text.span),
                LedgerUrl::Postgres(_) | LedgerUrl::Memory => {}
            }
            return At { value: url, span: text.span };
        }
        Err((wrong, help)) => reader.report(Diagnostic::error(text.span, wrong, help)),
    }
    At { value: default, span }
}

/// The gateway makes it for its own user alone; somebody may have opened it, or copied it into place.
fn warn_if_open(reader: &mut Reader<'_>, path: &Path, span: &Span) {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    for file in [path, Path::new(&log)] {
        reader.warn_if_open(file, span.clone(), "which holds signed payments and the keys of passes");
    }
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
