//! `farebox demo`: an upstream, the sandbox and the gateway on loopback, and one payment from end to end.

mod tour;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::{EXIT_NO, EXIT_TROUBLE};
use crate::config;
use crate::ledger::memory::MemoryLedger;
use crate::proxy::house::{Foundation, House};
use crate::proxy::server::{self, Ended, Listeners, Signals};
use crate::telemetry::{Metrics, log};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The gateway's port on loopback; 0 takes a free one.
    #[arg(long, default_value_t = 8402)]
    port: u16,
    /// End after the tour.
    #[arg(long)]
    once: bool,
}

/// Where the demo's parts are.
pub(super) struct Addresses {
    pub(super) upstream: SocketAddr,
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// Carries it out.
pub fn run(args: Args) -> ExitCode {
    match start(&args) {
        Ok(Ended::Cleanly) => ExitCode::SUCCESS,
        Ok(Ended::Uncleanly) => ExitCode::from(EXIT_NO),
        Err(message) => {
            eprintln!("farebox demo: {message}");
            ExitCode::from(EXIT_TROUBLE)
        }
    }
}

fn start(args: &Args) -> Result<Ended, String> {
    let settings = log::Settings { format: log::Format::Text, level: "warn", access: false };
    let _logs = log::init(settings).map_err(|error| error.to_string())?;
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listeners = Listeners::bind(&[loopback(args.port)], &[], Some(loopback(0)))
        .map_err(|error| format!("{error} (choose another one with --port)"))?;
    let upstream = std::net::TcpListener::bind(loopback(0)).map_err(|error| error.to_string())?;
    let address = |listener: Option<&std::net::TcpListener>| {
        listener.and_then(|listener| listener.local_addr().ok()).ok_or("a listener has no address")
    };
    let addresses = Addresses {
        upstream: address(Some(&upstream))?,
        gateway: address(listeners.public.first())?,
        admin: address(listeners.admin.as_ref())?,
    };
    let text = config_text(&addresses);
    let loaded = config::parse(&text, "demo.toml", Path::new("."), &|_| None).map_err(|report| report.rendered)?;

    let runtime = server::runtime(Some(1)).map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        tokio::spawn(upstream::serve(upstream));
        let foundation = Foundation {
            config: loaded.config,
            file: None,
            ledger: Arc::new(MemoryLedger::default()),
            metrics: Metrics::new(),
            logs: None,
        };
        let house = House::build(foundation).await.map_err(|error| error.to_string())?;
        let signals = Signals::receive().map_err(|error| error.to_string())?;
        let mut toured = Ok(());
        let tour = async {
            toured = tour::walk(&text, &addresses).await;
            if toured.is_ok() && !args.once {
                tour::stay(&addresses);
                std::future::pending().await
            }
        };
        let ended = server::serve(house, listeners, signals, tour).await;
        toured.map(|()| ended)
    })
}

/// The whole config of the demo: what a user's own file starts from.
fn config_text(addresses: &Addresses) -> String {
    let Addresses { upstream, gateway, admin } = addresses;
    format!(
        r#"[server]
listen = ["{gateway}"]

[admin]
listen = "{admin}"

[ledger]
url = "memory:"

[facilitators.sandbox]
url = "sandbox:"

[pay.usdc]
network = "base-sepolia"
asset = "USDC"
pay_to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
facilitators = ["sandbox"]

[upstreams.demo]
servers = ["{upstream}"]

[[route]]
path = "/free"
price = "free"

[[route]]
path = "/premium"
methods = ["GET"]
price = "$0.01"
window = "60s"
description = "Premium market data"
mime_type = "application/json"
"#
    )
}
