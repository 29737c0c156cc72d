//! `farebox ledger`: lists and sums payments, and finds out what became of one, also while gateways run on the same
//! ledger.

mod moment;
mod render;
mod resolve;
mod rule;
mod tokens;

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use jiff::Timestamp;

use self::render::Format;
use self::tokens::Tokens;
use crate::config::{self, LedgerUrl};
use crate::ledger::books::Books;
use crate::ledger::{Filter, GroupBy, State};

/// Payments that a table shows when nobody asked for more or less: more is for `--csv` and `--json`.
const TABLE_ROWS: u32 = 50;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Find out, or decide, what became of an unknown payment: exit 0 when it is known, 1 when it is not.
    Resolve(resolve::Args),
    /// Write every payment, one a line, newest first, amounts in atomic units.
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// The config file that names the ledger.
    #[arg(default_value = "gateway.toml", conflicts_with = "url")]
    file: PathBuf,
    /// The ledger itself, without a config file: sqlite:PATH or postgres://….
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A JSON object a line instead of comma-separated values.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// The config file that names the ledger.
    #[arg(default_value = "gateway.toml", conflicts_with = "url")]
    file: PathBuf,
    /// The ledger itself, without a config file: sqlite:PATH or postgres://….
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Only payments in this state.
    #[arg(long)]
    state: Option<StateArg>,
    /// Only payments of this route.
    #[arg(long)]
    route: Option<String>,
    /// Only payments of this payer (any case).
    #[arg(long, value_name = "ADDRESS")]
    payer: Option<String>,
    /// Only payments made at or after: a date, a timestamp, or so long ago (24h, 7d).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only payments made before.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many, newest first [default: 50 in a table, else all].
    #[arg(long, value_name = "N", conflicts_with = "sum")]
    limit: Option<u32>,
    /// Sums over settled payments instead of a list.
    #[arg(long, value_name = "BY")]
    sum: Option<SumBy>,
    /// A JSON array, amounts in atomic units.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values, amounts in atomic units.
    #[arg(long)]
    csv: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateArg {
    Reserved,
    Settling,
    Settled,
    Unknown,
    Failed,
}

