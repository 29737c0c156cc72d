//! A look at what everybody answers: whether it is alike, whether it asks for the same payment, and how long it is.

use std::net::SocketAddr;

use bytes::Bytes;
use farebox::x402::header;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::Failure;
use super::gateway::{AMOUNT, ASSET, PAY_TO};
use super::payer::{answer, blocking, client, get};
use super::rows::{PRICED, Row, SMALL};

/// An error unless both say the same on both routes, without payment.
pub fn same_answers(bare: SocketAddr, farebox: SocketAddr) -> Result<(), Failure> {
    blocking(async {
        let client = client()?;
        for path in [PRICED, SMALL.free] {
            let [mut theirs, mut ours] = [
                answer(get(&client, bare, path, None).await?).await?,
                answer(get(&client, farebox, path, None).await?).await?,
            ];
            theirs.headers.sort();
            ours.headers.sort();
            if (theirs.status, &theirs.headers, &theirs.body) != (ours.status, &ours.headers, &ours.body) {
                let shown = serde_json::to_string_pretty(&[theirs, ours])?;
                return Err(format!("{path}: the bare proxy and Farebox do not answer alike: {shown}").into());
            }
        }
        Ok(())
    })
}

/// The bytes of what a row is answered, head and body.
pub fn answer_bytes(server: SocketAddr, row: &Row) -> Result<usize, Failure> {
    let header = row.request.header.as_ref().map(|(name, value)| (*name, value.as_str()));
    Ok(bytes(&whole_answer(server, row.request.path, header)?))
}

/// The bytes of a server's challenge, head and body; an error unless it asks for the same payment as Farebox.
pub fn challenge_bytes(server: SocketAddr) -> Result<usize, Failure> {
    let answer = whole_answer(server, PRICED, None)?;
    let (status, fields, body) = &answer;
    if *status != StatusCode::PAYMENT_REQUIRED || !asks_for_it(fields, body) {
        return Err(format!("it answers {status} without the terms: {fields:?} {}", body.escape_ascii()).into());
    }
    Ok(bytes(&answer))
}

fn whole_answer(
    server: SocketAddr,
    path: &str,
    header: Option<(&str, &str)>,
) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
    blocking(async {
        let response = get(&client()?, server, path, header).await?;
        let (status, fields) = (response.status(), response.headers().clone());
        Ok((status, fields, response.bytes().await?))
    })
}

fn bytes((status, fields, body): &(StatusCode, HeaderMap, Bytes)) -> usize {
    let line = format!("HTTP/1.1 {status}\r\n").len();
    let fields: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    line + fields + "\r\n".len() + body.len()
}

/// Whether the terms, in x402 v2's header or v1's body, are Farebox's: so much of that token for the same resource.
fn asks_for_it(fields: &HeaderMap, body: &[u8]) -> bool {
    let header = fields.get(header::PAYMENT_REQUIRED);
    let terms = match header.map(|value| header::decode_json::<Value>(value.as_bytes())) {
        Some(terms) => terms.ok(),
        None => serde_json::from_slice(body).ok(),
    };
    let terms = terms.unwrap_or_default();
    let text = |pointer: &&str| terms.pointer(pointer).and_then(Value::as_str);
    let says = |pointers: &[&str], wanted: &str| {
        pointers.iter().filter_map(text).any(|value| value.eq_ignore_ascii_case(wanted))
    };
    says(&["/accepts/0/amount", "/accepts/0/maxAmountRequired"], AMOUNT)
        && says(&["/accepts/0/payTo"], PAY_TO)
        && says(&["/accepts/0/asset"], ASSET)
        && ["/resource/url", "/accepts/0/resource"].iter().filter_map(text).any(|url| url.ends_with(PRICED))
}
