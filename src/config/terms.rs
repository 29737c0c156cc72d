//! What a route costs: its price, and when the money moves.

use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::declared::{Declarations, Declared};
use super::diagnostic::{Diagnostic, Span};
use super::duration;
use super::rate::{self, Allowance};
use super::section::{At, Keys, Reader, Section, Text, wrong_type};
use super::way::FullWay;
use crate::money::{Price, PriceError};
use crate::x402::Offer;
use crate::x402::offer::Scheme;

/// What a route costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// Nothing.
    Free,
    /// One of several ways to pay.
    Priced(Terms),
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
/// All ways of a route travel in one header: about 600 bytes each, and clients take 16 KiB.
const WAYS_MAX: usize = 16;
/// Travels in the same header.
const DESCRIPTION_BYTES_MAX: usize = 500;
const MIME_TYPE_BYTES_MAX: usize = 100;

/// Keys that say something of money.
const MONEY_KEYS: &[&str] = &["pay", "settle", "verify", "window", "redeliver", "free"];

const PRICE_HELP: &str = "write \"free\", a price such as \"$0.01\", or one per way to pay such as { usdc = \"0.01\" }";
const PAY_HELP: &str = "write `pay = [\"usdc\"]` with the NAMEs of [pay.NAME]";
const WINDOW_HELP: &str = "write \"60s\", or { for = \"60s\", uses = 100 }";

/// Where a priced route's price stands.
pub(super) struct Priced {
    pub(super) at: Span,
}

/// What `price` and `pay` say together.
enum Asked<'a> {
    Free,
    /// A price for each way, in the order in which they are offered.
    Ways(Vec<(&'a Arc<str>, &'a Declared<FullWay>, At<Price>)>),
    /// Already reported.
    Wrong,
}

/// Reads a route's price and everything that hangs on it.
pub(super) fn read(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    ways: &Declarations<FullWay>,
) -> Option<(Charge, Option<Priced>)> {
    let asked = read_price(reader, section, ways);
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
                ways.into_iter().map(|(name, way, price)| offer(reader, name, way, &price)).collect();
            let offers = offers.into_iter().collect::<Option<Vec<Offer>>>()?;
            let at = section.value("price")?.span();
            warn_of_twins(reader, &offers, &at);
            let terms = Terms { offers, settle, verify, window, redeliver, free, description, mime_type };
            Some((Charge::Priced(terms), Some(Priced { at })))
        }
    }
}

fn read_price<'a>(reader: &mut Reader<'_>, section: &Section<'_>, ways: &'a Declarations<FullWay>) -> Asked<'a> {
    let pay = section.texts(reader, "pay", PAY_HELP);
    let Some(value) = section.value("price") else {
        section.missing(reader, "price", PRICE_HELP);
        return Asked::Wrong;
    };
    match value.get_ref() {
        DeValue::String(_) => match reader.text(value, "`price`", PRICE_HELP) {
            Some(text) if text.value == "free" => {
                // Its names must be right all the same, and count as used.
                pay.into_iter().flat_map(|pay| pay.value).for_each(|name| {
                    let _ = ways.find(reader, &name);
                });
                Asked::Free
            }
            Some(text) => one_price(reader, &text, pay, ways),
            None => Asked::Wrong,
        },
        DeValue::Table(table) => {
            if section.value("pay").is_some() {
                let title = "`pay` has no place beside a price per way to pay";
                let help = "take `pay` out: the price's own keys are the ways";
                reader.report(Diagnostic::error(section.key_span("pay"), title, help).also(value.span(), "the price"));
            }
            prices_by_way(reader, table, value.span(), ways)
        }
        DeValue::Integer(_) | DeValue::Float(_) => {
            let help =
                "put it in quotes, such as \"0.01\": a price is an exact decimal, and a number here would not be";
            reader.report(wrong_type(value, "`price`", "a text or a table", help));
            Asked::Wrong
        }
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
            reader.report(wrong_type(value, "`price`", "a text or a table", PRICE_HELP));
            Asked::Wrong
        }
    }
}

fn one_price<'a>(
    reader: &mut Reader<'_>,
    text: &Text,
    pay: Option<At<Vec<Text>>>,
    ways: &'a Declarations<FullWay>,
) -> Asked<'a> {
    let price = parse_price(reader, text);
    let mut chosen: Vec<(&Arc<str>, &Declared<FullWay>)> = Vec::new();
    let mut complete = true;
    match pay {
        None => {
            chosen.extend(ways.all());
            if chosen.is_empty() {
                let title = "a price, and no way to pay it";
                let help = "add [pay.NAME] with network, asset, pay_to and facilitators";
                reader.report(Diagnostic::absence(text.span.clone(), title, help));
                complete = false;
            }
        }
        Some(pay) => {
            if pay.value.is_empty() {
                reader.report(Diagnostic::error(pay.span.clone(), "`pay` is empty: nobody could pay", PAY_HELP));
                complete = false;
            }
            for name in &pay.value {
                let Some(found) = ways.find(reader, name) else {
                    complete = false;
                    continue;
                };
                if chosen.iter().any(|(other, _)| *other == found.0) {
                    let title = "this way to pay is named twice";
                    reader.report(Diagnostic::error(name.span.clone(), title, "name each way once"));
                    complete = false;
                }
                chosen.push(found);
            }
        }
    }
    let too_many = report_too_many(reader, chosen.len(), &text.span);
    match price {
        Some(price) if complete && !too_many => {
            Asked::Ways(chosen.into_iter().map(|(name, way)| (name, way, price.clone())).collect())
        }
        Some(_) | None => Asked::Wrong,
    }
}

