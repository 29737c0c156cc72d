//! Those who ask at an even pace, far below what the gateway can do, and note the longest wait: through windows in which nothing
//! happens, and through as long windows in which the config is reloaded.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{env, fs};

use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval_at};

use super::Failure;
use super::process::{other_core, pinned};
use super::rows::PRICED;

/// The role's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The gateway.
    pub gateway: SocketAddr,
    /// Its operator's listener.
    pub admin: SocketAddr,
    /// Its config.
    pub file: PathBuf,
    /// Takes the config's place, and the config this one's, before each reload.
    #[arg(long)]
    pub other: Option<PathBuf>,
    /// Connections.
    #[arg(long)]
    pub connections: u32,
    /// Requests a second, of all connections together.
    #[arg(long)]
    pub per_second: u32,
    /// How long a window is at least, in milliseconds; three times a reload, if that is more.
    #[arg(long)]
    pub window: u64,
    /// How many windows there are of either kind.
    #[arg(long)]
    pub rounds: usize,
}

/// Two windows, one after the other, in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Round {
    /// The longest wait while nothing happened.
    pub longest_quiet: f64,
    /// The longest wait while the config was reloaded.
    pub longest_reloading: f64,
    /// What all but one request in a thousand waited at most then.
    pub p999_reloading: f64,
    /// How long the reload took.
    pub reload: f64,
}

/// When a request was answered, and how long it had waited.
type Waits = Rc<RefCell<Vec<(Instant, Duration)>>>;

/// Runs it in a process of its own, on the load's core.
pub fn start(args: &Args) -> Result<Vec<Round>, Failure> {
    let mut command = pinned(other_core(), &env::current_exe()?);
    command.args(["steady", &args.gateway.to_string(), &args.admin.to_string()]).arg(&args.file);
    if let Some(other) = &args.other {
        command.arg("--other").arg(other);
    }
    command.args(["--connections", &args.connections.to_string(), "--per-second", &args.per_second.to_string()]);
    command.args(["--window", &args.window.to_string(), "--rounds", &args.rounds.to_string()]);
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Asks, and reloads now and then.
pub fn run(args: Args) -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rounds = LocalSet::new().block_on(&runtime, async {
        let waits = Waits::default();
        let pause = Duration::from_secs(1) * args.connections / args.per_second;
        for number in 0..args.connections {
            // Not all at once.
            let begin = tokio::time::Instant::now() + pause * number / args.connections;
            tokio::task::spawn_local(asker(args.gateway, begin, pause, waits.clone()));
        }
        let operator = client()?;
        // Connections are made, the gateway has been asked, and has reloaded once.
        let started = Instant::now();
        reload(&operator, &args).await?;
        let window = Duration::from_millis(args.window).max(started.elapsed() * 3);
        let _ = longest(&waits, window).await?;
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            let (longest_quiet, _) = longest(&waits, window).await?;
            let reloading = async {
                let started = Instant::now();
                reload(&operator, &args).await?;
                Ok::<_, Failure>(started.elapsed())
            };
            let (reload, waited) = tokio::join!(reloading, longest(&waits, window));
            let (reload, (longest_reloading, p999_reloading)) = (reload?, waited?);
            if reload > window {
                return Err(format!("a reload took {reload:?}, longer than the window").into());
            }
            let reload = reload.as_secs_f64() * 1e3;
            rounds.push(Round { longest_quiet, longest_reloading, p999_reloading, reload });
        }
        Ok::<_, Failure>(rounds)
    })?;
    serde_json::to_writer(std::io::stdout(), &rounds)?;
    Ok(())
}

fn client() -> Result<Client, Failure> {
    Ok(Client::builder().no_proxy().tcp_nodelay(true).build()?)
}

/// One connection. Ends where an answer is not a challenge: its waits are missing then.
async fn asker(gateway: SocketAddr, begin: tokio::time::Instant, pause: Duration, waits: Waits) -> Result<(), Failure> {
    let client = client()?;
    let mut ticks = interval_at(begin, pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let sent = Instant::now();
        let request = client.get(format!("http://{gateway}{PRICED}")).header("host", "api.example.com");
        let answer = request.send().await?;
        let status = answer.status();
        answer.bytes().await?;
        if status != StatusCode::PAYMENT_REQUIRED {
            return Err(format!("the gateway answers {status}").into());
        }
        let now = Instant::now();
        waits.borrow_mut().push((now, now - sent));
    }
}

/// The longest wait of those that end in the next window, and that of all but one in a thousand, in milliseconds.
async fn longest(waits: &Waits, window: Duration) -> Result<(f64, f64), Failure> {
    let begin = Instant::now();
    tokio::time::sleep(window).await;
    let mut waits: Vec<_> = waits.take().into_iter().filter(|(at, _)| *at >= begin).map(|(_, wait)| wait).collect();
    waits.sort_unstable();
    let longest = waits.last().ok_or("nobody was answered")?;
    let p999 = waits.get(waits.len().saturating_sub(1) * 999 / 1000).unwrap_or(longest);
    Ok((longest.as_secs_f64() * 1e3, p999.as_secs_f64() * 1e3))
}

/// As an operator does it: the file is replaced, and the gateway is told.
async fn reload(operator: &Client, args: &Args) -> Result<(), Failure> {
    if let Some(other) = &args.other {
        let aside = other.with_extension("aside");
        fs::rename(&args.file, &aside)?;
        fs::rename(other, &args.file)?;
        fs::rename(&aside, other)?;
    }
    let answer = operator.post(format!("http://{}/reload", args.admin)).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if status.is_success() { Ok(()) } else { Err(format!("the reload was answered {status}: {text}").into()) }
}
