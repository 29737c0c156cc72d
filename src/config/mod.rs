//! The TOML file: what it says once it has been read, checked and resolved.
//!
//! Everything in [`Config`] is right by construction: names refer to things that exist, prices fit their
//! tokens, addresses have their checksums, no two routes tie. Nothing after this validates again.
//!
//! A file is read in two steps. Each section's own file reads its keys with their positions,
//! then resolves what they refer to. Neither step stops at an error: all of a file's errors are reported in one
//! run. No message ever holds what an environment variable or a referenced file held, and
//! secrets that stand in the file itself are stars in excerpts.

mod address;
mod caution;
mod connection;
mod declared;
mod diagnostic;
mod duration;
mod exposure;
mod facilitator;
mod ledger;
mod listen;
mod log;
mod mask;
mod network;
mod peers;
mod postgres;
mod price;
mod rate;
mod reference;
mod restart;
mod route;
mod secret;
mod section;
mod server;
mod source;
mod suggest;
mod terms;
mod tls;
mod upstream;
mod way;

pub mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use crate::evm::chain::NodeConfig;
use crate::route::matcher::Matcher;
use crate::x402::Network;
use diagnostic::{Diagnostic, Severity};
use reference::Sources;
use section::{Keys, Reader, Section};

pub use connection::Connections;
pub use duration::show as duration_text;
pub use facilitator::{FacilitatorAt, FacilitatorConfig, HttpFacilitator, Sandbox, SandboxFailure};
pub use ledger::{LedgerConfig, LedgerUrl};
pub use listen::Admin;
pub use log::{Log, LogFormat};
pub use postgres::{PostgresUrl, ServerTrust};
pub use rate::{Allowance, LimitBy, Rate, RouteLimit};
pub use restart::Started;
pub use route::Route;
pub use secret::{PassKey, Secret};
pub use server::{ClientHeader, Server, Unmatched};
pub use source::load;
pub use terms::{Charge, SettleMode, Terms, Verify, Window};
pub use tls::Tls;
pub use upstream::{ServerAddress, Upstream, UpstreamHost};
pub use way::Way;

/// One compiled config.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[admin]`.
    pub admin: Admin,
    /// `[log]`.
    pub log: Log,
    /// `[ledger]`.
    pub ledger: LedgerConfig,
    /// `[[pass_key]]`, the signing one first; empty: made once and kept in the ledger.
    pub pass_keys: Vec<PassKey>,
    /// `[facilitators.*]` by name.
    pub facilitators: BTreeMap<Arc<str>, FacilitatorConfig>,
    /// `[networks.*]`: where to ask what became of a payment.
    pub networks: BTreeMap<Network, NodeConfig>,
    /// `[pay.*]` by name: which facilitators settle it, in order of preference.
    pub ways: BTreeMap<Arc<str>, Way>,
    /// `[upstreams.*]` by name.
    pub upstreams: BTreeMap<Arc<str>, Upstream>,
    /// `[[route]]` in the file's order; the matcher answers with indexes into it.
    pub routes: Vec<Arc<Route>>,
    /// Compiled from the routes' patterns.
    pub matcher: Matcher,
    /// The first 16 hex digits of the SHA-256 of the file's text.
    pub hash: String,
    /// The other files that went into it: what `${file:…}` refers to, and certificate and key of `[server] tls`.
    pub files: Vec<ReadFile>,
}

/// A file that was read, and what it held.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// Where it is.
    pub path: PathBuf,
    /// The first 16 hex digits of the SHA-256 of its content.
    pub hash: String,
}

impl std::fmt::Debug for ReadFile {
    /// Without the hash, by which a short secret could be guessed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A config that compiled, and what should be looked at all the same.
#[derive(Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// Rendered warnings, each with file, line and column.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with a file, rendered for people: each error with line, column, excerpt and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{rendered}")]
pub struct Report {
    /// Whether there was a text to judge.
    pub fault: Fault,
    /// How many errors.
    pub errors: usize,
    /// What is printed.
    pub rendered: String,
    /// Rendered warnings, as in [`Loaded`].
    pub warnings: Vec<String>,
}

/// Whether a file that cannot be used was read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It could not be opened or read.
    Unreadable,
    /// What it says is wrong.
    Wrong,
}

const ROOT: Keys = Keys {
    section: "the file",
    names: &["server", "admin", "log", "ledger", "pass_key", "facilitators", "networks", "pay", "upstreams", "route"],
};

