//! `farebox pay`: a small x402 client.

pub mod exchange;
mod report;
pub mod signed;
pub mod terms;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use alloy::signers::local::PrivateKeySigner;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use url::Url;

pub use exchange::{Consent, Intent, Options, Outcome, Paid, PayError, Receipt, Unpaid, pay};

use crate::money::Price;
use crate::outbound;
use crate::x402::Dialect;

/// Names the environment variable that holds the key: arguments can be read by everybody on a machine.
const KEY_VARIABLE: &str = "FAREBOX_KEY";
/// How long to wait before a payment is sent again, where the seller does not say.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "The key comes from the environment variable FAREBOX_KEY (64 hex digits).\n\
    Exit status: 0 answered below 400; 1 not paid, refused, or answered 400 and above; 2 could not be tried.")]
pub struct Args {
    /// What to fetch.
    url: Url,
    /// The method: GET, or POST with --data.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<Method>,
    /// A header to send; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body to send.
    #[arg(short, long)]
    data: Option<Box<str>>,
    /// Never pay more than this, in whole tokens.
    #[arg(long, value_name = "AMOUNT", default_value = "$1")]
    max: Price,
    /// Pay without asking.
    #[arg(long)]
    yes: bool,
    /// Show the terms and pay nothing.
    #[arg(long)]
    dry_run: bool,
    /// Pay with a key made for this one payment: for a sandbox facilitator, which gives every new payer money.
    #[arg(long, conflicts_with = "dry_run")]
    throwaway: bool,
    /// Pay as an x402 v1 client.
    #[arg(long)]
    v1: bool,
    /// Print one JSON document: status, terms, payment, settlement and body.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub fn run(args: Args) -> ExitCode {
    let (yes, json) = (args.yes, args.json);
    let options = match options(args) {
        Ok(options) => options,
        Err(message) => return trouble(&message),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return trouble(&format!("cannot start: {error}")),
    };
    runtime.block_on(async {
        let mut consent = |unpaid: &Unpaid| {
            eprint!("{}", report::terms(unpaid));
            if yes { Consent::Given } else { ask() }
        };
        match pay(&options, &mut consent).await {
            Ok(outcome) => print(outcome, json).await,
            Err(error) => failed(&error),
        }
    })
}

fn options(args: Args) -> Result<Options, String> {
    if !matches!(args.url.scheme(), "http" | "https") {
        return Err(format!("{}: not an http or https URL", args.url));
    }
    let mut headers = HeaderMap::new();
    headers.extend(args.headers.into_iter().map(|(name, value)| (Some(name), value)));
    Ok(Options {
        url: args.url,
        method: args.method.unwrap_or(if args.data.is_some() { Method::POST } else { Method::GET }),
        headers,
        body: args.data,
        dialect: if args.v1 { Dialect::V1 } else { Dialect::V2 },
        limit: args.max,
        intent: match (args.dry_run, args.throwaway) {
            (true, _) => Intent::Look,
            (false, true) => Intent::Pay(PrivateKeySigner::random()),
            (false, false) => Intent::Pay(key_from_environment()?),
        },
        retry_wait: RETRY_WAIT,
    })
}

fn key_from_environment() -> Result<PrivateKeySigner, String> {
    let key = std::env::var(KEY_VARIABLE)
        .map_err(|_| format!("no key: set {KEY_VARIABLE}, or use --throwaway with a sandbox, or --dry-run"))?;
    // What is wrong with it stays unsaid: it would be said of a key.
    key.trim().parse().map_err(|_| format!("{KEY_VARIABLE} is not a private key of 64 hex digits"))
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected \"Name: value\"")?;
    let name: HeaderName = name.trim().parse().map_err(|error| format!("{name:?}: {error}"))?;
    // It may be a password.
    let mut value: HeaderValue = value.trim().parse().map_err(|error| format!("{name}: {error}"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn ask() -> Consent {
    if !io::stdin().is_terminal() {
        return Consent::NobodyToAsk;
    }
    eprint!("pay? [y/N] ");
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer) {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Consent::Given,
        Ok(_) | Err(_) => Consent::Refused,
    }
}

async fn print(outcome: Outcome, json: bool) -> ExitCode {
    let (unpaid, receipt, response) = match outcome {
        Outcome::Looked(unpaid) if json => return printed(report::print_unpaid(&unpaid), StatusCode::OK),
        Outcome::Looked(unpaid) => {
            eprint!("{}", report::terms(&unpaid));
            return ExitCode::SUCCESS;
        }
        Outcome::Free(response) => (None, None, response),
        Outcome::Paid(paid) => {
            let Paid { unpaid, receipt, response } = *paid;
            (Some(unpaid), Some(receipt), response)
        }
    };
    let status = response.status();
    match &receipt {
        Some(receipt) => eprint!("{}", report::receipt(receipt, status, response.headers())),
        None => eprint!("{}", report::free(status, response.headers())),
    }
    if json {
        printed(report::print_document(unpaid.as_ref(), receipt.as_ref(), response).await, status)
    } else {
        printed(report::print_body(response).await, status)
    }
}

/// The command's answer: the status of what was printed, if it could be.
fn printed(result: Result<(), Box<dyn std::error::Error>>, status: StatusCode) -> ExitCode {
    match result {
        Ok(()) if status.as_u16() < 400 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(super::EXIT_NO),
        Err(error) => {
            eprintln!("farebox pay: the answer broke off: {}", report::printable(&outbound::chain(&*error)));
            ExitCode::from(super::EXIT_NO)
        }
    }
}

fn failed(error: &PayError) -> ExitCode {
    eprintln!("farebox pay: {}", report::printable(&outbound::chain(error)));
    let code = match error {
        PayError::Unreachable(_) | PayError::NobodyToAsk | PayError::Signing(_) => super::EXIT_TROUBLE,
        PayError::NothingPayable(offers) => {
            for offer in offers {
                eprintln!("  {}", report::printable(&offer.to_string()));
            }
            super::EXIT_NO
        }
        PayError::NoTerms(_) | PayError::Refused | PayError::Unanswered { .. } => super::EXIT_NO,
    };
    ExitCode::from(code)
}

fn trouble(message: &str) -> ExitCode {
    eprintln!("farebox pay: {message}");
    ExitCode::from(super::EXIT_TROUBLE)
}
