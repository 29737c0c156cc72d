//! Those who strain the gateway: a cheap event loop in a process of its own, on the load's core.

use std::convert::Infallible;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Failure;
use super::process::{other_core, pinned};
use super::rows::PRICED;
use super::sign::sign;

/// Who are slow, and who pay at once.
const CROWD: usize = 2000;
const PAYERS: usize = 400;
/// Between two bytes of somebody slow.
const DRIP: Duration = Duration::from_secs(1);
/// A second's garbage, and a second's unpaid requests beside those who pay.
const GARBAGE: u32 = 1000;
const UNPAID: u32 = 1000;
/// Bytes of a payment header that is garbage: as many as are read.
const GARBAGE_BYTES: usize = 16 * 1024 - 64;
/// What is said when all of them are there.
const READY: &str = "ready";

/// One kind of strain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Strain {
    /// 2,000 connections whose request's head does not end.
    SlowHeads,
    /// 2,000 posts to a free route whose body does not end.
    SlowBodies,
    /// 1,000 payment headers a second that are garbage.
    Garbage,
    /// 400 payers for a facilitator that never answers, and 1,000 unpaid requests a second.
    SilentFacilitator,
}

impl Strain {
    /// All of them.
    pub const ALL: [Strain; 4] = [Strain::SlowHeads, Strain::SlowBodies, Strain::Garbage, Strain::SilentFacilitator];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Strain::SlowHeads => "2,000 slow heads",
            Strain::SlowBodies => "2,000 slow bodies",
            Strain::Garbage => "1,000 garbage payments/s",
            Strain::SilentFacilitator => "silent facilitator, 400 payers, 1,000 unpaid requests/s",
        }
    }
}

/// The role's arguments.
#[derive(clap::Args)]
pub struct Args {
    strain: Strain,
    /// The gateway.
    gateway: SocketAddr,
    /// Where their own upstream and facilitator listens.
    beside: SocketAddr,
}

/// Strangers at work; they go with this value.
pub struct Strangers(Child);

impl Drop for Strangers {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = ended {
            eprintln!("process {} may still run: {error}", self.0.id());
        }
    }
}

/// Starts them and waits until all of them are there.
pub fn start(strain: Strain, gateway: SocketAddr, beside: SocketAddr) -> Result<Strangers, Failure> {
    let name = strain.to_possible_value().ok_or("every strain has a name")?.get_name().to_owned();
    let mut command = pinned(other_core(), &env::current_exe()?);
    command.args(["strangers", &name, &gateway.to_string(), &beside.to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("a pipe")?;
    let strangers = Strangers(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim() == READY { Ok(strangers) } else { Err(format!("{}: {line}", strain.name()).into()) }
}

/// Strains the gateway until the process is killed.
pub fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.beside).await?;
        tokio::spawn(sink(listener));
        match args.strain {
            Strain::SlowHeads => crowd(args.gateway, "GET /free/data HTTP/1.1\r\nHost: slow\r\nX-Slow: ").await,
            Strain::SlowBodies => {
                crowd(args.gateway, "POST /free/upload HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\n").await
            }
            Strain::Garbage => {
                let head = format!(
                    "GET {PRICED} HTTP/1.1\r\nHost: api.example.com\r\nPAYMENT-SIGNATURE: {}\r\n\r\n",
                    "A".repeat(GARBAGE_BYTES)
                );
                println!("{READY}");
                at_rate(args.gateway, head, GARBAGE).await
            }
            Strain::SilentFacilitator => payers(args.gateway).await,
        }
    })
}

