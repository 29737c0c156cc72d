//! The built binary, running.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::http::{Connection, Request, Response};
use super::ledger::Entry;
use super::metrics::Metrics;
use super::ports::Port;
use super::setup::Setup;
use super::usage::{self, Usage};
use super::{eventually, within};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_farebox");

/// A running gateway with a folder and ports of its own. It is killed with this value.
pub struct Gateway {
    folder: TempDir,
    setup: Setup,
    port: Port,
    admin_port: Port,
    process: Process,
}

/// How far a start is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// `/readyz` says yes.
    Ready,
    /// Both listeners answer; facilitators may be away.
    Listening,
}

impl Gateway {
    /// Starts one and waits until it is ready.
    pub async fn start(setup: Setup) -> Gateway {
        Gateway::start_until(setup, Until::Ready).await
    }

    /// Starts one that cannot be ready, and waits until it listens.
    pub async fn start_unready(setup: Setup) -> Gateway {
        Gateway::start_until(setup, Until::Listening).await
    }

    async fn start_until(setup: Setup, until: Until) -> Gateway {
        let folder = TempDir::new().expect("a folder");
        let (port, admin_port) = (Port::claim(), Port::claim());
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, setup.render(port.number, admin_port.number)).expect("the config written");
        let process = Process::run(&config);
        let mut gateway = Gateway { folder, setup, port, admin_port, process };
        gateway.wait(until).await;
        gateway
    }

    async fn wait(&mut self, until: Until) {
        let (address, admin, process) = (self.address(), self.admin(), &self.process);
        within("the gateway to start", async {
            loop {
                if let Some(status) = process.exited() {
                    panic!("the gateway ended with {status} instead of starting");
                }
                let ready = match until {
                    Until::Ready => ask(admin, "/readyz").await == Some(200),
                    Until::Listening => ask(admin, "/healthz").await == Some(200),
                };
                if ready && TcpStream::connect(address).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number))
    }

    pub fn admin(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.admin_port.number))
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// One request over a connection of its own.
    pub async fn send(&self, request: Request) -> Response {
        self.connect().await.exchange(&request).await
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.address()).await
    }

    /// One request to the operator's listener.
    pub async fn ask(&self, request: Request) -> Response {
        Connection::open(self.admin()).await.exchange(&request).await
    }

    pub async fn metrics(&self) -> Metrics {
        let response = self.ask(Request::get("/metrics")).await;
        assert_eq!(response.status, 200, "{response:?}");
        Metrics::parse(&response.text())
    }

    pub async fn status(&self) -> Value {
        let response = self.ask(Request::get("/status")).await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// Every payment that the ledger holds, as `farebox ledger --json` lists them.
    pub fn ledger(&self) -> Vec<Entry> {
        super::ledger::list(&self.config())
    }

    /// Every payment that the ledger holds, as `farebox ledger export --json` writes them.
    pub fn export(&self) -> Vec<Value> {
        super::ledger::export(&self.config())
    }

    /// The only payment that the ledger holds.
    pub fn only_entry(&self) -> Entry {
        let entries = self.ledger();
        assert_eq!(entries.len(), 1, "one payment in the ledger: {entries:#?}");
        entries.into_iter().next().expect("one")
    }

    /// Waits until there is a payment, the only one, and it is as described.
    pub async fn entry_becomes(&self, what: &str, test: impl Fn(&Entry) -> bool) -> Entry {
        let only = || {
            let entries = self.ledger();
            assert!(entries.len() <= 1, "one payment in the ledger: {entries:#?}");
            entries.into_iter().next()
        };
        eventually(what, async || only().filter(&test)).await
    }

    /// A file's text for this gateway's ports.
    pub fn render(&self, setup: &Setup) -> String {
        setup.render(self.port.number, self.admin_port.number)
    }

    /// Replaces the file's text as an editor does: written beside it, then renamed over it.
    pub fn rewrite(&mut self, setup: Setup) {
        self.rewrite_text(&self.render(&setup));
        self.setup = setup;
    }

    pub fn rewrite_text(&self, text: &str) {
        let beside = self.folder.path().join("gateway.toml.new");
        std::fs::write(&beside, text).expect("the config written");
        std::fs::rename(&beside, self.config()).expect("the config replaced");
    }

    /// `POST /reload`.
    pub async fn reload(&self) -> Response {
        self.ask(Request::post("/reload", "")).await
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Waits until standard error holds this text.
    pub async fn says(&self, text: &str) {
        eventually(&format!("{text:?} on standard error"), async || self.stderr().contains(text).then_some(())).await;
    }

    /// No file of it can grow, as on a full disk; `false`: there is room again.
    pub fn full_disk(&self, full: bool) {
        let limit = if full { "--fsize=1:" } else { "--fsize=unlimited:" };
        let set = Command::new("prlimit").args(["--pid", &self.process.id.to_string(), limit]).status();
        assert!(set.expect("util-linux").success(), "{limit}");
    }

    /// What the process holds.
    pub fn usage(&self) -> Usage {
        Usage::of(self.process.id)
    }

    /// Its TCP sockets, as the kernel lists them.
    pub fn connections(&self) -> Vec<String> {
        usage::connections(self.process.id)
    }

    /// Stands still until [`Gateway::sigcont`], every thread of it.
    pub async fn stand_still(&self) {
        self.sigstop();
        eventually("the gateway to stand still", async || {
            let mut threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id)).expect("its threads");
            let stands = |thread: std::io::Result<std::fs::DirEntry>| {
                let stat = std::fs::read_to_string(thread.expect("a thread").path().join("stat")).expect("its state");
                stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
            };
            threads.all(stands).then_some(())
        })
        .await;
    }

    /// Stands still until [`Gateway::sigcont`], or is about to.
    pub fn sigstop(&self) {
        self.process.signal("STOP");
    }

    pub fn sigcont(&self) {
        self.process.signal("CONT");
    }

    pub fn sigterm(&self) {
        self.process.signal("TERM");
    }

    pub fn sigint(&self) {
        self.process.signal("INT");
    }

    pub fn sighup(&self) {
        self.process.signal("HUP");
    }

    /// Waits until the listener for clients refuses connections.
    pub async fn stops_listening(&self) {
        eventually("the listener to close", async || TcpStream::connect(self.address()).await.is_err().then_some(()))
            .await;
    }

    /// Waits until it has ended.
    pub async fn wait_exit(&self) -> ExitStatus {
        eventually("the gateway to end", async || self.process.exited()).await
    }

    /// `kill -9`, and waits for the end.
    pub async fn kill(&mut self) {
        self.kill_now();
        self.wait_exit().await;
    }

    /// `kill -9`.
    pub fn kill_now(&self) {
        self.process.kill();
    }

    /// Starts it again, on the same file, ledger and ports.
    pub async fn start_again(&mut self) {
        self.process = Process::run(&self.config());
        self.wait(Until::Ready).await;
    }

    /// Starts it again, and `kill -9` so soon after.
    pub async fn start_and_kill(&mut self, after: Duration) {
        self.process = Process::run(&self.config());
        tokio::time::sleep(after).await;
        self.kill().await;
    }

    /// A second process on the same folder with this file; its end and what it said.
    pub async fn second(&self, text: &str) -> (ExitStatus, String) {
        let config = self.folder.path().join("second.toml");
        std::fs::write(&config, text).expect("the config written");
        let process = Process::run(&config);
        let status = eventually("the second gateway to end", async || process.exited()).await;
        (status, process.stderr())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = std::fs::read_to_string(self.config()).unwrap_or_default();
            eprintln!("--- gateway.toml\n{text}--- the gateway said\n{}---", self.stderr());
        }
    }
}

