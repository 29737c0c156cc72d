//! What `farebox pay` shows: terms and receipts for people on stderr, bodies and JSON on stdout.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use http::{HeaderMap, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};

use super::exchange::{Receipt, Unpaid, body_up_to};
use crate::x402::SettlementResponse;

/// Bytes of a body that go into a JSON document.
const DOCUMENT_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Characters of a seller's text that are shown on a line.
const SHOWN_CHARS_MAX: usize = 400;
/// The header in which a Farebox hands out a pass.
const PASS: &str = "farebox-pass";

/// A seller's text for a terminal: without control characters, which could draw other terms over the real ones.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .take(SHOWN_CHARS_MAX)
        .map(|c| if c.is_control() || is_bidi_control(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Characters that turn the direction of the text around them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What is to be paid, for whoever pays to read.
pub(super) fn terms(unpaid: &Unpaid) -> String {
    let quote = &unpaid.quote;
    let mut text = format!("{} costs {}\n", printable(unpaid.url.as_str()), quote.units());
    // What the seller calls it, where that is not what was asked for.
    let resource = if quote.resource.url == unpaid.url.as_str() { "" } else { &quote.resource.url };
    let version = quote.dialect.version();
    let rows = [
        ("amount", format!("{} atomic units of {} ({})", quote.amount, quote.asset.symbol, quote.asset.address)),
        ("network", format!("{} ({})", quote.network.alias(), quote.network)),
        ("to", quote.pay_to.to_checksum(None)),
        ("for", printable(&quote.resource.description)),
        ("resource", printable(resource)),
        ("terms", format!("x402 v{version}: {}", printable(unpaid.terms.error().unwrap_or("payment required")))),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "  {name:<8} {value}");
    }
    text
}

/// An answer for which nothing was asked.
pub(super) fn free(status: StatusCode, headers: &HeaderMap) -> String {
    format!("{status}, nothing to pay\n{}", hints(headers))
}

/// What came of a payment.
pub(super) fn receipt(receipt: &Receipt, status: StatusCode, headers: &HeaderMap) -> String {
    let again =
        if receipt.sends > 1 { format!(" (the payment was sent {} times)", receipt.sends) } else { String::new() };
    format!("{status}{again}\n{}{}", settlement(receipt.settlement.as_ref()), hints(headers))
}

fn settlement(settlement: Option<&SettlementResponse>) -> String {
    let Some(settlement) = settlement else {
        return "  the answer does not say what became of the payment\n".to_owned();
    };
    let mut text = match (settlement.success, &settlement.error_reason) {
        (true, _) => "  settled\n".to_owned(),
        (false, Some(reason)) => format!("  not settled: {}\n", printable(reason)),
        (false, None) => "  not settled\n".to_owned(),
    };
    let payer = settlement.payer.as_deref().unwrap_or_default();
    for (name, value) in
        [("transaction", settlement.transaction.as_str()), ("network", &settlement.network), ("payer", payer)]
    {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<11} {}", printable(value));
        }
    }
    text
}

fn hints(headers: &HeaderMap) -> String {
    let mut text = String::new();
    if let Some(pass) = headers.get(PASS).and_then(|value| value.to_str().ok()) {
        let _ = writeln!(text, "  until its window ends, this opens the route again: -H '{PASS}: {}'", printable(pass));
    }
    if let Some(location) = headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok()) {
        let _ = writeln!(text, "  redirected (not followed): {}", printable(location));
    }
    text
}

/// An unpaid answer as one JSON document.
pub(super) fn print_unpaid(unpaid: &Unpaid) -> Result<(), Box<dyn Error>> {
    unless_closed(writeln!(io::stdout(), "{:#}", document(unpaid, None)))
}

fn document(unpaid: &Unpaid, receipt: Option<&Receipt>) -> Value {
    let quote = &unpaid.quote;
    json!({
        "status": unpaid.status.as_u16(),
        "terms": unpaid.terms.json,
        "quote": {
            "x402Version": quote.dialect.version(),
            "network": quote.network.caip2(),
            "asset": quote.asset.address,
            "symbol": quote.asset.symbol,
            "amount": quote.amount,
            "units": quote.amount.to_units(quote.asset.decimals),
            "payTo": quote.pay_to.to_checksum(None),
        },
        "payment": receipt.map(|receipt| &receipt.payment.json),
        "sends": receipt.map_or(0, |receipt| receipt.sends),
        "settlement": receipt.and_then(|receipt| receipt.settlement.as_ref()),
    })
}

/// The whole exchange as one JSON document.
pub(super) async fn print_document(
    unpaid: Option<&Unpaid>,
    receipt: Option<&Receipt>,
    response: Response,
) -> Result<(), Box<dyn Error>> {
    let mut document = unpaid.map_or_else(|| json!({}), |unpaid| document(unpaid, receipt));
    let status = response.status().as_u16();
    let body = body_up_to(response, DOCUMENT_BODY_BYTES_MAX).await?;
    if let Some(fields) = document.as_object_mut() {
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
        fields.insert("status".to_owned(), status.into());
        fields.insert("body".to_owned(), body);
    }
    unless_closed(writeln!(io::stdout(), "{document:#}"))
}

/// A body as it comes, chunk by chunk.
pub(super) async fn print_body(mut response: Response) -> Result<(), Box<dyn Error>> {
    while let Some(chunk) = response.chunk().await? {
        let mut stdout = io::stdout().lock();
        unless_closed(stdout.write_all(&chunk).and_then(|()| stdout.flush()))?;
    }
    Ok(())
}

/// A reader that has read enough (`| head`) is no trouble.
fn unless_closed(written: io::Result<()>) -> Result<(), Box<dyn Error>> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
