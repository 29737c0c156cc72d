//! `farebox ledger resolve ID --as settled|failed`: an operator's word, where neither chain nor facilitator can tell.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::TxHash;
use clap::ValueEnum;
use tokio::time::Instant;

use super::{Trouble, moment, resolve};
use crate::cli::EXIT_NO;
use crate::config::{self, LedgerUrl};
use crate::gate::unix_millis;
use crate::ledger::{self, Claim, Held, Ledger, LedgerError, Record, Ruling, State, Transition, Unresolved};
use crate::proxy::server;
use crate::x402::{Network, PaymentId};

/// For which a gateway that asks about the payment is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// For which the payment is this command's.
const CLAIM_MS: i64 = 10_000;
/// Bytes of a transaction's name on a network that is not EVM's; Solana's have 88.
const TRANSACTION_BYTES_MAX: usize = 128;

/// What an operator may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Word {
    /// The money moved, in --transaction.
    Settled,
    /// It did not, and will not.
    Failed,
}

pub(super) fn run(
    args: &resolve::Args,
    word: Word,
    transaction: Option<&str>,
    out: &mut impl Write,
) -> Result<ExitCode, Trouble> {
    let config = config::load(&args.file)?.config;
    let runtime = server::runtime(Some(1)).map_err(Trouble::Output)?;
    let (line, code) = runtime.block_on(async {
        let ledger = ledger::open_beside(&config.ledger.url).await?;
        let record = resolve::find(&*ledger, &args.id, &[State::Unknown, State::Settling]).await?;
        let ruling = ruling(word, transaction, &record.network)?;
        let outcome = match taken(&config.ledger.url, ledger, &record.id).await? {
            Taken::Ours(ledger, unresolved) => decide(ledger, &unresolved, ruling).await?,
            Taken::Not(why) => Err(why),
        };
        Ok::<_, Trouble>(match outcome {
            Ok(line) => (line, ExitCode::SUCCESS),
            Err(why) => (format!("{}: nothing was changed: {why}", record.id), ExitCode::from(EXIT_NO)),
        })
    })?;
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(code)
}

fn ruling(word: Word, transaction: Option<&str>, network: &Network) -> Result<Ruling, Trouble> {
    match (word, transaction) {
        (Word::Failed, None) => Ok(Ruling::Failed),
        (Word::Failed, Some(_)) => Err(Trouble::Usage("--transaction: what failed has none: leave it out".to_owned())),
        (Word::Settled, None) => {
            Err(Trouble::Usage("--as settled needs --transaction: the transaction that moved the money".to_owned()))
        }
        (Word::Settled, Some(text)) => {
            let transaction = named(text, network).ok_or_else(|| {
                let network = network.alias();
                Trouble::Usage(format!("--transaction {text:?} names no transaction of {network}: look it up there"))
            })?;
            Ok(Ruling::Settled { transaction })
        }
    }
}

/// A transaction as its network writes it.
fn named(text: &str, network: &Network) -> Option<Arc<str>> {
    if network.evm_chain_id().is_some() {
        let hash: TxHash = text.strip_prefix("0x")?.parse().ok()?;
        return Some(hash.to_string().into());
    }
    let fits =
        (1..=TRANSACTION_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| text.into())
}

/// Whether a payment is there to be decided on.
enum Taken {
    /// Unknown, and nobody else's for a moment.
    Ours(Arc<dyn Ledger>, Box<Unresolved>),
    /// Why not.
    Not(String),
}