impl From<StateArg> for State {
    fn from(state: StateArg) -> State {
        match state {
            StateArg::Reserved => State::Reserved,
            StateArg::Settling => State::Settling,
            StateArg::Settled => State::Settled,
            StateArg::Unknown => State::Unknown,
            StateArg::Failed => State::Failed,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SumBy {
    Route,
    Day,
    Payer,
}

impl From<SumBy> for GroupBy {
    fn from(by: SumBy) -> GroupBy {
        match by {
            SumBy::Route => GroupBy::Route,
            SumBy::Day => GroupBy::Day,
            SumBy::Payer => GroupBy::Payer,
        }
    }
}

/// Carries it out.
pub fn run(args: Args) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let answered = match &args.action {
        None => answer(&args.list, Timestamp::now(), &mut out).map(|()| ExitCode::SUCCESS),
        Some(Action::Export(args)) => export(args, &mut out).map(|()| ExitCode::SUCCESS),
        Some(Action::Resolve(args)) => resolve::run(args, &mut out),
    };
    match answered {
        Ok(code) => code,
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::from(super::EXIT_TROUBLE)
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Config(#[from] config::Report),
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
    #[error("{0}")]
    Usage(String),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

fn export(args: &ExportArgs, out: &mut impl Write) -> Result<(), Trouble> {
    let (ledger, tokens) = locate(args.url.as_deref(), &args.file)?;
    let format = if args.json { Format::Lines } else { Format::Csv };
    list(&ledger, &Filter::default(), format, &tokens, out)?;
    Ok(out.flush()?)
}

fn answer(args: &ListArgs, now: Timestamp, out: &mut impl Write) -> Result<(), Trouble> {
    let filter = filter(args, now).map_err(Trouble::Usage)?;
    let (ledger, tokens) = locate(args.url.as_deref(), &args.file)?;
    let format = format(args);
    match args.sum {
        Some(by) => {
            let by = GroupBy::from(by);
            render::totals(&ledger.totals(&filter, by)?, by, format, &tokens, out)?;
        }
        None => list(&ledger, &filter, format, &tokens, out)?,
    }
    Ok(out.flush()?)
}

/// Payments are written as they are read: an export of millions takes no more memory than one of ten.
fn list(ledger: &Books, filter: &Filter, format: Format, tokens: &Tokens, out: &mut impl Write) -> Result<(), Trouble> {
    let mut sheet = render::Sheet::new(format, tokens, out)?;
    let mut written = Ok(());
    ledger.each(filter, |record| {
        written = sheet.add(&record);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    Ok(sheet.finish()?)
}

fn format(args: &ListArgs) -> Format {
    if args.json {
        Format::Json
    } else if args.csv {
        Format::Csv
    } else {
        Format::Table
    }
}

fn filter(args: &ListArgs, now: Timestamp) -> Result<Filter, String> {
    let moment = |name: &str, text: &Option<String>| match text {
        Some(text) => moment::parse(text, now).map(Some).map_err(|error| format!("--{name} {text}: {error}")),
        None => Ok(None),
    };
    Ok(Filter {
        state: args.state.map(State::from),
        route: args.route.clone(),
        payer: args.payer.clone(),
        since: moment("since", &args.since)?,
        until: moment("until", &args.until)?,
        limit: args.limit.or(match format(args) {
            Format::Table => Some(TABLE_ROWS),
            Format::Json | Format::Lines | Format::Csv => None,
        }),
    })
}

/// The ledger, and the tokens that the config tells more of than Farebox knows.
fn locate(url: Option<&str>, file: &Path) -> Result<(Books, Tokens), Trouble> {
    let (place, url, tokens) = match url {
        Some(text) => {
            let url = LedgerUrl::parse(text, Path::new(""))
                .map_err(|(wrong, help)| Trouble::Usage(format!("--url: {wrong}: {help}")))?;
            (text.to_owned(), url, Tokens::default())
        }
        None => {
            let config = config::load(file)?.config;
            let tokens = Tokens::of(&config);
            (file.display().to_string(), config.ledger.url, tokens)
        }
    };
    let ledger = Books::open(&url)?.ok_or_else(|| {
        Trouble::Usage(format!(
            "{place}: its ledger is kept in the gateway's memory (url = \"memory:\"): there is nothing to read"
        ))
    })?;
    Ok((ledger, tokens))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ListArgs,
    }

    fn args(line: &[&str]) -> ListArgs {
        Line::parse_from(std::iter::once("ledger").chain(line.iter().copied())).args
    }

    #[test]
    fn the_command_line_becomes_a_filter() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let line = ["--state", "failed", "--route", "r", "--payer", "0xA", "--since", "24h", "--until", "2026-11-20"];
        let filter = filter(&args(&line), now).unwrap();
        assert_eq!(filter.state, Some(State::Failed));
        assert_eq!((filter.route.as_deref(), filter.payer.as_deref()), (Some("r"), Some("0xA")));
        let day = 86_400_000;
        let noon = now.as_millisecond();
        assert_eq!((filter.since, filter.until), (Some(noon - day), Some(noon - day / 2)));
    }

    #[test]
    fn a_table_is_short_and_an_export_is_whole() {
        let limit = |line: &[&str]| filter(&args(line), Timestamp::UNIX_EPOCH).unwrap().limit;
        assert_eq!(limit(&[]), Some(TABLE_ROWS));
        assert_eq!(limit(&["--limit", "3"]), Some(3));
        assert_eq!(limit(&["--csv"]), None);
        assert_eq!(limit(&["--json", "--limit", "3"]), Some(3));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [["x.toml", "--url=sqlite:a"], ["--json", "--csv"], ["--sum=day", "--limit=1"]] {
            assert!(Line::try_parse_from(std::iter::once("ledger").chain(line)).is_err(), "{line:?}");
        }
        assert!(filter(&args(&["--since", "yesterday"]), Timestamp::UNIX_EPOCH).is_err());
        for url in ["postgres:x", "sqlite:", "farebox.db"] {
            assert!(matches!(locate(Some(url), Path::new("gateway.toml")), Err(Trouble::Usage(_))), "{url}");
        }
    }
}
