//! `[facilitators.NAME]`: who verifies and settles.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use toml::de::DeValue;
use url::Url;

use super::declared::Declarations;
use super::diagnostic::{Diagnostic, Span};
use super::duration;
use super::secret::{Secret, warn_literal};
use super::section::{Keys, Reader, Section, quoted, wrong_type};
use super::server::web_url;
use crate::money::Price;

/// `[facilitators.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacilitatorConfig {
    /// Where it is.
    pub at: FacilitatorAt,
}

impl FacilitatorConfig {
    /// `/verify` and `/settle` that may be under way at once: any number in this process.
    pub fn calls_in_flight(&self) -> usize {
        match &self.at {
            FacilitatorAt::Http(http) => http.calls_in_flight,
            FacilitatorAt::Sandbox(_) => usize::MAX,
        }
    }
}

/// Where a facilitator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FacilitatorAt {
    /// Behind HTTP.
    Http(HttpFacilitator),
    /// `url = "sandbox:"`: in this process, without a chain.
    Sandbox(Sandbox),
}

/// A facilitator behind HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpFacilitator {
    /// `/verify`, `/settle` and `/supported` are appended to its path.
    pub url: Url,
    /// Sent as `Authorization: Bearer …`.
    pub bearer: Option<Secret>,
    /// Sent with every call.
    pub headers: Vec<(String, Secret)>,
    /// To connect.
    pub connect_timeout: Duration,
    /// Between two reads of an answer.
    pub read_timeout: Duration,
    /// For a whole `/verify` or `/supported`.
    pub verify_timeout: Duration,
    /// For a whole `/settle`: below 10 seconds is dangerous.
    pub settle_timeout: Duration,
    /// `/verify` and `/settle` that may be under way at once.
    pub calls_in_flight: usize,
}

impl std::fmt::Debug for HttpFacilitator {
    /// Without the URL's path and query, where providers want their keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFacilitator")
            .field("host", &self.url.host_str())
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// The facilitator in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Whole tokens that every new payer owns.
    pub balance: Price,
    /// How long a verify takes.
    pub verify_delay: Duration,
    /// How long a settle takes.
    pub settle_delay: Duration,
    /// What fails.
    pub fail: SandboxFailure,
}

/// What a sandbox is told to fail at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxFailure {
    /// Nothing.
    Never,
    /// `/verify` says no.
    Verify,
    /// `/settle` says no, for certain.
    Settle,
    /// `/settle` moves the money, and its answer is lost.
    SettleAnswer,
}

pub(super) const FACILITATOR: Keys = Keys {
    section: "[facilitators.NAME]",
    names: &[
        "url",
        "bearer",
        "headers",
        "connect_timeout",
        "read_timeout",
        "verify_timeout",
        "settle_timeout",
        "calls_in_flight",
        "balance",
        "verify_delay",
        "settle_delay",
        "fail",
    ],
};

const HTTP_ONLY: &[&str] =
    &["bearer", "headers", "connect_timeout", "read_timeout", "verify_timeout", "settle_timeout", "calls_in_flight"];
const SANDBOX_ONLY: &[&str] = &["balance", "verify_delay", "settle_delay", "fail"];

const CONNECT_DEFAULT: Duration = Duration::from_secs(2);
const READ_DEFAULT: Duration = Duration::from_secs(30);
const VERIFY_DEFAULT: Duration = Duration::from_secs(10);
const SETTLE_DEFAULT: Duration = Duration::from_secs(30);
/// 128 payments a second, where a settlement waits two seconds for its block.
const CALLS_IN_FLIGHT_DEFAULT: usize = 256;
const CALLS_IN_FLIGHT: std::ops::RangeInclusive<u64> = 1..=65_536;
/// Chains with two-second blocks and polling facilitators take seven seconds in peace.
const SETTLE_SAFE: Duration = Duration::from_secs(10);
const BALANCE_DEFAULT: &str = "10";

