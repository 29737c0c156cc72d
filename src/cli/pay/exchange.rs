//! The exchange: ask, be told the price, pay, be answered.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::signers::local::PrivateKeySigner;
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, Response};
use url::{Host, Url};

use super::signed::{self, SignedPayment};
use super::terms::{Quote, Terms, Unpayable};
use crate::money::Price;
use crate::x402::{Dialect, Reason, SettlementResponse, header};

/// Bytes of a 402's body that are read.
pub const TERMS_BYTES_MAX: usize = 1024 * 1024;
/// How often one payment is sent before its outcome is left open.
pub const SENDS_MAX: u32 = 6;
/// Seconds that a seller's `Retry-After` can make this wait between two of them.
const RETRY_AFTER_SECS_MAX: u64 = 30;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte for so long, an answer will not come. Settling can take a facilitator a minute and a half.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// What is asked, and how it may be paid.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is fetched.
    pub url: Url,
    /// How.
    pub method: Method,
    /// Sent along, with and without the payment.
    pub headers: HeaderMap,
    /// Sent along, with and without the payment.
    pub body: Option<Box<str>>,
    /// The version to be spoken where the seller offers both.
    pub dialect: Dialect,
    /// The most that may be paid, in whole tokens.
    pub limit: Price,
    /// Whether to pay, and who does.
    pub intent: Intent,
    /// How long to wait before a payment is sent again, where the seller does not say.
    pub retry_wait: Duration,
}

/// What is to be done with terms.
#[derive(Debug, Clone)]
pub enum Intent {
    /// Show them.
    Look,
    /// Pay them with this key.
    Pay(PrivateKeySigner),
}

/// What whoever pays says to a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Pay.
    Given,
    /// Do not.
    Refused,
    /// There is nobody who could be asked.
    NobodyToAsk,
}

/// The first answer of a seller who wants to be paid.
#[derive(Debug)]
pub struct Unpaid {
    /// What was fetched.
    pub url: Url,
    /// 402.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The terms in it, decoded.
    pub terms: Terms,
    /// The offer that was chosen.
    pub quote: Quote,
}

/// What was paid, and what came of it.
#[derive(Debug)]
pub struct Receipt {
    /// What was sent.
    pub payment: SignedPayment,
    /// How often it was sent.
    pub sends: u32,
    /// What the seller says became of it.
    pub settlement: Option<SettlementResponse>,
}

/// A whole exchange.
#[derive(Debug)]
pub struct Paid {
    /// The first answer.
    pub unpaid: Unpaid,
    /// The payment.
    pub receipt: Receipt,
    /// The answer to it, its body not yet read.
    pub response: Response,
}

/// How an exchange went.
#[derive(Debug)]
pub enum Outcome {
    /// No payment was asked for.
    Free(Response),
    /// One was, and was only looked at.
    Looked(Box<Unpaid>),
    /// One was, and was sent. Whether it was taken, the second answer's status says.
    Paid(Box<Paid>),
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// Nothing was sent, or nothing came back, and nothing was paid.
    #[error("cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// A 402 without terms.
    #[error("payment is required, but its terms cannot be read ({0})")]
    NoTerms(String),
    /// None of the offers can be paid.
    #[error("payment is required, but none of its {} offers can be paid", .0.len())]
    NothingPayable(Vec<Unpayable>),
    /// Whoever pays said no.
    #[error("not paid")]
    Refused,
    /// A payment needs somebody's consent.
    #[error("payment is required and nobody can be asked: not a terminal (--yes pays without asking)")]
    NobodyToAsk,
    /// The key does not sign.
    #[error("cannot sign the payment")]
    Signing(#[source] alloy::signers::Error),
    /// The payment was sent, and no answer came.
    #[error(
        "the payment was sent {sends} times and never answered: it may have been taken, until Unix time {valid_before}"
    )]
    Unanswered {
        /// How often it was sent.
        sends: u32,
        /// Unix seconds after which it moves no money any more.
        valid_before: u64,
        /// What went wrong the last time.
        #[source]
        source: reqwest::Error,
    },
}