/// Takes a payment that is unknown, or that an ended gateway has left settling, so that nobody finds out meanwhile.
async fn taken(url: &LedgerUrl, ledger: Arc<dyn Ledger>, id: &PaymentId) -> Result<Taken, LedgerError> {
    const AT_IT: &str = "a gateway is settling it: wait until it is settled, failed or unknown";
    let mut ledger = ledger;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = unix_millis();
        let worker = format!("operator-{:016x}", rand::random::<u64>());
        let claim = Claim { worker: &worker, now, until: now.saturating_add(CLAIM_MS) };
        if let Some(unresolved) = ledger.claim(id, claim).await? {
            return Ok(Taken::Ours(ledger, Box::new(unresolved)));
        }
        let record = ledger.find(id).await?;
        match record.as_ref().map(|record| record.state) {
            Some(State::Unknown) => {
                if Instant::now() >= deadline {
                    return Ok(Taken::Not("a gateway is asking about it: try again in a minute".to_owned()));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Some(State::Settling) => {
                ledger.close().await?;
                let Some(free) = ledger::open_if_free(url).await? else { return Ok(Taken::Not(AT_IT.to_owned())) };
                ledger = free;
                let held = ledger.hold(id, now).await?;
                if held.is_some_and(|Held { record, .. }| record.state == State::Settling) {
                    return Ok(Taken::Not(AT_IT.to_owned()));
                }
            }
            Some(State::Reserved) => {
                let why = "nobody was asked to settle it yet: if its gateway has ended, its next start releases it";
                return Ok(Taken::Not(why.to_owned()));
            }
            Some(State::Settled | State::Failed) => return Ok(Taken::Not(known(record.as_ref()))),
            None => return Ok(Taken::Not("it is in the ledger no more".to_owned())),
        }
    }
}

/// Why there is nothing to decide.
fn known(record: Option<&Record>) -> String {
    let Some(record) = record else { return "it is in the ledger no more".to_owned() };
    let mut text = format!("it is {} already", record.state.name());
    for more in [&record.transaction, &record.error].into_iter().flatten() {
        text.push_str(", ");
        text.push_str(more);
    }
    text
}

/// Writes it, and says what follows; `Err`: why it was not written.
async fn decide(
    ledger: Arc<dyn Ledger>,
    unresolved: &Unresolved,
    ruling: Ruling,
) -> Result<Result<String, String>, LedgerError> {
    let id = &unresolved.record.id;
    let written = ledger.advance(id, Transition::Ruled(ruling.clone()), unix_millis()).await;
    let outcome = match written {
        Ok(()) => Ok(follows(unresolved, &ruling, unix_millis() / 1000)),
        // Somebody found it out in this moment.
        Err(LedgerError::Conflict { .. }) => Err(known(ledger.find(id).await?.as_ref())),
        Err(error @ LedgerError::Unavailable(_)) => return Err(error),
    };
    ledger.close().await?;
    Ok(outcome)
}

fn follows(unresolved: &Unresolved, ruling: &Ruling, now: i64) -> String {
    let Record { id, route, .. } = &unresolved.record;
    match ruling {
        Ruling::Settled { transaction } => format!(
            "{id}: settled, says the operator; transaction {transaction}; sent again within `redeliver` of now, the same \
             payment opens route {route}"
        ),
        Ruling::Failed => {
            let seconds = unresolved.valid_before.and_then(|at| i64::try_from(at).ok());
            let still_good = match seconds {
                Some(seconds) if seconds <= now => String::new(),
                Some(seconds) => format!(
                    "; until {} the one that was signed can still be settled: sent again, it is",
                    moment::short(seconds.saturating_mul(1000))
                ),
                None => "; if the one that was signed comes again, it is settled if it still can be".to_owned(),
            };
            format!("{id}: failed, says the operator; nothing is owed, and its payer may sign another{still_good}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_one_of_the_payments_network() {
        let hash = "ab".repeat(32);
        let signature = "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW";
        let evm = Network::parse("base-sepolia").unwrap();
        for (text, right) in [
            (format!("0x{hash}"), true),
            (format!("0x{}", hash.to_uppercase()), true),
            (hash.clone(), false),
            (format!("0x{hash}00"), false),
            (signature.to_owned(), false),
            (String::new(), false),
        ] {
            let expected = right.then(|| Arc::from(format!("0x{hash}")));
            assert_eq!(named(&text, &evm), expected, "{text}");
        }
        let solana = Network::parse("solana").unwrap();
        for (text, right) in [(signature, true), ("", false), ("a b", false), (&"a".repeat(129), false)] {
            assert_eq!(named(text, &solana).is_some(), right, "{text}");
        }
    }
}