fn prices_by_way<'a>(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    span: Span,
    ways: &'a Declarations<FullWay>,
) -> Asked<'a> {
    if table.is_empty() {
        reader.report(Diagnostic::error(span, "`price` is empty: nobody could pay", PRICE_HELP));
        return Asked::Wrong;
    }
    let mut complete = !report_too_many(reader, table.len(), &span);
    let mut asked = Vec::new();
    let mut prices: Vec<_> = table.iter().collect();
    prices.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in prices {
        let named = Text {
            value: name.get_ref().as_ref().to_owned(),
            span: name.span(),
            origin: super::reference::Origin::Literal,
        };
        let way = ways.find(reader, &named);
        let help = "write a price in quotes, such as \"0.01\"";
        let price = reader.text(value, "a price", help).and_then(|text| parse_price(reader, &text));
        match (way, price) {
            (Some((name, way)), Some(price)) => asked.push((name, way, price)),
            (None | Some(_), _) => complete = false,
        }
    }
    if complete { Asked::Ways(asked) } else { Asked::Wrong }
}

fn report_too_many(reader: &mut Reader<'_>, count: usize, at: &Span) -> bool {
    let too_many = count > WAYS_MAX;
    if too_many {
        let title = format!("{count} ways to pay for one route: clients do not read so long a header");
        let help = format!("offer at most {WAYS_MAX}; `pay` chooses among them");
        reader.report(Diagnostic::error(at.clone(), title, help));
    }
    too_many
}

fn parse_price(reader: &mut Reader<'_>, text: &Text) -> Option<At<Price>> {
    let help = match text.value.parse() {
        Ok(price) => return Some(At { value: price, span: text.span.clone() }),
        Err(PriceError::Zero) => "write \"free\" for a route that costs nothing",
        Err(PriceError::NotADecimal) => "write a decimal such as \"$0.01\" or \"0.01\", or \"free\"",
        Err(PriceError::TooFine { .. } | PriceError::TooLarge) => "write a smaller price",
    };
    let title = match text.value.parse::<Price>() {
        Err(PriceError::Zero) => "a price of zero",
        Err(PriceError::TooLarge) => "a price that no token could pay",
        Ok(_) | Err(PriceError::NotADecimal | PriceError::TooFine { .. }) => "not a price",
    };
    reader.report(Diagnostic::error(text.span.clone(), title, help));
    None
}

/// `None` where the way is wrong, which its own section has reported, or where the price does not fit it.
fn offer(reader: &mut Reader<'_>, name: &Arc<str>, way: &Declared<FullWay>, price: &At<Price>) -> Option<Offer> {
    let way = way.value.as_ref()?;
    let decimals = way.asset.decimals;
    match price.value.to_atomic(decimals) {
        Ok(amount) => Some(Offer {
            way: name.clone(),
            scheme: Scheme::Exact,
            network: way.network.clone(),
            asset: way.asset.clone(),
            amount,
            pay_to: way.pay_to.clone(),
            max_timeout_seconds: way.max_timeout_seconds,
            extra: way.extra.clone(),
        }),
        Err(error) => {
            let title = format!("the price does not fit `{name}`: {error}");
            let help = match error {
                PriceError::TooLarge => "write a smaller price".to_owned(),
                PriceError::TooFine { .. } | PriceError::NotADecimal | PriceError::Zero => {
                    format!("write at most {decimals} digits behind the point")
                }
            };
            reader.report(
                Diagnostic::error(price.span.clone(), title, help).also(way.asset_at.clone(), "paid in this token"),
            );
            None
        }
    }
}

/// Two offers that a payment cannot tell apart: the second one's facilitators would never be asked.
fn warn_of_twins(reader: &mut Reader<'_>, offers: &[Offer], at: &Span) {
    for (index, offer) in offers.iter().enumerate() {
        let twin = offers.iter().take(index).find(|other| {
            other.network == offer.network && other.asset.address == offer.asset.address && other.pay_to == offer.pay_to
        });
        if let Some(twin) = twin {
            let title = format!("`{}` and `{}` ask for the same token, for the same account", twin.way, offer.way);
            let help = "offer one of them; a way to pay may have several facilitators";
            reader.report(Diagnostic::warning(at.clone(), title, help));
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
            let inner = Section::open(reader, "`window`".to_owned(), value.span(), table, &WINDOW);
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