/// Fetches a URL; pays, at most once, if it is asked to, can, may and has consent.
pub async fn pay(options: &Options, consent: &mut (dyn FnMut(&Unpaid) -> Consent + Send)) -> Result<Outcome, PayError> {
    let client = client(&options.url).map_err(PayError::Unreachable)?;
    let response = request(&client, options, None).send().await.map_err(PayError::Unreachable)?;
    if response.status() != StatusCode::PAYMENT_REQUIRED {
        return Ok(Outcome::Free(response));
    }
    let (status, headers) = (response.status(), response.headers().clone());
    let body = body_up_to(response, TERMS_BYTES_MAX).await.map_err(PayError::Unreachable)?;
    let terms = Terms::read(options.dialect, &headers, &body).map_err(PayError::NoTerms)?;
    let quote = terms.choose(options.limit).map_err(PayError::NothingPayable)?;
    let unpaid = Unpaid { url: options.url.clone(), status, headers, terms, quote };
    let key = match &options.intent {
        Intent::Look => return Ok(Outcome::Looked(Box::new(unpaid))),
        Intent::Pay(key) => key,
    };
    match consent(&unpaid) {
        Consent::Given => {}
        Consent::Refused => return Err(PayError::Refused),
        Consent::NobodyToAsk => return Err(PayError::NobodyToAsk),
    }
    let payment = signed::sign(&unpaid.terms, &unpaid.quote, key, unix_now()).map_err(PayError::Signing)?;
    let (receipt, response) = send_until_answered(&client, options, payment).await?;
    Ok(Outcome::Paid(Box::new(Paid { unpaid, receipt, response })))
}

/// Sends one payment until there is an answer that is not "send it again". A second one is never signed: the first may
/// have moved the money.
async fn send_until_answered(
    client: &Client,
    options: &Options,
    payment: SignedPayment,
) -> Result<(Receipt, Response), PayError> {
    let mut sends: u32 = 0;
    loop {
        sends = sends.saturating_add(1);
        let wait = match request(client, options, Some(&payment)).send().await {
            Ok(response) => {
                let settlement = settlement(&response);
                match wait_before_retry(&response, settlement.as_ref(), options.retry_wait) {
                    Some(wait) if sends < SENDS_MAX => wait,
                    Some(_) | None => return Ok((Receipt { payment, sends, settlement }, response)),
                }
            }
            Err(source) if sends >= SENDS_MAX => {
                return Err(PayError::Unanswered { sends, valid_before: payment.valid_before, source });
            }
            Err(_) => options.retry_wait,
        };
        tokio::time::sleep(wait).await;
    }
}

/// How long to wait before the same payment is sent again; `None` for an answer that is final.
fn wait_before_retry(
    response: &Response,
    settlement: Option<&SettlementResponse>,
    default: Duration,
) -> Option<Duration> {
    let pending = settlement.is_some_and(|settlement| {
        !settlement.success && settlement.error_reason.as_deref() == Some(Reason::SettlementPending.code())
    });
    let retry_after = response.headers().get(http::header::RETRY_AFTER);
    if response.status() != StatusCode::SERVICE_UNAVAILABLE || !(pending || retry_after.is_some()) {
        return None;
    }
    let seconds = retry_after.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    Some(seconds.map_or(default, |seconds: u64| Duration::from_secs(seconds.min(RETRY_AFTER_SECS_MAX))))
}

fn settlement(response: &Response) -> Option<SettlementResponse> {
    [header::PAYMENT_RESPONSE, header::X_PAYMENT_RESPONSE]
        .into_iter()
        .filter_map(|name| response.headers().get(name))
        .find_map(|value| header::decode_settlement(value.as_bytes()).ok())
}

fn request(client: &Client, options: &Options, payment: Option<&SignedPayment>) -> reqwest::RequestBuilder {
    let mut request = client.request(options.method.clone(), options.url.clone()).headers(options.headers.clone());
    if let Some(body) = &options.body {
        request = request.body(body.to_string());
    }
    match payment {
        None => request,
        Some(payment) => request.header(payment.dialect.payment_header(), &payment.value),
    }
}

/// Redirects are not followed: consent was given for this URL, and a payment is not for another host to see.
fn client(url: &Url) -> Result<Client, reqwest::Error> {
    // Fails where it was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .user_agent(concat!("farebox/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT);
    if is_loopback(url) { client.no_proxy() } else { client }.build()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// A body's first bytes, no more than the limit.
pub(super) async fn body_up_to(mut response: Response, limit: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if chunk.len() > room {
            break;
        }
    }
    Ok(body)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