/// Takes everything and says nothing, except to what the gateway asks at its start.
async fn sink(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut piece = [0; 4096];
            while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {
                if piece.starts_with(b"GET /supported ") {
                    let kinds = r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"}]}"#;
                    let length = kinds.len();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{kinds}"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
    }
}

/// Slow ones, of whom each comes again when it has been closed.
async fn crowd(gateway: SocketAddr, start: &'static str) -> Result<(), Failure> {
    let coming = Arc::new(Semaphore::new(0));
    for _ in 0..CROWD {
        let coming = coming.clone();
        tokio::spawn(async move {
            let mut came = false;
            loop {
                let Ok(mut stream) = TcpStream::connect(gateway).await else { continue };
                let _ = stream.write_all(start.as_bytes()).await;
                if !std::mem::replace(&mut came, true) {
                    coming.add_permits(1);
                }
                let mut piece = [0; 512];
                while timeout(DRIP, stream.read(&mut piece)).await.is_err() {
                    let _ = stream.write_all(b"x").await;
                }
            }
        });
    }
    let _all = coming.acquire_many(u32::try_from(CROWD)?).await?;
    println!("{READY}");
    std::future::pending::<Infallible>().await;
    Ok(())
}

/// The same request again and again, so often a second, over a few connections.
async fn at_rate(gateway: SocketAddr, request: String, per_second: u32) -> Result<(), Failure> {
    const CONNECTIONS: u32 = 16;
    let request: Arc<[u8]> = request.into_bytes().into();
    for _ in 0..CONNECTIONS {
        let request = request.clone();
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) * CONNECTIONS / per_second);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut stream = None;
            loop {
                ticks.tick().await;
                stream = ask(stream, gateway, &request).await;
            }
        });
    }
    std::future::pending::<Infallible>().await;
    Ok(())
}

/// One request; the connection, if it stays open.
async fn ask(stream: Option<TcpStream>, gateway: SocketAddr, request: &[u8]) -> Option<TcpStream> {
    let mut stream = match stream {
        Some(stream) => stream,
        None => TcpStream::connect(gateway).await.ok()?,
    };
    stream.write_all(request).await.ok()?;
    // An answer of the gateway's own leaves in one write, and comes in one read.
    let mut piece = vec![0; 16 * 1024];
    let count = stream.read(&mut piece).await.ok()?;
    let is_kept = count > 0 && !piece.windows(17).any(|window| window.eq_ignore_ascii_case(b"connection: close"));
    is_kept.then_some(stream)
}

/// Each pays, waits as long as it is kept waiting, and pays again with another payment.
async fn payers(gateway: SocketAddr) -> Result<(), Failure> {
    let unpaid = format!("GET {PRICED} HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    let terms = terms(gateway, &unpaid).await?;
    let coming = Arc::new(Semaphore::new(0));
    for _ in 0..PAYERS {
        let (coming, terms) = (coming.clone(), terms.clone());
        tokio::spawn(async move {
            let mut came = false;
            loop {
                let Ok(payment) = sign(&terms).map_err(|failure| failure.to_string()) else { return };
                let request =
                    format!("GET {PRICED} HTTP/1.1\r\nHost: api.example.com\r\nPAYMENT-SIGNATURE: {payment}\r\n\r\n");
                let Ok(mut stream) = TcpStream::connect(gateway).await else { continue };
                let _ = stream.write_all(request.as_bytes()).await;
                if !std::mem::replace(&mut came, true) {
                    coming.add_permits(1);
                }
                let _ = stream.read(&mut [0; 4096]).await;
            }
        });
    }
    let _all = coming.acquire_many(u32::try_from(PAYERS)?).await?;
    println!("{READY}");
    at_rate(gateway, unpaid, UNPAID).await
}

/// The priced route's `PAYMENT-REQUIRED`.
async fn terms(gateway: SocketAddr, unpaid: &str) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(unpaid.as_bytes()).await?;
    let mut piece = vec![0; 16 * 1024];
    let count = stream.read(&mut piece).await?;
    let head = String::from_utf8_lossy(piece.get(..count).unwrap_or_default()).into_owned();
    let terms = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(farebox::x402::header::PAYMENT_REQUIRED).then(|| value.trim().to_owned())
    });
    terms.ok_or_else(|| format!("the priced route answers no challenge: {head}").into())
}
