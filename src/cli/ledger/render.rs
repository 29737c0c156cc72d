//! Payments and sums as a table for people, and as JSON and CSV for programs.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Row, Table, presets};
use serde::Serialize;

use super::moment;
use super::tokens::Tokens;
use crate::ledger::{GroupBy, Record, State, Total};
use crate::money::Amount;

/// Digits of a payment's id in a table.
const ID_DIGITS: usize = 12;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    /// A JSON object a line.
    Lines,
    Csv,
}

/// A payment in full, as programs read it: amounts in atomic units, times in RFC 3339.
#[derive(Serialize)]
struct Full<'a> {
    id: &'a str,
    state: State,
    route: &'a str,
    host: &'a str,
    payer: &'a str,
    network: &'a str,
    asset: &'a str,
    amount: Amount,
    way: &'a str,
    facilitator: Option<&'a str>,
    transaction: Option<&'a str>,
    error: Option<&'a str>,
    reserved_at: String,
    updated_at: String,
    settled_at: Option<String>,
    delivered_at: Option<String>,
    uses: u32,
    by_operator: bool,
}

impl<'a> From<&'a Record> for Full<'a> {
    fn from(record: &'a Record) -> Full<'a> {
        Full {
            id: record.id.as_str(),
            state: record.state,
            route: &record.route,
            host: &record.host,
            payer: &record.payer,
            network: record.network.caip2(),
            asset: &record.asset,
            amount: record.amount,
            way: &record.way,
            facilitator: record.facilitator.as_deref(),
            transaction: record.transaction.as_deref(),
            error: record.error.as_deref(),
            reserved_at: moment::exact(record.reserved_at),
            updated_at: moment::exact(record.updated_at),
            settled_at: record.settled_at.map(moment::exact),
            delivered_at: record.delivered_at.map(moment::exact),
            uses: record.uses,
            by_operator: record.by_operator,
        }
    }
}

/// The columns of [`Full`], for a CSV that has no payments.
const FULL_COLUMNS: [&str; 18] = [
    "id",
    "state",
    "route",
    "host",
    "payer",
    "network",
    "asset",
    "amount",
    "way",
    "facilitator",
    "transaction",
    "error",
    "reserved_at",
    "updated_at",
    "settled_at",
    "delivered_at",
    "uses",
    "by_operator",
];

/// A list as it grows. A table is held back to align its columns; JSON and CSV are written at once.
pub(super) enum Sheet<'a, W: Write> {
    Table { table: Box<Table>, tokens: &'a Tokens, out: &'a mut W },
    Json { empty: bool, out: &'a mut W },
    Lines { out: &'a mut W },
    Csv { writer: Box<csv::Writer<&'a mut W>> },
}

impl<'a, W: Write> Sheet<'a, W> {
    pub(super) fn new(format: Format, tokens: &'a Tokens, out: &'a mut W) -> io::Result<Sheet<'a, W>> {
        Ok(match format {
            Format::Table => {
                let columns = [
                    "id",
                    "state",
                    "time",
                    "route",
                    "payer",
                    "network",
                    "amount",
                    "facilitator",
                    "transaction",
                    "delivered",
                    "error",
                ];
                Sheet::Table { table: Box::new(table(&columns)), tokens, out }
            }
            Format::Json => Sheet::Json { empty: true, out },
            Format::Lines => Sheet::Lines { out },
            Format::Csv => Sheet::Csv { writer: Box::new(csv_with_head(&FULL_COLUMNS, out)?) },
        })
    }

    pub(super) fn add(&mut self, record: &Record) -> io::Result<()> {
        match self {
            Sheet::Table { table, tokens, .. } => {
                table.add_row(line(record, tokens));
                Ok(())
            }
            Sheet::Json { empty, out } => {
                out.write_all(if *empty { b"[\n" } else { b",\n" })?;
                *empty = false;
                serde_json::to_writer(out, &Full::from(record)).map_err(io::Error::from)
            }
            Sheet::Lines { out } => {
                serde_json::to_writer(&mut **out, &Full::from(record))?;
                out.write_all(b"\n")
            }
            Sheet::Csv { writer } => writer.serialize(Full::from(record)).map_err(output),
        }
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Sheet::Table { table, out, .. } => print(&table, out, "no payments"),
            Sheet::Json { empty, out } => out.write_all(if empty { b"[]\n" } else { b"\n]\n" }),
            Sheet::Lines { .. } => Ok(()),
            Sheet::Csv { mut writer } => writer.flush(),
        }
    }
}

