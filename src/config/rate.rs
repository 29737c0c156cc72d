//! How often: rates such as `"100/min"`, a route's `limit` and its free allowance.

use std::fmt;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::duration;
use super::section::{Keys, Reader, Section, Text, wrong_type};

/// So often in so long a time: `"100/min"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How often, 1 to 1,000,000.
    pub count: u32,
    /// In how long a time: a second, a minute, an hour or a day.
    pub per: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, per)| *per == self.per).map_or("?", |(unit, _)| unit);
        write!(f, "{}/{unit}", self.count)
    }
}

/// A route's `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimit {
    /// How often.
    pub rate: Rate,
    /// Who.
    pub by: LimitBy,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitBy {
    /// Those of one client address.
    Client,
    /// Those of one payer, as a pass or a signature proves it.
    Payer,
}

/// A priced route's `free`: requests of one client address that cost nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many.
    pub uses: u32,
    /// For so long, from the first one.
    pub per: Duration,
}

pub(super) const LIMIT: Keys = Keys { section: "`limit`", names: &["rate", "by"] };
pub(super) const FREE: Keys = Keys { section: "`free`", names: &["uses", "per"] };

const UNITS: [(&str, Duration); 4] = [
    ("s", Duration::from_secs(1)),
    ("min", Duration::from_secs(60)),
    ("h", Duration::from_secs(60 * 60)),
    ("d", Duration::from_secs(24 * 60 * 60)),
];
/// At one a microsecond, the clock that it is measured with ends.
const COUNT_MAX: u32 = 1_000_000;

const RATE_HELP: &str =
    "write a number up to 1000000 and a time, such as \"10/s\", \"100/min\", \"1000/h\" or \"5000/d\"";
const LIMIT_HELP: &str = "write \"100/min\", or { rate = \"100/min\", by = \"payer\" }";
const FREE_HELP: &str = "write { uses = 10, per = \"1d\" }";

fn parse(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    // `parse` would take a sign.
    let count = Some(count).filter(|count| count.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let (_, per) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    (1..=COUNT_MAX).contains(&count).then_some(Rate { count, per })
}

fn rate_of(reader: &mut Reader<'_>, text: &Text) -> Option<Rate> {
    let rate = parse(&text.value);
    if rate.is_none() {
        reader.report(Diagnostic::error(text.span.clone(), "not a rate", RATE_HELP));
    }
    rate
}

/// A rate with a default.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>, key: &'static str, default: Rate) -> Rate {
    section.text(reader, key, RATE_HELP).and_then(|text| rate_of(reader, &text)).unwrap_or(default)
}

/// A route's `limit`. `is_free`: nobody pays there.
pub(super) fn read_limit(reader: &mut Reader<'_>, section: &Section<'_>, is_free: bool) -> Option<RouteLimit> {
    let value: &Spanned<DeValue<'_>> = section.value("limit")?;
    match value.get_ref() {
        DeValue::Table(table) => {
            let inner = Section::open(reader, "`limit`", value.span(), table, &LIMIT);
            let rate = inner.required_text(reader, "rate", RATE_HELP).and_then(|text| rate_of(reader, &text));
            let by = inner.choice(reader, "by", &[("client", LimitBy::Client), ("payer", LimitBy::Payer)]);
            if let Some(by) = &by
                && by.value == LimitBy::Payer
                && is_free
            {
                let title = "nobody pays on a free route: it cannot be limited by payer";
                let help = "write `by = \"client\"`, or give the route a price";
                reader.report(Diagnostic::error(by.span.clone(), title, help));
            }
            Some(RouteLimit { rate: rate?, by: by.map_or(LimitBy::Client, |by| by.value) })
        }
        DeValue::String(_) => {
            let text = reader.text(value, "`limit`", RATE_HELP)?;
            Some(RouteLimit { rate: rate_of(reader, &text)?, by: LimitBy::Client })
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
            reader.report(wrong_type(value, "`limit`", "a rate or a table", LIMIT_HELP));
            None
        }
    }
}

/// A priced route's `free`.
pub(super) fn read_free(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Allowance> {
    let value = section.value("free")?;
    let DeValue::Table(table) = value.get_ref() else {
        reader.report(wrong_type(value, "`free`", "a table", FREE_HELP));
        return None;
    };
    let inner = Section::open(reader, "`free`", value.span(), table, &FREE);
    for key in FREE.names.iter().filter(|key| !table.contains_key(**key)) {
        inner.missing(reader, key, FREE_HELP);
    }
    let uses = inner.whole(reader, "uses", 1..=u64::from(COUNT_MAX));
    let per = inner.duration(reader, "per", duration::POSITIVE);
    Some(Allowance { uses: u32::try_from(uses?.value).ok()?, per: per?.value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_or_refused() {
        let cases = [
            ("10/s", Some((10, 1))),
            ("100/min", Some((100, 60))),
            ("1000/h", Some((1000, 3600))),
            ("5000/d", Some((5000, 86_400))),
            ("1/s", Some((1, 1))),
            ("1000000/s", Some((1_000_000, 1))),
            ("1000001/s", None),
            ("0/s", None),
            ("-1/s", None),
            ("+1/s", None),
            ("1.5/s", None),
            ("99999999999/d", None),
            ("100", None),
            ("/min", None),
            ("100/", None),
            ("100/m", None),
            ("100/MIN", None),
            ("100 / min", None),
            ("100/min/s", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let rate = parse(text);
            assert_eq!(rate.map(|rate| (rate.count, rate.per.as_secs())), expected, "{text:?}");
            if let Some(rate) = rate {
                assert_eq!(rate.to_string(), text);
            }
        }
    }
}
