//! What a route costs: its price, and when the money moves.

use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::declared::Declarations;
use super::diagnostic::{Diagnostic, Span};
use super::duration;
use super::price::{self, Asked};
use super::rate::{self, Allowance};
use super::section::{Keys, Reader, Section, wrong_type};
use super::way::FullWay;
use crate::x402::Offer;

/// What a route costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// Nothing.
    Free,
    /// One of several ways to pay.
    Priced(Arc<Terms>),
}

/// A priced route's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Every way to pay in the order of `pay`, of the price's table or of the file, before a facilitator has supplied
    /// its `extra`; never empty.
    pub offers: Vec<Offer>,
    /// When the money moves.
    pub settle: SettleMode,
    /// Who verifies, under `on-success`.
    pub verify: Verify,
    /// For how long a receipt opens the route again; `None`: one payment opens one request.
    pub window: Option<Window>,
    /// For how long a settled, undelivered payment opens the route again.
    /// Time alone bounds it: a bound on tries would take what was paid for from an honest client on a bad link.
    pub redeliver: Duration,
    /// Requests that cost nothing.
    pub free: Option<Allowance>,
    /// For people.
    pub description: String,
    /// What the resource answers with.
    pub mime_type: String,
}

/// When the money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleMode {
    /// After the upstream's head, if it is a success.
    OnSuccess,
    /// Before the request is forwarded.
    Before,
    /// While the request is forwarded.
    Overlap,
}

/// Who verifies under `on-success`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// The facilitator, before the request is forwarded.
    Facilitator,
    /// The local checks alone.
    Local,
}

/// `window = "60s"` or `{ for = "60s", uses = 100 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From settlement.
    pub duration: Duration,
    /// Requests it opens, the paid one included; `None`: any number.
    pub uses: Option<u32>,
}

pub(super) const WINDOW: Keys = Keys { section: "`window`", names: &["for", "uses"] };

const REDELIVER_DEFAULT: Duration = Duration::from_secs(600);
/// Travels in the same header as the ways to pay.
const DESCRIPTION_BYTES_MAX: usize = 500;
const MIME_TYPE_BYTES_MAX: usize = 100;

/// Keys that say something of money.
const MONEY_KEYS: &[&str] = &["pay", "settle", "verify", "window", "redeliver", "free"];

const WINDOW_HELP: &str = "write \"60s\", or { for = \"60s\", uses = 100 }";

/// Where a priced route's price stands.
pub(super) struct Priced {
    pub(super) at: Span,
}

/// Reads a route's price and everything that hangs on it.
pub(super) fn read(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    ways: &Declarations<FullWay>,
) -> Option<(Charge, Option<Priced>)> {
    let asked = price::read(reader, section, ways);
    let settle = section.choice(
        reader,
        "settle",
        &[("on-success", SettleMode::OnSuccess), ("before", SettleMode::Before), ("overlap", SettleMode::Overlap)],
    );
    let settle = settle.map_or(SettleMode::OnSuccess, |at| at.value);
    let verify = read_verify(reader, section, settle);
    let window = read_window(reader, section);
    let redeliver = section.timeout(reader, "redeliver", REDELIVER_DEFAULT);
    let free = rate::read_free(reader, section);
    let description = read_description(reader, section);
    let mime_type = read_mime_type(reader, section);
    match asked {
        Asked::Wrong => None,
        Asked::Free => {
            warn_of_money_keys(reader, section);
            Some((Charge::Free, None))
        }
        Asked::Ways(ways) => {
            let offers: Vec<Option<Offer>> =
                ways.into_iter().map(|(name, way, asked)| price::offer(reader, name, way, &asked)).collect();
            let offers = offers.into_iter().collect::<Option<Vec<Offer>>>()?;
            let at = section.value("price")?.span();
            price::warn_of_twins(reader, &offers, &at);
            let terms = Terms { offers, settle, verify, window, redeliver, free, description, mime_type };
            Some((Charge::Priced(Arc::new(terms)), Some(Priced { at })))
        }
    }
}

fn read_verify(reader: &mut Reader<'_>, section: &Section<'_>, settle: SettleMode) -> Verify {
    let verify = section.choice(reader, "verify", &[("facilitator", Verify::Facilitator), ("local", Verify::Local)]);
    let Some(verify) = verify else { return Verify::Facilitator };
    match settle {
        SettleMode::OnSuccess => {}
        SettleMode::Before | SettleMode::Overlap => {
            let title = "`verify` is for `settle = \"on-success\"`: the other modes settle, which verifies too";
            reader.report(Diagnostic::error(section.key_span("verify"), title, "take `verify` out"));
        }
    }
    verify.value
}

fn read_window(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Window> {
    let value = section.value("window")?;
    match value.get_ref() {
        DeValue::Table(table) => {
            let inner = Section::open(reader, "`window`", value.span(), table, &WINDOW);
            if inner.value("for").is_none() {
                inner.missing(reader, "for", WINDOW_HELP);
            }
            let duration = inner.duration(reader, "for", duration::POSITIVE);
            let uses = inner.whole(reader, "uses", 1..=u64::from(u32::MAX));
            let uses = uses.and_then(|at| u32::try_from(at.value).ok());
            Some(Window { duration: duration?.value, uses })
        }
        DeValue::String(_) => {
            let duration = reader.duration(value, "`window`", duration::POSITIVE)?.value;
            Some(Window { duration, uses: None })
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
            reader.report(wrong_type(value, "`window`", "a duration or a table", WINDOW_HELP));
            None
        }
    }
}

fn read_description(reader: &mut Reader<'_>, section: &Section<'_>) -> String {
    let help = "write one sentence for people, of at most 500 bytes";
    let Some(text) = section.text(reader, "description", help) else { return String::new() };
    if text.value.len() > DESCRIPTION_BYTES_MAX {
        reader.report(Diagnostic::error(text.span, "`description` is too long: it travels in a header", help));
    }
    text.value
}

fn read_mime_type(reader: &mut Reader<'_>, section: &Section<'_>) -> String {
    let help = "write a media type such as \"application/json\"";
    let Some(text) = section.text(reader, "mime_type", help) else { return String::new() };
    let fits = text.value.len() <= MIME_TYPE_BYTES_MAX
        && text.value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && text.value.split_once('/').is_some_and(|(kind, subtype)| !kind.is_empty() && !subtype.is_empty());
    if !fits {
        reader.report(Diagnostic::error(text.span, "not a media type", help));
    }
    text.value
}

/// A route may be made free for a while by one word, so that these keys are no error.
fn warn_of_money_keys(reader: &mut Reader<'_>, section: &Section<'_>) {
    for key in MONEY_KEYS {
        if section.value(key).is_some() {
            let title = format!("`{key}` has no effect on a free route");
            let help = "take it out, or give the route a price";
            reader.report(Diagnostic::warning(section.key_span(key), title, help));
        }
    }
}