const URL_HELP: &str = "write the URL that /verify and /settle are appended to, such as \
                        \"https://x402.org/facilitator\", or \"sandbox:\" for one in this process that moves no money";
const BEARER_HELP: &str = "write `bearer = \"${NAME}\"`: the token alone, without the word Bearer";
const HEADERS_HELP: &str = "write `headers = { X-Api-Key = \"${NAME}\" }`";
const BALANCE_HELP: &str = "write whole tokens as a text, such as \"10\" or \"0.5\"";

/// Reads `[facilitators.*]`.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Declarations<FacilitatorConfig> {
    Declarations::read(reader, root, "facilitators", &FACILITATOR, "facilitator", |reader, _, section| {
        let url = section.required_text(reader, "url", URL_HELP)?;
        let at = if url.value.starts_with("sandbox:") {
            if url.value != "sandbox:" {
                reader.report(Diagnostic::error(url.span, "a sandbox has no address", "write \"sandbox:\""));
            }
            refuse_other_kind(reader, section, HTTP_ONLY, "a facilitator behind HTTP", "the sandbox");
            FacilitatorAt::Sandbox(read_sandbox(reader, section)?)
        } else {
            refuse_other_kind(reader, section, SANDBOX_ONLY, "the sandbox", "a facilitator behind HTTP");
            let rest = read_http(reader, section);
            let url = web_url(reader, &url, URL_HELP).map(|parsed| (parsed, url.span));
            FacilitatorAt::Http(rest.with_url(reader, url?))
        };
        Some(FacilitatorConfig { at })
    })
}

