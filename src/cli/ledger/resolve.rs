//! `farebox ledger resolve ID`: asks those who can know what became of a payment, now; with `--as`, see [`rule`].

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::{Trouble, rule};
use crate::cli::EXIT_NO;
use crate::config;
use crate::facilitator::{Facilitators, NoObserver};
use crate::gate::unix_millis;
use crate::ledger::{self, Filter, Ledger, Record, State};
use crate::proxy::server;
use crate::resolve::{Effort, Resolution, Resolver, Verdict, Witnesses};
use crate::telemetry::Metrics;
use crate::x402::PaymentId;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The payment's id; of an unknown one its first digits are enough.
    pub(super) id: String,
    /// The config file that names the ledger, the nodes and the facilitators.
    #[arg(default_value = "gateway.toml")]
    pub(super) file: PathBuf,
    /// Where a node says that it was not used so far and still may be: have it settled.
    #[arg(long, conflicts_with = "word")]
    settle: bool,
    /// Ask nobody: write down what became of it, where you know and nobody else can.
    #[arg(long = "as", value_name = "OUTCOME")]
    word: Option<rule::Word>,
    /// The transaction that moved the money.
    #[arg(long, value_name = "HASH", requires = "word", required_if_eq("word", "settled"))]
    transaction: Option<String>,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode, Trouble> {
    if let Some(word) = args.word {
        return rule::run(args, word, args.transaction.as_deref(), out);
    }
    let config = config::load(&args.file)?.config;
    let runtime = server::runtime(Some(1)).map_err(Trouble::Output)?;
    runtime.block_on(async {
        let ledger = ledger::open_beside(&config.ledger.url).await?;
        let record = find(&*ledger, &args.id, &[State::Unknown]).await?;
        if record.state != State::Unknown {
            return told(&record, None, out);
        }
        let usage = |error: String| Trouble::Usage(error);
        let facilitators = Facilitators::new(&config.facilitators, &config.ways, None, Arc::new(NoObserver));
        let facilitators = Arc::new(facilitators.map_err(|error| usage(error.to_string()))?);
        let witnesses = Witnesses::new(&config.networks, facilitators).map_err(usage)?;
        let resolver = Resolver::new(ledger.clone(), Metrics::new());
        let effort = if args.settle { Effort::Settle } else { Effort::Look };
        let resolution = resolver.resolve_now(&witnesses, &record.id, effort, unix_millis()).await?;
        let record = find(&*ledger, record.id.as_str(), &[]).await?;
        ledger.close().await?;
        told(&record, resolution.as_ref(), out)
    })
}

/// The payment of that id, or the only one in these states whose id begins like this.
pub(super) async fn find(ledger: &dyn Ledger, text: &str, states: &[State]) -> Result<Record, Trouble> {
    if let Some(id) = PaymentId::parse(text) {
        return ledger.find(&id).await?.ok_or_else(|| Trouble::Usage(format!("there is no payment {text}")));
    }
    let mut open = Vec::new();
    for state in states {
        open.extend(ledger.list(&Filter { state: Some(*state), ..Filter::default() }).await?);
    }
    let mut alike = open.into_iter().filter(|record| record.id.as_str().starts_with(text));
    match (alike.next(), alike.next()) {
        (Some(record), None) => Ok(record),
        (None, _) => Err(Trouble::Usage(format!("no unknown payment's id begins with {text:?}"))),
        (Some(_), Some(_)) => Err(Trouble::Usage(format!("{text:?} begins the id of more than one: write more of it"))),
    }
}

fn told(record: &Record, resolution: Option<&Resolution>, out: &mut impl Write) -> Result<ExitCode, Trouble> {
    let by = resolution.map_or("the ledger", |resolution| resolution.by.name());
    let state = record.state.name();
    write!(out, "{}: {state}, says {by}", record.id)?;
    if let Some(transaction) = &record.transaction {
        write!(out, "; transaction {transaction}")?;
    }
    let why = match resolution.map(|resolution| &resolution.verdict) {
        Some(Verdict::Failed { why } | Verdict::Unknown { why, .. }) => Some(why.as_str()),
        Some(Verdict::Settled { .. }) => None,
        None => record.error.as_deref(),
    };
    if let Some(why) = why {
        write!(out, "; {why}")?;
    }
    let known = match record.state {
        State::Settled | State::Failed => true,
        State::Unknown | State::Settling | State::Reserved => {
            if resolution.is_none() {
                write!(out, "; a gateway is at it")?;
            }
            false
        }
    };
    writeln!(out)?;
    out.flush()?;
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NO) })
}
