//! A route's `price`, for each of its ways to pay.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::declared::{Declarations, Declared};
use super::diagnostic::{Diagnostic, Span};
use super::section::{At, Reader, Section, Text, wrong_type};
use super::way::FullWay;
use crate::money::{Price, PriceError};
use crate::x402::Offer;
use crate::x402::offer::Scheme;

/// All ways of a route travel in one header: about 600 bytes each, and clients take 16 KiB.
const WAYS_MAX: usize = 16;

const PRICE_HELP: &str = "write \"free\", a price such as \"$0.01\", or one per way to pay such as { usdc = \"0.01\" }";
const PAY_HELP: &str = "write `pay = [\"usdc\"]` with the NAMEs of [pay.NAME]";

/// What `price` and `pay` say together.
pub(super) enum Asked<'a> {
    Free,
    /// A price for each way, in the order in which they are offered.
    Ways(Vec<(&'a Arc<str>, &'a Declared<FullWay>, At<Price>)>),
    /// Already reported.
    Wrong,
}

/// Reads `price` and `pay`.
pub(super) fn read<'a>(reader: &mut Reader<'_>, section: &Section<'_>, ways: &'a Declarations<FullWay>) -> Asked<'a> {
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

/// What is asked for one way; `None` where the way is wrong, which its own section has reported, or where the price
/// does not fit it.
pub(super) fn offer(
    reader: &mut Reader<'_>,
    name: &Arc<str>,
    way: &Declared<FullWay>,
    price: &At<Price>,
) -> Option<Offer> {
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
pub(super) fn warn_of_twins(reader: &mut Reader<'_>, offers: &[Offer], at: &Span) {
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