/// Every table that a file may hold, as messages call it, with its keys.
pub fn known_keys() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    [
        &ROOT,
        &server::SERVER,
        &tls::TLS,
        &listen::ADMIN,
        &log::LOG,
        &ledger::LEDGER,
        &secret::PASS_KEY,
        &facilitator::FACILITATOR,
        &network::NETWORK,
        &way::WAY,
        &way::ASSET,
        &upstream::UPSTREAM,
        &route::ROUTE,
        &terms::WINDOW,
        &rate::LIMIT,
        &rate::FREE,
    ]
    .into_iter()
    .map(|keys| (keys.section, keys.names))
}

/// Checks and resolves a file's text.
///
/// `file_name` stands in messages; `base_dir` is what the ledger's path and `${file:…}` are relative to; `env` looks
/// an environment variable up. Opens no file but those that `${file:…}` and `[server] tls` name, and looks at the ledger's
/// permissions.
pub fn parse(
    text: &str,
    file_name: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Report> {
    parse_file(text, file_name, None, Sources { env, base_dir })
}

/// [`parse`]; `path` is the file's own, where it is one.
fn parse_file(text: &str, file_name: &str, path: Option<&Path>, sources: Sources<'_>) -> Result<Loaded, Report> {
    let (root, syntax_errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(sources, path);
    for error in &syntax_errors {
        reader.report(Diagnostic::syntax(error, text.len()));
    }
    let config = resolve(&mut reader, root.get_ref(), text);
    let masked = mask::mask(text, root.get_ref(), !syntax_errors.is_empty());
    let rendered = diagnostic::render(reader.diagnostics, file_name, &masked);
    match config {
        Some(config) if rendered.errors == 0 => Ok(Loaded { config, warnings: rendered.warnings }),
        Some(_) | None => Err(Report {
            fault: Fault::Wrong,
            errors: rendered.errors,
            rendered: rendered.shown_errors.join("\n\n"),
            warnings: rendered.warnings,
        }),
    }
}

/// `None` where an error was reported.
fn resolve(reader: &mut Reader<'_>, table: &DeTable<'_>, text: &str) -> Option<Config> {
    if table.is_empty() {
        let help = "a file needs at least [upstreams.NAME] and a [[route]]; gateway.toml.example has every key";
        reader.report(Diagnostic::absence(0..0, "the file is empty", help));
        return None;
    }
    let root = Section::open(reader, "the file", 0..0, table, &ROOT);
    let mut listeners = server::read(reader, &root);
    let log = log::read(reader, &root);
    let ledger = ledger::read(reader, &root);
    let pass_keys = secret::read_pass_keys(reader, &root);
    let facilitators = facilitator::read(reader, &root);
    let networks = network::read(reader, &root);
    let ways = way::read(reader, &root, &facilitators);
    let upstreams = upstream::read(reader, &root, &listeners.listen);
    listeners.server.unmatched = server::read_unmatched(reader, &listeners.section, &upstreams);
    let routes = route::read(reader, &root, &ways, &upstreams);
    ledger.check_keep(reader, &routes);
    if root.value("route").is_none() && listeners.server.unmatched == Unmatched::Deny {
        let help = "add a [[route]] with `path` and `price`";
        reader.report(Diagnostic::absence(0..0, "no route: every request would be refused", help));
    }
    if reader.diagnostics.iter().any(|found| found.severity == Severity::Error) {
        return None;
    }
    caution::Whole {
        listeners: &listeners,
        ledger: &ledger,
        facilitators: &facilitators,
        networks: &networks,
        ways: &ways,
        upstreams: &upstreams,
        routes: &routes,
    }
    .check(reader);
    Some(Config {
        server: listeners.server,
        admin: listeners.admin,
        log,
        ledger: ledger.into_config(),
        pass_keys,
        facilitators: facilitators.into_map(|facilitator| facilitator),
        networks: networks.nodes(),
        ways: ways.into_map(|way| Way { facilitators: way.facilitators, facilitator_timeout: way.facilitator_timeout }),
        upstreams: upstreams.into_map(|upstream| upstream),
        routes: routes.routes.into_iter().map(|read| read.route).collect(),
        matcher: routes.matcher,
        hash: hash(text),
        files: std::mem::take(&mut reader.files),
    })
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut hex = alloy::hex::encode(digest);
    hex.truncate(16);
    hex
}