fn line(record: &Record, tokens: &Tokens) -> Row {
    let blank = |text: Option<&str>| plain(text.unwrap_or_default());
    Row::from(vec![
        Cell::new(record.id.as_str().get(..ID_DIGITS).unwrap_or_default()),
        Cell::new(record.state.name()),
        Cell::new(moment::short(record.reserved_at)),
        plain(&record.route),
        plain(&record.payer),
        Cell::new(record.network.alias()),
        plain(&tokens.amount(&record.network, &record.asset, record.amount)).set_alignment(CellAlignment::Right),
        plain(&resolved_by(record)),
        blank(record.transaction.as_deref()),
        Cell::new(record.delivered_at.map(moment::short).unwrap_or_default()),
        blank(record.error.as_deref()),
    ])
}

/// The facilitator, and whether an operator decided in its place.
fn resolved_by(record: &Record) -> String {
    let facilitator = record.facilitator.as_deref().unwrap_or_default();
    match (record.by_operator, facilitator) {
        (false, name) => name.to_owned(),
        (true, "") => "(operator)".to_owned(),
        (true, name) => format!("{name} (operator)"),
    }
}

/// Writes sums; a table of them in whole tokens, JSON and CSV in atomic units.
pub(super) fn totals(
    totals: &[Total],
    by: GroupBy,
    format: Format,
    tokens: &Tokens,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        Format::Table => {
            let group = match by {
                GroupBy::Route => "route",
                GroupBy::Day => "day",
                GroupBy::Payer => "payer",
            };
            let mut table = table(&[group, "network", "payments", "delivered", "amount"]);
            for total in totals {
                let right = |text: String| plain(&text).set_alignment(CellAlignment::Right);
                table.add_row(Row::from(vec![
                    plain(&total.group),
                    Cell::new(total.network.alias()),
                    right(total.payments.to_string()),
                    right(total.delivered.to_string()),
                    right(tokens.amount(&total.network, &total.asset, total.amount)),
                ]));
            }
            print(&table, out, "no settled payments")
        }
        Format::Json | Format::Lines => {
            serde_json::to_writer_pretty(&mut *out, totals)?;
            out.write_all(b"\n")
        }
        Format::Csv => {
            let mut writer =
                csv_with_head(&["group", "network", "asset", "payments", "delivered", "amount"], &mut *out)?;
            for total in totals {
                writer.serialize(total).map_err(output)?;
            }
            writer.flush()
        }
    }
}

fn csv_with_head<W: Write>(columns: &[&str], out: W) -> io::Result<csv::Writer<W>> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(columns).map_err(output)?;
    Ok(writer)
}

/// The fault underneath: csv's own conversion hides that a pipe was closed.
fn output(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().copied());
    table
}