fn refuse_other_kind(reader: &mut Reader<'_>, section: &Section<'_>, keys: &[&'static str], theirs: &str, this: &str) {
    for key in keys {
        if section.value(key).is_some() {
            let title = format!("`{key}` belongs to {theirs}, and {} is {this}", section.title);
            let own = if keys == SANDBOX_ONLY { HTTP_ONLY } else { SANDBOX_ONLY };
            let help = format!("take it out; {this} has {}", quoted(own));
            reader.report(Diagnostic::error(section.key_span(key), title, help));
        }
    }
}

fn read_sandbox(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Sandbox> {
    let balance = match section.text(reader, "balance", BALANCE_HELP) {
        Some(text) => match text.value.parse() {
            Ok(balance) => Some(balance),
            Err(_) => {
                reader.report(Diagnostic::error(text.span, "not a positive number of tokens", BALANCE_HELP));
                None
            }
        },
        None => BALANCE_DEFAULT.parse().ok(),
    };
    let [verify_delay, settle_delay] = ["verify_delay", "settle_delay"]
        .map(|key| section.duration(reader, key, duration::ANY).map_or(Duration::ZERO, |at| at.value));
    let failures = [
        ("never", SandboxFailure::Never),
        ("verify", SandboxFailure::Verify),
        ("settle", SandboxFailure::Settle),
        ("settle-answer", SandboxFailure::SettleAnswer),
    ];
    let fail = section.choice(reader, "fail", &failures).map_or(SandboxFailure::Never, |at| at.value);
    Some(Sandbox { balance: balance?, verify_delay, settle_delay, fail })
}

/// An HTTP facilitator but for its URL, so that a wrong URL does not hide what else is wrong.
struct Unaddressed {
    bearer: Option<Secret>,
    headers: Vec<(String, Secret)>,
    connect_timeout: Duration,
    read_timeout: Duration,
    verify_timeout: Duration,
    settle_timeout: Duration,
    calls_in_flight: usize,
}

fn read_http(reader: &mut Reader<'_>, section: &Section<'_>) -> Unaddressed {
    let settle_timeout = section.timeout(reader, "settle_timeout", SETTLE_DEFAULT);
    let read_timeout = section.timeout(reader, "read_timeout", READ_DEFAULT);
    if settle_timeout < SETTLE_SAFE {
        reader.report(Diagnostic::warning(
            section.key_span("settle_timeout"),
            "settlements that take longer than this end unknown: the money may have moved",
            "wait at least \"10s\"; \"30s\" is the default",
        ));
    }
    if read_timeout < settle_timeout {
        reader.report(Diagnostic::warning(
            section.key_span("read_timeout"),
            "`read_timeout` is shorter than `settle_timeout`: a slow settlement is cut off before its time",
            format!("make it at least \"{}\"", duration::show(settle_timeout)),
        ));
    }
    Unaddressed {
        bearer: read_bearer(reader, section),
        headers: read_headers(reader, section),
        connect_timeout: section.timeout(reader, "connect_timeout", CONNECT_DEFAULT),
        read_timeout,
        verify_timeout: section.timeout(reader, "verify_timeout", VERIFY_DEFAULT),
        settle_timeout,
        calls_in_flight: section.size(reader, "calls_in_flight", CALLS_IN_FLIGHT, CALLS_IN_FLIGHT_DEFAULT),
    }
}

impl Unaddressed {
    fn with_url(self, reader: &mut Reader<'_>, (url, span): (Url, Span)) -> HttpFacilitator {
        let local = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() == "http" && !local && (self.bearer.is_some() || !self.headers.is_empty()) {
            reader.report(Diagnostic::warning(
                span,
                "credentials travel to this facilitator in the clear",
                "use an https:// URL",
            ));
        }
        HttpFacilitator {
            url,
            bearer: self.bearer,
            headers: self.headers,
            connect_timeout: self.connect_timeout,
            read_timeout: self.read_timeout,
            verify_timeout: self.verify_timeout,
            settle_timeout: self.settle_timeout,
            calls_in_flight: self.calls_in_flight,
        }
    }
}

fn read_bearer(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Secret> {
    let text = section.text(reader, "bearer", BEARER_HELP)?;
    let wrong = if text.value.is_empty() {
        "an empty token"
    } else if text.value.to_ascii_lowercase().starts_with("bearer ") {
        "the word Bearer would be sent twice"
    } else if !text.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        "a token has no spaces, line ends or letters beyond ASCII"
    } else {
        warn_literal(reader, &text);
        return Some(Secret::new(text.value));
    };
    reader.report(Diagnostic::error(text.span, wrong, BEARER_HELP));
    None
}

fn read_headers(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<(String, Secret)> {
    let Some(value) = section.value("headers") else { return Vec::new() };
    let DeValue::Table(table) = value.get_ref() else {
        reader.report(wrong_type(value, "`headers`", "a table of texts", HEADERS_HELP));
        return Vec::new();
    };
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for (name, value) in table.iter() {
        let wrong = match HeaderName::from_bytes(name.get_ref().as_bytes()) {
            Err(_) => Some("not a header's name"),
            Ok(known) if is_own(&known) => Some("the gateway writes this header itself"),
            Ok(known) if known == http::header::AUTHORIZATION && section.value("bearer").is_some() => {
                Some("`bearer` writes this header")
            }
            Ok(known) if headers.iter().any(|(other, _)| other == known.as_str()) => Some("this header is there twice"),
            Ok(known) => {
                if let Some(text) = reader.text(value, "a header's value", HEADERS_HELP) {
                    if HeaderValue::from_str(&text.value).is_err() {
                        let title = "not a header's value: it has line ends or control characters";
                        reader.report(Diagnostic::error(text.span, title, HEADERS_HELP));
                    } else {
                        warn_literal(reader, &text);
                        headers.push((known.as_str().to_owned(), Secret::new(text.value)));
                    }
                }
                None
            }
        };
        if let Some(wrong) = wrong {
            reader.report(Diagnostic::error(name.span(), wrong, HEADERS_HELP));
        }
    }
    headers
}

/// Headers that frame the call.
fn is_own(name: &HeaderName) -> bool {
    use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
    [ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING].contains(name)
}
