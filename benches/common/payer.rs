//! A client that pays once, for the pass that the load then shows.

use std::net::SocketAddr;

use farebox::x402::header;
use reqwest::{Client, Response};
use serde_json::Value;

use super::Failure;
use super::bare::Challenge;
use super::rows::PRICED;
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

/// Runs that on a runtime of its own.
pub fn blocking<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A client of HTTP/1.1 without TLS.
pub fn client() -> Result<Client, Failure> {
    // No TLS is spoken here, but a client is not built without a provider. One may have been installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().no_proxy().build()?)
}

/// Asks a server for a path, with a field besides.
pub async fn get(
    client: &Client,
    server: SocketAddr,
    path: &str,
    header: Option<(&str, &str)>,
) -> Result<Response, reqwest::Error> {
    let request = client.get(format!("http://{server}{path}")).header("host", "api.example.com");
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    request.send().await
}

/// What is the same in every such answer.
pub async fn answer(response: Response) -> Result<Challenge, Failure> {
    let per_response = |name: &str| matches!(name, "date" | "connection" | "keep-alive");
    let headers = response.headers().iter().filter(|(name, _)| !per_response(name.as_str()));
    let headers = headers.map(|(name, value)| Ok((name.as_str().to_owned(), value.to_str()?.to_owned())));
    Ok(Challenge {
        status: response.status().as_u16(),
        headers: headers.collect::<Result<_, Failure>>()?,
        body: response.text().await?,
    })
}