fn print(table: &Table, out: &mut impl Write, nothing: &str) -> io::Result<()> {
    if table.is_empty() {
        return writeln!(out, "{nothing}");
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A text that others wrote (a facilitator's error, a payer that it named), without what could steer a terminal.
fn plain(text: &str) -> Cell {
    Cell::new(text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::x402::{Network, PaymentId};

    fn record() -> Record {
        Record {
            id: PaymentId::parse(&"ab".repeat(32)).unwrap(),
            digest: [1; 32],
            state: State::Settled,
            route: "premium, \"gold\"".into(),
            host: "api.example.com".into(),
            payer: "0xAb".into(),
            network: Network::parse("base-sepolia").unwrap(),
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
            amount: Amount::from(10_000),
            way: "usdc".into(),
            facilitator: Some("main".into()),
            transaction: Some("0xaa".into()),
            error: None,
            reserved_at: 1_795_176_000_123,
            updated_at: 1_795_176_001_000,
            settled_at: Some(1_795_176_001_000),
            delivered_at: None,
            uses: 3,
            by_operator: false,
        }
    }

    fn written(format: Format, records: &[Record]) -> String {
        let mut out = Vec::new();
        let tokens = Tokens::default();
        let mut sheet = Sheet::new(format, &tokens, &mut out).unwrap();
        records.iter().try_for_each(|record| sheet.add(record)).unwrap();
        sheet.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_for_people() {
        let table = written(Format::Table, &[record()]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
        let cells: Vec<_> = lines[1].iter().filter(|cell| !cell.is_empty()).copied().collect();
        let expected = [
            "abababababab",
            "settled",
            "2026-11-20T12:00:00Z",
            "premium, \"gold\"",
            "0xAb",
            "base-sepolia",
            "0.01 USDC",
            "main",
            "0xaa",
        ];
        assert_eq!(cells, expected);
        assert_eq!(written(Format::Table, &[]), "no payments\n");
    }

    #[test]
    fn json_is_an_array_of_full_values() {
        for count in 0..3 {
            let json: serde_json::Value = serde_json::from_str(&written(Format::Json, &vec![record(); count])).unwrap();
            assert_eq!(json.as_array().unwrap().len(), count);
        }
        let json: serde_json::Value = serde_json::from_str(&written(Format::Json, &[record()])).unwrap();
        let expected = serde_json::json!([{
            "id": "ab".repeat(32), "state": "settled", "route": "premium, \"gold\"", "host": "api.example.com",
            "payer": "0xAb", "network": "eip155:84532", "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
            "amount": "10000", "way": "usdc", "facilitator": "main", "transaction": "0xaa", "error": null,
            "reserved_at": "2026-11-20T12:00:00.123Z", "updated_at": "2026-11-20T12:00:01.000Z",
            "settled_at": "2026-11-20T12:00:01.000Z", "delivered_at": null, "uses": 3,
            "by_operator": false,
        }]);
        assert_eq!(json, expected);
    }

    #[test]
    fn csv_has_the_columns_of_json_also_without_payments() {
        let json: serde_json::Value = serde_json::to_value(Full::from(&record())).unwrap();
        let mut names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut columns = FULL_COLUMNS.to_vec();
        names.sort_unstable();
        columns.sort_unstable();
        assert_eq!(names, columns);

        assert_eq!(written(Format::Csv, &[]).trim_end(), FULL_COLUMNS.join(","));
        let csv = written(Format::Csv, &[record()]);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let heads = reader.headers().unwrap().clone();
        let row = reader.records().next().unwrap().unwrap();
        let cell = |name: &str| row.get(heads.iter().position(|head| head == name).unwrap()).unwrap();
        assert_eq!((cell("amount"), cell("route"), cell("delivered_at")), ("10000", "premium, \"gold\"", ""));
        assert_eq!((cell("state"), cell("uses")), ("settled", "3"));
    }

    #[test]
    fn sums_are_in_units_for_people_and_atomic_for_programs() {
        let total = Total {
            group: "premium".into(),
            network: record().network,
            asset: record().asset,
            payments: 3,
            delivered: 2,
            amount: Amount::from(30_000),
        };
        let written = |format, totals: &[Total]| {
            let mut out = Vec::new();
            super::totals(totals, GroupBy::Route, format, &Tokens::default(), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(written(Format::Table, std::slice::from_ref(&total)).contains("0.03 USDC"));
        let csv = "group,network,asset,payments,delivered,amount\n\
                   premium,eip155:84532,0x036CbD53842c5426634e7929541eC2318f3dCF7e,3,2,30000\n";
        assert_eq!(written(Format::Csv, std::slice::from_ref(&total)), csv);
        let json: serde_json::Value = serde_json::from_str(&written(Format::Json, &[total])).unwrap();
        assert_eq!((&json[0]["amount"], &json[0]["payments"]), (&"30000".into(), &3.into()));
        assert_eq!(written(Format::Json, &[]), "[]\n");
        assert_eq!(written(Format::Table, &[]), "no settled payments\n");
    }

    #[test]
    fn what_others_wrote_cannot_steer_a_terminal() {
        let hostile = Record { error: Some(Arc::from("\u{1b}[2Jgone\r\n\u{9b}2J\u{7}")), ..record() };
        let table = written(Format::Table, &[hostile]);
        assert!(table.contains("[2Jgone"));
        assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
    }
}