async fn ask(address: SocketAddr, path: &str) -> Option<u16> {
    TcpStream::connect(address).await.ok()?;
    let mut connection = Connection::open(address).await;
    connection.send(&Request::get(path)).await;
    Some(connection.try_head("GET").await?.status)
}

/// A child that is killed with this value.
pub struct Process {
    child: Mutex<Child>,
    stderr: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
    id: u32,
}

impl Process {
    /// `farebox run FILE`. A write past a limit of its files' size is an error to it and no signal: see
    /// [`Gateway::full_disk`].
    pub fn run(config: &Path) -> Process {
        Process::spawn(Command::new("sh").arg("-c").arg("trap '' XFSZ; exec \"$0\" run \"$1\"").arg(BINARY).arg(config))
    }

    pub fn spawn(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut pipe = child.stderr.take().expect("a piped standard error");
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let sink = stderr.clone();
        let reading = std::thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                sink.lock().expect("stderr").extend_from_slice(&piece[..count]);
            }
        });
        Process { id: child.id(), child: Mutex::new(child), stderr, reading }
    }

    /// How it ended, once all that it said has been read.
    pub fn exited(&self) -> Option<ExitStatus> {
        let status = self.child.lock().expect("child").try_wait().expect("the child's state");
        status.filter(|_| self.reading.is_finished())
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("stderr")).into_owned()
    }

    pub fn signal(&self, name: &str) {
        assert!(self.exited().is_none(), "the process has ended before SIG{name}");
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.id)).status();
        assert!(sent.expect("a shell").success(), "SIG{name} is sent");
    }

    pub fn kill(&self) {
        let _ = self.child.lock().expect("child").kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}
