//! A client that pays once, for the pass that the load then shows, and a look at what everybody answers without payment.

use std::net::SocketAddr;

use bytes::Bytes;
use farebox::x402::header;
use reqwest::header::HeaderMap;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use super::Failure;
use super::bare::Challenge;
use super::gateway::{AMOUNT, ASSET, PAY_TO};
use super::rows::{PRICED, Row, SMALL};
use super::sign::sign;

/// What a payment brought.
pub struct Paid {
    /// Opens the priced route.
    pub pass: String,
    /// The payment's header, which does so, too.
    pub payment: String,
    /// A payment's header whose signature is another's.
    pub forged: String,
}

/// Reads the challenge of Farebox's priced route and pays it.
pub fn pay_once(farebox: SocketAddr) -> Result<(Challenge, Paid), Failure> {
    blocking(async {
        let client = client()?;
        let challenge = answer(get(&client, farebox, PRICED, None).await?).await?;
        let terms = challenge.headers.iter().find(|(name, _)| name == header::PAYMENT_REQUIRED);
        let (_, terms) = terms.ok_or("the priced route answers no challenge")?;
        let payment = sign(terms)?;
        let paid = get(&client, farebox, PRICED, Some((header::PAYMENT_SIGNATURE, &payment))).await?;
        let pass = paid.headers().get("farebox-pass").map(|pass| pass.to_str().map(str::to_owned)).transpose()?;
        let pass = pass.ok_or_else(|| format!("paid, and got {} without a pass", paid.status()))?;
        let forged = with_signature_of(&sign(terms)?, &payment)?;
        Ok((challenge, Paid { pass, payment, forged }))
    })
}

/// A payment under the signature of another one: well made, and of somebody else.
fn with_signature_of(payment: &str, other: &str) -> Result<String, Failure> {
    let [mut forged, mut other] = [payment, other].map(|header| header::decode_json::<Value>(header.as_bytes()));
    if let (Ok(forged), Ok(other)) = (&mut forged, &mut other) {
        forged["payload"]["signature"] = other["payload"]["signature"].take();
    }
    Ok(header::encode_json(&forged?))
}

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
    let header = row.header.as_ref().map(|(name, value)| (*name, value.as_str()));
    Ok(bytes(&whole_answer(server, row.path, header)?))
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

fn blocking<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn client() -> Result<Client, Failure> {
    // No TLS is spoken here, but a client is not built without a provider. One may have been installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().no_proxy().build()?)
}

async fn get(
    client: &Client,
    server: SocketAddr,
    path: &str,
    header: Option<(&str, &str)>,
) -> Result<Response, reqwest::Error> {
    let request = client.get(format!("http://{server}{path}")).header("host", "api.example.com");
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    request.send().await
}

async fn answer(response: Response) -> Result<Challenge, Failure> {
    let per_response = |name: &str| matches!(name, "date" | "connection" | "keep-alive");
    let headers = response.headers().iter().filter(|(name, _)| !per_response(name.as_str()));
    let headers = headers.map(|(name, value)| Ok((name.as_str().to_owned(), value.to_str()?.to_owned())));
    Ok(Challenge {
        status: response.status().as_u16(),
        headers: headers.collect::<Result<_, Failure>>()?,
        body: response.text().await?,
    })
}
