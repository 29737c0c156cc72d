//! `farebox run`: the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{EXIT_NO, EXIT_TROUBLE};
use crate::config::{self, LogFormat};
use crate::gate::unix_millis;
use crate::ledger;
use crate::proxy::house::{Foundation, House};
use crate::proxy::server::{self, Ended, Listeners, Signals};
use crate::telemetry::{Metrics, log};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config file.
    #[arg(default_value = "gateway.toml")]
    file: PathBuf,
}

/// Carries it out.
pub fn run(args: Args) -> ExitCode {
    match start(args.file) {
        Ok(Ended::Cleanly) => ExitCode::SUCCESS,
        Ok(Ended::Uncleanly) => ExitCode::from(EXIT_NO),
        Err(message) => {
            eprintln!("farebox: {message}");
            ExitCode::from(EXIT_TROUBLE)
        }
    }
}

/// Everything that can be wrong before the first request is an error here, not a line in a log.
fn start(file: PathBuf) -> Result<Ended, String> {
    let loaded = config::load(&file).map_err(|report| report.rendered)?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    let config = loaded.config;
    let format = match config.log.format {
        LogFormat::Json => log::Format::Json,
        LogFormat::Text => log::Format::Text,
    };
    let settings = log::Settings { format, level: &config.log.level, access: config.log.access };
    let logs = log::init(settings).map_err(|error| error.to_string())?;
    let metrics = Metrics::new();
    metrics.count_dropped_lines(logs.dropped_lines());
    let tls = config.server.tls.as_ref().map_or(&[][..], |tls| &tls.listen);
    let listeners =
        Listeners::bind(&config.server.listen, tls, config.admin.listen).map_err(|error| error.to_string())?;
    let runtime = server::runtime(config.server.threads).map_err(|error| format!("no runtime: {error}"))?;

    let ended = runtime.block_on(async move {
        let ledger = ledger::open(&config.ledger.url).await.map_err(|error| error.to_string())?;
        let signals = Signals::receive().map_err(|error| format!("signals cannot be received: {error}"))?;
        let recovered = ledger.recover(unix_millis()).await.map_err(|error| error.to_string())?;
        if recovered.released > 0 || recovered.unknown > 0 {
            tracing::warn!(
                released = recovered.released,
                unknown = recovered.unknown,
                "an earlier run ended in the middle of payments: unknown ones are answered 503 until they are resolved"
            );
        }
        for address in listeners.public.iter().chain(&listeners.tls).filter_map(|listener| listener.local_addr().ok()) {
            tracing::info!(%address, routes = config.routes.len(), hash = config.hash, "serving");
        }
        let foundation = Foundation { config, file: Some(file), ledger, metrics, logs: Some(logs) };
        let house = House::build(foundation).await.map_err(|error| error.to_string())?;
        Ok(server::serve(house, listeners, signals, std::future::pending()).await)
    });
    // A name that is still being resolved does not hold up the end.
    runtime.shutdown_background();
    ended
}
